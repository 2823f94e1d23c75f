//! What stands around a tour: it builds the binaries, looks for what is missing, and runs the tour as the first process
//! of a sandbox.
//!
//! The sandbox is a set of namespaces of its own (user, unless run by root; network, mount, UTS, process ids). When the
//! tour ends, fails or is interrupted, the kernel ends every process in it and takes every link and mount away.

use std::env;
use std::os::unix::process::CommandExt;
use std::process::{Child, ExitCode, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use tempfile::TempDir;
use tokio::signal::unix::{SignalKind, signal};

use super::Example;
use super::page::Page;
use crate::{binaries, require, unshared};

/// The exit code of a program that SIGINT ended, as shells count.
const INTERRUPTED: u8 = 130;

/// The binaries are built in the profile of the example itself.
const PROFILE: &str = if cfg!(debug_assertions) {
    ""
} else {
    " --release"
};

/// What every tour needs, and the Debian package of each.
const PROGRAMS: [(&str, &str); 5] = [
    ("unshare", "util-linux"),
    ("nsenter", "util-linux"),
    ("mount", "mount"),
    ("hostname", "hostname"),
    ("ip", "iproute2"),
];

/// Builds, and runs the example's tour of this kind in a sandbox.
pub(super) fn run(example: &Example, kind: &str) -> Result<ExitCode> {
    let page = Page::new();
    page.say(example.about);
    for (program, package) in PROGRAMS.iter().chain(example.programs) {
        if require::find(program).is_none() {
            bail!("{program} is missing: apt-get install {package}");
        }
    }
    unshared::check().context("the tour needs namespaces")?;
    page.command("here", &format!("cargo build{PROFILE} --workspace --bins"));
    let binaries = binaries::folder()?;
    // Everything that the tour writes, removed also when the tour had no time to.
    let folder = TempDir::with_prefix("ipam-tour-")?;
    let tour = unshared::command()
        // Ctrl-C is for this process, which then ends the sandbox as a whole.
        .process_group(0)
        .arg(env::current_exe()?)
        .args(["tour", kind])
        .arg(binaries)
        .env("TMPDIR", folder.path())
        .stdin(Stdio::null())
        .spawn()?;
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?
        .block_on(attend(tour))
}

/// Waits for the tour's end, or ends it when asked to.
async fn attend(mut tour: Child) -> Result<ExitCode> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    loop {
        if let Some(status) = tour.try_wait()? {
            let code = status.code().and_then(|code| u8::try_from(code).ok());
            return Ok(ExitCode::from(code.unwrap_or(1)));
        }
        tokio::select! {
            () = tokio::time::sleep(Duration::from_millis(20)) => continue,
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
        eprintln!("\n\x20 interrupted: the sandbox is taken down");
        tour.kill()?;
        tour.wait()?;
        return Ok(ExitCode::from(INTERRUPTED));
    }
}
