//! Deaths that are aimed: strace(1) kills the server as it enters one of the system calls that a commit is made of, or the
//! one that tells of it.

use std::cell::RefCell;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use harness::server::Server;
use harness::{binaries, require};
use nix::sys::signal::Signal;
use tempfile::TempDir;

use crate::dice::Dice;
use crate::postgres::start_again;
use crate::record::Record;
use crate::rounds;
use crate::stage::{Stage, launch, nodes};

/// In the short form.
const OPERATIONS: usize = 3_000;
/// How long a server may live that was aimed at: the call may be made by a thread that has little to do.
const LONGEST_LIFE: Duration = Duration::from_secs(4);

/// A system call of the server's, and the how many-th of a thread it dies before: more than it makes while it starts.
struct Aim {
    call: &'static str,
    first: usize,
    count: usize,
    name: &'static str,
}

const AIMS: [Aim; 3] = [
    Aim {
        call: "pwrite64",
        first: 12,
        count: 400,
        name: "in the middle of a commit",
    },
    Aim {
        call: "fsync",
        first: 5,
        count: 25,
        name: "before a commit is durable",
    },
    Aim {
        call: "writev",
        first: 3,
        count: 20,
        name: "after a commit, before its answer",
    },
];

#[test]
fn a_sqlite_server_killed_at_any_step_of_a_commit_keeps_what_it_answered() {
    if require::program("strace").is_some() {
        rounds::play("aimed", OPERATIONS, round);
    }
}

fn round(seed: u64, operations: usize) {
    let record = Arc::new(Record::new());
    let gun = Gun::new();
    let server = launch().program(gun.script()).start().expect("a server");
    let server = RefCell::new(server);
    let stage = Stage::new(seed, &record, &[&server.borrow()]);
    let nodes = nodes();
    let mut cast = stage.cast(&nodes);
    let mut turn = 0;
    let mut hits = [0; AIMS.len()];
    stage.play(&mut cast, operations, |dice| {
        let aim = turn % AIMS.len();
        if gun.shoot(&mut server.borrow_mut(), &AIMS[aim], dice) {
            record.count(&format!("fault: server: kill -9 {}", AIMS[aim].name));
            hits[aim] += 1;
        }
        turn += 1;
    });
    start_again(&mut server.borrow_mut());
    stage.settle(cast);
    stage.judge("aimed", server.borrow().rest(), false);
    let mut server = server.into_inner();
    server.kill().expect("it is killed");
    stage.audit(server.database_url());
    assert!(!hits.contains(&0), "not every aim was hit: {hits:?}");
}

/// Starts the server, under strace when somebody has aimed.
struct Gun(TempDir);

impl Gun {
    fn new() -> Self {
        let gun = Self(TempDir::with_prefix("ipam-faults-").expect("a folder"));
        let (server, aim) = (binaries::path("ipam-server"), gun.aim());
        let (server, aim) = (server.display(), aim.display());
        // The tracer is the grandchild, so that whoever kills the child kills the server.
        let script = format!(
            "#!/bin/sh
            if read -r call inject 2>/dev/null <'{aim}'; then
                rm '{aim}'
                exec strace -D -f -qq -o /dev/null -e trace=$call -e inject=$inject '{server}' \"$@\"
            fi
            exec '{server}' \"$@\"\n"
        );
        fs::write(gun.script(), script).expect("a script");
        fs::set_permissions(gun.script(), Permissions::from_mode(0o755)).expect("a program");
        gun
    }

    fn script(&self) -> PathBuf {
        self.folder().join("server")
    }

    fn aim(&self) -> PathBuf {
        self.folder().join("aim")
    }

    fn folder(&self) -> &Path {
        self.0.path()
    }

    /// Starts the server again to be killed; true when it was.
    fn shoot(&self, server: &mut Server, aim: &Aim, dice: &mut Dice) -> bool {
        let (call, number) = (aim.call, aim.first + dice.below(aim.count));
        let line = format!("{call} {call}:signal=KILL:when={number}\n");
        fs::write(self.aim(), line).expect("an aim");
        start_again(server);
        let ended = server.wait_for_end(LONGEST_LIFE).expect("it runs");
        ended.is_some_and(|status| status.signal() == Some(Signal::SIGKILL as i32))
    }
}
