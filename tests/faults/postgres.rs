//! Three servers on one PostgreSQL, of which any may die, stop or lose its connections at any time. The database may die
//! too, runs out of disk, and its clock is moved.

use std::cell::RefCell;
use std::fs;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use harness::postgres::{Cluster, shadow_clock, shift_clock};
use harness::require;
use harness::server::Server;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::cable::Cable;
use crate::clock::Clock;
use crate::deck::Deck;
use crate::dice::Dice;
use crate::disk::Disk;
use crate::node::Node;
use crate::record::Record;
use crate::stage::{Stage, launch, nodes};
use crate::{overdue, poison, rounds};

const SERVERS: usize = 3;
/// In the short form; with those on SQLite more than twelve thousand.
const OPERATIONS: usize = 3_500;
/// MiB: room for PostgreSQL's own databases, its log, and little more.
const DISK: usize = 128;
/// How long a full disk may go unnoticed.
const UNNOTICED: Duration = Duration::from_secs(3);
/// What the database says then.
const NO_ROOM: &str = "No space left on device";

#[test]
fn nothing_is_leased_twice_lost_or_leaked_on_postgres_whatever_fails() {
    rounds::play("postgres", OPERATIONS, round);
}

fn round(seed: u64, operations: usize) {
    let disk = Disk::new(DISK);
    disk.part_shared_memory();
    let Some(cluster) = Cluster::start_on_disk(&disk.namespace, Disk::root()) else {
        return require::skip("postgres", "no server binaries, and no user postgres");
    };
    let record = Arc::new(Record::new());
    let url = cluster.database();
    block_on(shadow_clock(&url));
    let scene = Scene::new(&cluster, &disk, &url, seed, &record);
    let stage = {
        let servers = scene.servers.borrow();
        Stage::new(seed, &record, &servers.iter().collect::<Vec<_>>())
    };
    block_on(poison::postgres(&url));
    let nodes = nodes();
    let mut cast = stage.cast(&nodes);
    let probes = Node::new("probes");
    let mut number = 0;
    scene.be_calm(false);
    stage.play(&mut cast, operations, |dice| match dice.below(12) {
        0 => {
            let caller = |what| stage.caller(&format!("{what}-{number}"));
            overdue::probe(&url, &probes, caller("one"), caller("two"));
            number += 1;
        }
        _ => scene.fail(dice),
    });
    scene.be_calm(true);
    stage.settle(cast);
    let rest = scene.servers.borrow();
    stage.judge("postgres", rest[0].rest(), scene.moves_clock);
    stage.audit(&url);
    if operations >= OPERATIONS {
        stage.assert_came(&FAULTS);
    }
}

#[derive(Clone, Copy)]
enum Fault {
    KillServer,
    PauseServer,
    PauseServerForLong,
    StopDatabase,
    KillDatabase,
    FillDisk,
    StepClock,
}

/// In the words of the summary; the clock's steps have two.
const FAULTS: [&str; 11] = [
    PAUSE,
    "fault: server: kill -9",
    LONG_PAUSE,
    "fault: database: immediate stop",
    "fault: database: kill -9",
    "fault: database: the disk is full",
    "fault: database: commit held up",
    "fault: database: cut after the commit",
    "fault: database: cut before a statement",
    "fault: database: cut before the commit",
    "fault: database: statement held up",
];
pub(crate) const PAUSE: &str = "fault: server: SIGSTOP and SIGCONT";
pub(crate) const LONG_PAUSE: &str = "fault: server: SIGSTOP for longer than everybody's patience";
/// Longer than any timeout of a server, of PostgreSQL's sessions and of clients.
pub(crate) const LONG: Duration = Duration::from_millis(11_500);

struct Scene<'a> {
    cluster: &'a Cluster,
    disk: &'a Disk,
    record: &'a Record,
    /// Before the cables, by which they reach their database to the end.
    servers: RefCell<Vec<Server>>,
    cables: Vec<Cable>,
    /// Not in every round: a clock that is moved tells less about how long addresses rest.
    moves_clock: bool,
    clock: Clock<'a>,
    deck: Deck<Fault>,
}

