//! PostgreSQL's programs: where they are, as whom they run, and that they end with the test.

use std::ffi::OsStr;
use std::fs;
use std::io::PipeWriter;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use nix::unistd::{Uid, User};

/// As whom PostgreSQL's programs run, and where.
#[derive(Debug)]
pub(super) struct Runner {
    pub(super) account: Account,
    /// The process whose mount namespace they see; this one's otherwise.
    pub(super) inside: Option<u32>,
}

/// As whom. PostgreSQL refuses to be root.
#[derive(Debug)]
pub(super) enum Account {
    /// As whoever this process is.
    Own,
    /// As somebody else, whom root can become.
    Of(User),
    /// As itself by another number: root of a user namespace has nobody else to become.
    Renumbered,
}

impl Account {
    /// The one that can be had; none when this is root and the machine has no user postgres.
    pub(super) fn find() -> Option<Self> {
        if !Uid::effective().is_root() {
            return Some(Self::Own);
        }
        if is_alone() {
            return Some(Self::Renumbered);
        }
        let user = User::from_name("postgres").ok().flatten()?;
        Some(Self::Of(user))
    }

    /// The owner of the data, if it is not whoever makes the files.
    pub(super) fn user(&self) -> Option<&User> {
        match self {
            Self::Of(user) => Some(user),
            Self::Own | Self::Renumbered => None,
        }
    }
}

/// Whether this process's user namespace knows no user but its own.
fn is_alone() -> bool {
    let map = fs::read_to_string("/proc/self/uid_map").unwrap_or_default();
    let counts = map
        .lines()
        .filter_map(|line| line.split_whitespace().nth(2));
    counts.eq(["1"])
}

/// unshare(1) up to the program that is to be somebody else than root.
const RENUMBERED: [&str; 5] = ["unshare", "--user", "--map-user=1", "--map-group=1", "--"];

impl Runner {
    /// A command that runs in `folder`.
    pub(super) fn command(&self, program: &Path, folder: &Path) -> Command {
        let mut command = match self.inside {
            Some(pid) => self.enter(pid, program),
            None => self.stay(program),
        };
        command.current_dir(folder).stdin(Stdio::null());
        command
    }

    fn stay(&self, program: &Path) -> Command {
        if matches!(self.account, Account::Renumbered) {
            let mut command = Command::new(RENUMBERED[0]);
            command.args(&RENUMBERED[1..]).arg(program);
            return command;
        }
        let mut command = Command::new(program);
        if let Some(user) = self.account.user() {
            command.uid(user.uid.as_raw()).gid(user.gid.as_raw());
        }
        command
    }

    /// Only root may enter, so that nsenter(1) is what becomes somebody else.
    fn enter(&self, pid: u32, program: &Path) -> Command {
        let mut command = Command::new("nsenter");
        command.args([&format!("--target={pid}"), "--mount", "--uts"]);
        if let Some(user) = self.account.user() {
            command.arg(format!("--setuid={}", user.uid));
            command.arg(format!("--setgid={}", user.gid));
        }
        command.arg("--");
        if matches!(self.account, Account::Renumbered) {
            command.args(RENUMBERED);
        }
        command.arg(program);
        command
    }

    /// A shell that waits for the end of this process, or of the cluster's value, and then stops the server on `data` and
    /// removes `folder`. Nothing inside this process could do it on SIGKILL.
    pub(super) fn guard(&self, folder: &Path, data: &Path, binaries: &Path) -> (Child, PipeWriter) {
        let (waits, lifeline) = std::io::pipe().expect("a pipe");
        let script = "trap '' INT TERM HUP
            read -r _
            \"$3/pg_ctl\" -D \"$2\" -m immediate -w stop
            cd /
            # An initdb that is under way goes on to write for a moment.
            for attempt in 1 2 3 4 5 6 7 8 9 10; do rm -rf \"$1\" && break; sleep 0.5; done";
        let guard = self
            .command(Path::new("/bin/sh"), folder)
            .args(["-c", script, "guard"])
            .args([folder, data, binaries])
            .stdin(waits)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()
            .expect("sh starts");
        (guard, lifeline)
    }
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
