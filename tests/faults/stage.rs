//! What both databases' rounds have in common: the cast, the play, and the judgement.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use harness::rest::Rest;
use harness::server::{Launch, Server};
use history::{Ending, Rule, Violation, check};
use ipam_server::store::Store;

use crate::caller::Caller;
use crate::client::Client;
use crate::dice::Dice;
use crate::ending;
use crate::node::Node;
use crate::plugin::PluginNode;
use crate::record::Record;
use crate::rounds::say;
use crate::wire::Wire;

const NODES: usize = 8;
/// So many of them are in another cluster, and have the names of others.
const ELSEWHERE: usize = 2;
const THREADS_PER_NODE: usize = 4;
const PLUGIN_NODES: usize = 4;
/// A round that takes longer hangs.
const LONGEST: Duration = Duration::from_secs(600);

/// What comes to pass in every round of some length, whatever the database.
const FAULTS: [&str; 12] = [
    "fault: database: a lease comes to a leased address",
    "fault: database: a row is refused",
    "fault: node: reboot",
    "fault: node: two machines with one name",
    "fault: plugin: SIGSTOP and SIGCONT",
    "fault: wire: another service",
    "fault: wire: another service, which can tell",
    "fault: wire: cut before the answer",
    "fault: wire: cut before the request",
    "fault: wire: cut in the answer",
    "fault: wire: request held up",
    "fault: wire: request sent twice",
];

/// One round's cast.
pub(crate) struct Stage {
    pub(crate) seed: u64,
    pub(crate) record: Arc<Record>,
    pub(crate) wires: Vec<Wire>,
    service: String,
    /// Another service, whose pools have the same names.
    _stranger: Server,
}

impl Stage {
    /// Wires to these servers of one service, and pools.
    pub(crate) fn new(seed: u64, record: &Arc<Record>, servers: &[&Server]) -> Self {
        let stranger = Server::sqlite().expect("another service");
        ending::create(stranger.rest());
        ending::create(servers[0].rest());
        let ready = servers[0].rest().get("/readyz").expect("an answer");
        let wire = |(number, server): (usize, &&Server)| {
            let dice = Dice::new(seed, &format!("wire-{number}"));
            Wire::new(server.socket_url(), stranger.socket_url(), dice, record)
        };
        Self {
            seed,
            record: Arc::clone(record),
            wires: servers.iter().enumerate().map(wire).collect(),
            service: ready
                .header(ipam_api::SERVICE_ID_HEADER)
                .expect("an id")
                .to_owned(),
            _stranger: stranger,
        }
    }

    pub(crate) fn urls(&self) -> Vec<String> {
        self.wires
            .iter()
            .map(|wire| wire.url().to_owned())
            .collect()
    }

    pub(crate) fn dice(&self, name: &str) -> Dice {
        Dice::new(self.seed, name)
    }

    pub(crate) fn caller(&self, name: &str) -> Caller {
        let dice = self.dice(name);
        Caller::new(name, &self.urls(), &self.service, dice, &self.record)
    }