impl<'a> Scene<'a> {
    fn new(
        cluster: &'a Cluster,
        disk: &'a Disk,
        url: &'a str,
        seed: u64,
        record: &'a Arc<Record>,
    ) -> Self {
        let (_, folder) = url.split_once("host=").expect("a unix socket");
        let (rest, _) = url.split_once('?').expect("a host");
        let (_, database) = rest.rsplit_once('/').expect("a database");
        let cable = |n| Cable::new(folder, Dice::new(seed, &format!("cable-{n}")), record);
        let cables: Vec<_> = (0..SERVERS).map(cable).collect();
        let start = |cable: &Cable| launch().database(&cable.url(database)).start();
        let servers = cables.iter().map(|cable| start(cable).expect("a server"));
        let moves_clock = Dice::new(seed, "clock").once_in(2);
        let kinds = [
            (Fault::KillServer, 4),
            (Fault::PauseServer, 4),
            (Fault::StopDatabase, 1),
            (Fault::KillDatabase, 1),
            (Fault::FillDisk, 1),
            (Fault::StepClock, if moves_clock { 2 } else { 0 }),
        ];
        Self {
            deck: Deck::new(&kinds, &[Fault::PauseServerForLong]),
            cluster,
            disk,
            record,
            servers: RefCell::new(servers.collect()),
            cables,
            moves_clock,
            clock: Clock::new(move |seconds| block_on(shift_clock(url, seconds))),
        }
    }

    /// One thing goes wrong, and after a while right again.
    fn fail(&self, dice: &mut Dice) {
        self.record.wait_for_answers(20 + dice.below(100));
        let index = dice.below(SERVERS);
        match self.deck.draw(dice) {
            Fault::KillServer => self.kill_server(index, dice),
            Fault::PauseServer => self.pause_server(index, PAUSE, dice.millis(20..900)),
            Fault::PauseServerForLong => self.pause_server(index, LONG_PAUSE, LONG),
            Fault::StopDatabase => self.crash_database(Signal::SIGQUIT, "immediate stop", dice),
            Fault::KillDatabase => self.crash_database(Signal::SIGKILL, "kill -9", dice),
            Fault::FillDisk => self.fill_disk(dice),
            Fault::StepClock => self.clock.step(self.record, dice),
        }
    }

    /// Leaves the database no room, and gives it back some time after it has noticed. It may stop altogether then.
    fn fill_disk(&self, dice: &mut Dice) {
        let noticed = || {
            let log = fs::read_to_string(self.cluster.log()).unwrap_or_default();
            log.matches(NO_ROOM).count()
        };
        let (before, end) = (noticed(), Instant::now() + UNNOTICED);
        self.disk.fill();
        while noticed() == before && Instant::now() < end {
            thread::sleep(Duration::from_millis(10));
        }
        thread::sleep(dice.millis(0..500));
        if noticed() > before {
            self.record.count("fault: database: the disk is full");
        }
        self.disk.empty();
        self.cluster.revive();
    }

    fn kill_server(&self, index: usize, dice: &mut Dice) {
        let server = &mut self.servers.borrow_mut()[index];
        server.kill().expect("it is killed");
        self.record.count("fault: server: kill -9");
        thread::sleep(dice.millis(0..200));
        start_again(server);
    }

    fn pause_server(&self, index: usize, what: &str, time: Duration) {
        let pid = self.servers.borrow()[index].pid().expect("it runs");
        pause(pid, time);
        self.record.count(what);
    }

    fn crash_database(&self, signal: Signal, name: &str, dice: &mut Dice) {
        self.cluster.stop(signal);
        self.record.count(&format!("fault: database: {name}"));
        // What a killed postmaster leaves behind goes by itself.
        thread::sleep(dice.millis(300..800));
        self.cluster.resume();
    }

    fn be_calm(&self, calm: bool) {
        self.cables.iter().for_each(|cable| cable.be_calm(calm));
    }
}

/// Stops a process for a while.
pub(crate) fn pause(pid: u32, time: Duration) {
    let pid = Pid::from_raw(pid.cast_signed());
    kill(pid, Signal::SIGSTOP).expect("it is there");
    thread::sleep(time);
    kill(pid, Signal::SIGCONT).expect("it is there");
}

/// A server whose connections are cut while it starts gives up; whoever supervises it starts it again.
pub(crate) fn start_again(server: &mut Server) {
    let mut last = None;
    for _ in 0..10 {
        match server.restart() {
            Ok(()) => return,
            Err(error) => last = Some(error),
        }
    }
    panic!("the server does not start: {last:?}");
}

pub(crate) fn block_on<T>(work: impl Future<Output = Result<T, sqlx::Error>>) -> T {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(work).expect("the database answers")
}
