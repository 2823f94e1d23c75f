//! PostgreSQL's programs: where they are, as whom they run, and that they end with the test.

use std::ffi::OsStr;
use std::fs;
use std::io::PipeWriter;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use nix::unistd::User;

/// A shell that waits for the end of this process, or of the cluster's value, and then stops the server and removes the
/// folder. Nothing inside this process could do it on SIGKILL.
pub(super) fn guard(folder: &Path, binaries: &Path, account: Option<&User>) -> (Child, PipeWriter) {
    let (waits, lifeline) = std::io::pipe().expect("a pipe");
    let script = "trap '' INT TERM HUP
        read -r _
        \"$2/pg_ctl\" -D \"$1/data\" -m immediate -w stop
        cd /
        # An initdb that is under way goes on to write for a moment.
        for attempt in 1 2 3 4 5 6 7 8 9 10; do rm -rf \"$1\" && break; sleep 0.5; done";
    let guard = command(Path::new("/bin/sh"), folder, account)
        .args(["-c", script, "guard"])
        .args([folder, binaries])
        .stdin(waits)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .process_group(0)
        .spawn()
        .expect("sh starts");
    (guard, lifeline)
}

/// A command that runs in `folder` as `account`: PostgreSQL refuses to be root.
pub(super) fn command(program: &Path, folder: &Path, account: Option<&User>) -> Command {
    let mut command = Command::new(program);
    command.current_dir(folder).stdin(Stdio::null());
    if let Some(user) = account {
        command.uid(user.uid.as_raw()).gid(user.gid.as_raw());
    }
    command
}

/// The folder of the newest server binaries: on PATH, or where Debian puts them.
pub(super) fn binaries() -> Option<PathBuf> {
    let has_all = |folder: &PathBuf| {
        ["initdb", "postgres", "pg_ctl", "pg_basebackup"]
            .iter()
            .all(|program| folder.join(program).is_file())
    };
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).find(has_all).or_else(|| {
        let versions = fs::read_dir("/usr/lib/postgresql").ok()?;
        versions
            .filter_map(|entry| Some(entry.ok()?.path().join("bin")))
            .filter(has_all)
            .max_by_key(|folder| {
                let version = folder.parent().and_then(Path::file_name);
                version
                    .and_then(OsStr::to_str)
                    .and_then(|v| v.parse::<u32>().ok())
            })
    })
}
