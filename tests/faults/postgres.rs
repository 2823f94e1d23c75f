//! Three servers on one PostgreSQL, of which any may die, stop or lose its connections at any time, and so may the
//! database.

use std::cell::RefCell;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use harness::postgres::Cluster;
use harness::require;
use harness::server::Server;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::cable::Cable;
use crate::dice::Dice;
use crate::node::Node;
use crate::record::Record;
use crate::stage::{Stage, launch, nodes};
use crate::{overdue, poison, rounds};

const SERVERS: usize = 3;
/// In the short form; with those on SQLite more than ten thousand.
const OPERATIONS: usize = 4_500;

#[test]
fn nothing_is_leased_twice_lost_or_leaked_on_postgres_whatever_fails() {
    let Some(cluster) = Cluster::start() else {
        return require::skip("postgres", "no server binaries, and no user postgres");
    };
    rounds::play("postgres", OPERATIONS, |seed, operations| {
        round(&cluster, seed, operations)
    });
}

fn round(cluster: &Cluster, seed: u64, operations: usize) {
    let record = Arc::new(Record::new());
    let url = cluster.database();
    let scene = Scene::new(cluster, &url, seed, &record);
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
    stage.judge("postgres", scene.servers.borrow()[0].rest(), false);
    stage.audit(&url);
}

struct Scene<'a> {
    cluster: &'a Cluster,
    record: &'a Record,
    cables: Vec<Cable>,
    servers: RefCell<Vec<Server>>,
}

impl<'a> Scene<'a> {
    fn new(cluster: &'a Cluster, url: &str, seed: u64, record: &'a Arc<Record>) -> Self {
        let (_, folder) = url.split_once("host=").expect("a unix socket");
        let (rest, _) = url.split_once('?').expect("a host");
        let (_, database) = rest.rsplit_once('/').expect("a database");
        let cable = |n| Cable::new(folder, Dice::new(seed, &format!("cable-{n}")), record);
        let cables: Vec<_> = (0..SERVERS).map(cable).collect();
        let start = |cable: &Cable| launch().database(&cable.url(database)).start();
        let servers = cables.iter().map(|cable| start(cable).expect("a server"));
        Self {
            cluster,
            record,
            servers: RefCell::new(servers.collect()),
            cables,
        }
    }

    /// One thing goes wrong, and after a while right again.
    fn fail(&self, dice: &mut Dice) {
        self.record.wait_for_answers(20 + dice.below(100));
        let index = dice.below(SERVERS);
        match dice.below(30) {
            0..=13 => self.kill_server(index, dice),
            14..=26 => self.pause_server(index, dice),
            27..=28 => self.crash_database(Signal::SIGQUIT, "immediate stop", dice),
            _ => self.crash_database(Signal::SIGKILL, "kill -9", dice),
        }
    }

    fn kill_server(&self, index: usize, dice: &mut Dice) {
        let server = &mut self.servers.borrow_mut()[index];
        server.kill().expect("it is killed");
        self.record.count("fault: server: kill -9");
        thread::sleep(dice.millis(0..200));
        start_again(server);
    }

    fn pause_server(&self, index: usize, dice: &mut Dice) {
        let pid = self.servers.borrow()[index].pid().expect("it runs");
        pause(pid, dice.millis(20..900));
        self.record.count("fault: server: SIGSTOP and SIGCONT");
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