    /// Everybody, known to the service before anything goes wrong.
    pub(crate) fn cast<'a>(&self, nodes: &'a [Node]) -> Cast<'a> {
        Cast {
            clients: self.clients(nodes),
            plugins: self.plugin_nodes(),
        }
    }

    /// Plays until so many calls were made, while `chaos` does its work again and again.
    pub(crate) fn play(
        &self,
        cast: &mut Cast<'_>,
        operations: usize,
        mut chaos: impl FnMut(&mut Dice),
    ) {
        self.wires.iter().for_each(|wire| wire.be_calm(false));
        let end = Instant::now() + LONGEST;
        let over = AtomicBool::new(false);
        let goes_on = || !over.load(Ordering::Relaxed) && Instant::now() < end;
        thread::scope(|scope| {
            for client in &mut cast.clients {
                scope.spawn(|| {
                    while goes_on() {
                        client.step()
                    }
                });
            }
            for plugin in &mut cast.plugins {
                scope.spawn(|| {
                    while goes_on() {
                        plugin.step()
                    }
                });
            }
            let mut dice = self.dice("chaos");
            while self.record.operations() < operations && goes_on() {
                chaos(&mut dice);
            }
            over.store(true, Ordering::Relaxed);
        });
        assert!(
            self.record.operations() >= operations,
            "it hangs\n{}",
            self.record.summary()
        );
        for wire in &self.wires {
            wire.be_calm(true);
            wire.drain();
        }
    }

    /// All that is owed is done, now that nothing goes wrong any more.
    pub(crate) fn settle(&self, cast: Cast<'_>) {
        thread::scope(|scope| {
            for mut client in cast.clients {
                scope.spawn(move || client.settle());
            }
            for mut plugin in cast.plugins {
                scope.spawn(move || plugin.settle());
            }
        });
    }

    fn clients<'a>(&self, nodes: &'a [Node]) -> Vec<Client<'a>> {
        let mut clients = Vec::new();
        for node in nodes {
            for thread in 0..THREADS_PER_NODE {
                let name = format!("{}-{}-{thread}", node.cluster, node.name);
                let mut caller = self.caller(&name);
                let pair = self.caller(&format!("{name}-pair"));
                caller.introduce(node);
                clients.push(Client::new(caller, pair, node));
            }
        }
        clients
    }

    fn plugin_nodes(&self) -> Vec<PluginNode> {
        let node = |number| {
            let name = format!("p{number}");
            let mut node = PluginNode::new(&name, &self.urls(), self.dice(&name), &self.record);
            node.pin();
            node
        };
        (0..PLUGIN_NODES).map(node).collect()
    }

    /// The verdict: panics with the events of every violation.
    pub(crate) fn judge(&self, name: &str, rest: &Rest, clock_moved: bool) {
        let forgotten = ending::forget_disputed(rest);
        for (cluster, node) in &forgotten {
            self.record
                .count("node: disputed, and forgotten at the end");
            // A clock that is moved makes late verbs look like those of a machine that lives on. Nothing else may.
            if !clock_moved {
                let complaint = format!("{cluster}/{node}: disputed, though no clock was moved");
                self.record.complain(complaint);
            }
        }
        let ending = Ending {
            clock_moved,
            forgotten,
            ..ending::read(rest)
        };
        for life in &ending.lives {
            let reason = life.released.as_ref().map_or("nothing yet", |(_, why)| why);
            self.record.count(&format!("lease: ended by {reason}"));
        }
        let events = self.record.events();
        let violations = check(&events, &ending);
        let seconds = self.record.now().as_secs();
        say(&format!(
            "{name}: seed {}, {} operations in {seconds} s, {} leases made, {} violations\n{}",
            self.seed,
            events.len(),
            ending.lives.len(),
            violations.len(),
            self.record.summary()
        ));
        let mut wrong = shown(&violations);
        wrong.extend(self.record.complaints());
        assert!(
            wrong.is_empty(),
            "IPAM_FAULT_SEED={}: {} violations\n{}",
            self.seed,
            violations.len(),
            wrong.join("\n")
        );
    }

    /// That the faults that every round has came, and these.
    pub(crate) fn assert_came(&self, faults: &[&str]) {
        for fault in FAULTS.iter().chain(faults) {
            assert!(self.record.counted(fault) > 0, "never: {fault}");
        }
    }

    /// The service's own audit of its free space.
    pub(crate) fn audit(&self, database_url: &str) {
        let runtime = tokio::runtime::Runtime::new().expect("a runtime");
        let found = runtime.block_on(async {
            let store = Store::open(database_url).await.expect("the database");
            let found = store.audit().await.expect("an audit");
            store.close().await;
            found
        });
        assert_eq!(found, [] as [String; 0], "IPAM_FAULT_SEED={}", self.seed);
    }
}

/// Who plays.
pub(crate) struct Cast<'a> {
    clients: Vec<Client<'a>>,
    plugins: Vec<PluginNode>,
}

/// A few of each kind, and how many there are.
fn shown(violations: &[Violation]) -> Vec<String> {
    let mut by_rule: BTreeMap<Rule, Vec<&Violation>> = BTreeMap::new();
    for violation in violations {
        by_rule.entry(violation.rule).or_default().push(violation);
    }
    let some = |(rule, all): (Rule, Vec<&Violation>)| {
        let head = format!("{rule:?}, {} times", all.len());
        let few = all.into_iter().take(4).map(ToString::to_string);
        std::iter::once(head).chain(few).collect::<Vec<_>>()
    };
    by_rule.into_iter().flat_map(some).collect()
}

/// A server that reclaims what a reboot left behind within the round.
pub(crate) fn launch<'a>() -> Launch<'a> {
    Launch::new().env("IPAM_QUARANTINE", "5")
}

/// Nodes whose verbs the test makes up.
pub(crate) fn nodes() -> Vec<Node> {
    let here = (0..NODES - ELSEWHERE).map(|n| Node::new(&format!("n{n}")));
    let elsewhere = (0..ELSEWHERE).map(|n| Node::elsewhere(&format!("n{n}")));
    here.chain(elsewhere).collect()
}
