//! What stands around the tour: it builds the binaries, looks for what is missing, and runs the tour as the first
//! process of a sandbox.
//!
//! The sandbox is a set of namespaces of its own (user, unless run by root; network, mount, UTS, process ids). When the
//! tour ends, fails or is interrupted, the kernel ends every process in it and takes every link and mount away.

use std::env;
use std::path::Path;
use std::process::{Child, Command, ExitCode};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use harness::{binaries, require};
use nix::unistd::Uid;
use tempfile::TempDir;
use tokio::signal::unix::{SignalKind, signal};

use crate::page::Page;
use crate::wiring::MAIN_PLUGINS;

/// The exit code of a program that SIGINT ended, as shells count.
const INTERRUPTED: u8 = 130;

/// The binaries are built in the profile of the example itself.
const PROFILE: &str = if cfg!(debug_assertions) {
    ""
} else {
    " --release"
};

/// Builds, and runs the tour in a sandbox.
pub(crate) fn run() -> Result<ExitCode> {
    let page = Page::new();
    page.say(
        "cluster-ipam: a cluster on one machine. Containers on two nodes get addresses from one pool, talk to each \
         other, and give them back. Each ✓ is checked when it is printed.",
    );
    look_for_prerequisites()?;
    page.command("here", &format!("cargo build{PROFILE} --workspace --bins"));
    let binaries = binaries::folder()?;
    // Everything that the tour writes, removed also when the tour had no time to.
    let folder = TempDir::with_prefix("two-nodes-")?;
    let tour = enter()
        .arg(env::current_exe()?)
        .arg("tour")
        .arg(binaries)
        .env("TMPDIR", folder.path())
        .stdin(std::process::Stdio::null())
        .spawn()?;
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?
        .block_on(attend(tour))
}

/// unshare(1) with everything up to the program to start.
fn enter() -> Command {
    use std::os::unix::process::CommandExt;
    let mut command = Command::new("unshare");
    if !Uid::effective().is_root() {
        command.args(["--user", "--map-root-user"]);
    }
    command
        .args(["--net", "--mount", "--uts", "--pid", "--fork"])
        .args(["--kill-child", "--mount-proc", "--"])
        // Ctrl-C is for this process, which then ends the sandbox as a whole.
        .process_group(0);
    command
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

fn look_for_prerequisites() -> Result<()> {
    let programs = [
        ("unshare", "util-linux"),
        ("nsenter", "util-linux"),
        ("mount", "mount"),
        ("hostname", "hostname"),
        ("ip", "iproute2"),
    ];
    for (program, package) in programs {
        if require::find(program).is_none() {
            bail!("{program} is missing: apt-get install {package}");
        }
    }
    if !Path::new(MAIN_PLUGINS).join("bridge").exists() {
        bail!("{MAIN_PLUGINS}/bridge is missing: apt-get install containernetworking-plugins");
    }
    let tried = enter().arg("true").output().context("unshare")?;
    if !tried.status.success() {
        bail!(
            "the tour needs namespaces, and this machine refuses them ({}): run it as root, or allow user namespaces \
             (sysctl user.max_user_namespaces, kernel.unprivileged_userns_clone or \
             kernel.apparmor_restrict_unprivileged_userns, whichever the machine has)",
            String::from_utf8_lossy(&tried.stderr).trim()
        );
    }
    Ok(())
}
