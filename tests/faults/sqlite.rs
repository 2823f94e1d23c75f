//! One server on a SQLite file, which is killed while it commits, runs out of disk, and whose clock is moved.

use std::cell::RefCell;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use harness::require;
use harness::server::Server;
use tempfile::TempDir;

use crate::clock::Clock;
use crate::deck::Deck;
use crate::dice::Dice;
use crate::disk::Disk;
use crate::postgres::{LONG, LONG_PAUSE, PAUSE, block_on, pause, start_again};
use crate::record::Record;
use crate::stage::{Stage, launch, nodes};
use crate::{poison, rounds};

/// In the short form.
const OPERATIONS: usize = 6_000;
/// Where Debian's package has it.
const FAKETIME: &str = "/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1";

#[test]
fn nothing_is_leased_twice_lost_or_leaked_on_sqlite_whatever_fails() {
    if !Path::new(FAKETIME).exists() {
        return require::skip("faketime", "no libfaketime");
    }
    rounds::play("sqlite", OPERATIONS, round);
}

fn round(seed: u64, operations: usize) {
    let record = Arc::new(Record::new());
    let scene = Scene::new(seed, &record);
    let stage = Stage::new(seed, &record, &[&scene.server.borrow()]);
    let nodes = nodes();
    let mut cast = stage.cast(&nodes);
    stage.play(&mut cast, operations, |dice| scene.fail(dice));
    stage.settle(cast);
    let folder = TempDir::with_prefix("ipam-faults-").expect("a folder");
    stage.judge("sqlite", scene.server.borrow().rest(), scene.moves_clock);
    scene.server.borrow_mut().kill().expect("it is killed");
    scene.disk.take_out(folder.path());
    stage.audit(&url_in(folder.path()));
    if operations >= OPERATIONS {
        stage.assert_came(&FAULTS);
    }
}

#[derive(Clone, Copy)]
enum Fault {
    KillServer,
    PauseServer,
    PauseServerForLong,
    FillDisk,
    StepClock,
}

/// In the words of the summary; the clock's steps have two.
const FAULTS: [&str; 4] = [
    "fault: server: kill -9",
    PAUSE,
    LONG_PAUSE,
    "fault: database: the disk is full",
];

fn url_in(folder: &Path) -> String {
    format!("sqlite://{}/ipam.db", folder.display())
}

/// A database that refuses some rows.
fn poisoned() -> TempDir {
    let folder = TempDir::with_prefix("ipam-faults-").expect("a folder");
    let url = url_in(folder.path());
    let mut server = Server::on(&url).expect("a server");
    server.sigterm().expect("it ends");
    block_on(poison::sqlite(&url));
    folder
}

struct Scene<'a> {
    record: &'a Record,
    /// Not in every round: a clock that is moved tells less about how long addresses rest.
    moves_clock: bool,
    server: RefCell<Server>,
    clock: Clock<'a>,
    disk: Disk,
    deck: Deck<Fault>,
}

impl<'a> Scene<'a> {
    fn new(seed: u64, record: &'a Record) -> Self {
        let disk = Disk::new(24);
        disk.part_shared_memory();
        disk.bring(poisoned().path());
        let clock = disk.namespace.folder().join("clock");
        set_clock(&clock, 0);
        let server = launch()
            .inside(&disk.namespace)
            .database(&format!("sqlite://{}", Disk::path("ipam.db")))
            .env("LD_PRELOAD", FAKETIME)
            .env("FAKETIME_TIMESTAMP_FILE", &clock.display().to_string())
            .env("FAKETIME_DONT_FAKE_MONOTONIC", "1")
            .env("FAKETIME_NO_CACHE", "1")
            .start();
        let moves_clock = Dice::new(seed, "clock").once_in(2);
        let kinds = [
            (Fault::KillServer, 3),
            (Fault::PauseServer, 1),
            (Fault::FillDisk, 2),
            (Fault::StepClock, if moves_clock { 3 } else { 0 }),
        ];
        Self {
            record,
            deck: Deck::new(&kinds, &[Fault::PauseServerForLong]),
            moves_clock,
            server: RefCell::new(server.expect("a server")),
            clock: Clock::new(move |seconds| set_clock(&clock, seconds)),
            disk,
        }
    }

    /// One thing goes wrong, and after a while right again.
    fn fail(&self, dice: &mut Dice) {
        self.record.wait_for_answers(20 + dice.below(100));
        match self.deck.draw(dice) {
            Fault::KillServer => {
                let mut server = self.server.borrow_mut();
                server.kill().expect("it is killed");
                self.record.count("fault: server: kill -9");
                thread::sleep(dice.millis(0..200));
                start_again(&mut server);
            }
            Fault::PauseServer => self.pause_server(PAUSE, dice.millis(20..900)),
            Fault::PauseServerForLong => self.pause_server(LONG_PAUSE, LONG),
            Fault::FillDisk => {
                self.disk.fill();
                thread::sleep(dice.millis(50..500));
                self.disk.empty();
                self.record.count("fault: database: the disk is full");
            }
            Fault::StepClock => self.clock.step(self.record, dice),
        }
    }

    fn pause_server(&self, what: &str, time: Duration) {
        let pid = self.server.borrow().pid().expect("it runs");
        pause(pid, time);
        self.record.count(what);
    }
}

/// Lets a server see another time.
fn set_clock(file: &Path, seconds: i64) {
    // Whole or not at all: the server reads it all the time.
    let new = file.with_extension("new");
    fs::write(&new, format!("{seconds:+}")).expect("the clock's file");
    fs::rename(&new, file).expect("the clock's file");
}
