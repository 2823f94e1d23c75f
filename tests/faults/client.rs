//! What a node's runtime does all day: one of several threads on a node that start, stop and lose containers.

use std::net::IpAddr;
use std::time::Duration;

use history::Outcome;
use ipam_api::Code;

use crate::caller::{Ask, Caller};
use crate::node::Node;

/// Containers that one thread keeps at most.
const MOST: usize = 4;
/// Tries of one call, as a plugin would within its deadline.
const TRIES: usize = 3;

/// A container that the thread believes to hold addresses.
struct Container {
    id: String,
    ask: Ask,
}

pub(crate) struct Client<'a> {
    pub(crate) caller: Caller,
    /// For what happens at the same time.
    pub(crate) pair: Caller,
    pub(crate) node: &'a Node,
    live: Vec<Container>,
    /// Deleted, but nobody has confirmed it yet.
    owed: Vec<String>,
    serial: usize,
}

impl<'a> Client<'a> {
    pub(crate) fn new(caller: Caller, pair: Caller, node: &'a Node) -> Self {
        Self {
            caller,
            pair,
            node,
            live: Vec::new(),
            owed: Vec::new(),
            serial: 0,
        }
    }

    /// One thing that happens on a node.
    pub(crate) fn step(&mut self) {
        let crowded = self.live.len() >= MOST;
        match self.caller.dice.below(100) {
            0..=24 if !crowded => self.start(),
            0..=24 | 38..=57 => self.stop(),
            25..=37 => self.ask_again(),
            58..=61 => self.stop_twice(),
            62..=66 => self.start_and_stop_at_once(),
            67..=71 => self.claim_late(),
            72..=76 => self.release_late(),
            77..=81 => self.collect(),
            82..=84 => self.lose(),
            85..=88 => self.give_up(),
            89..=90 => self.intrude(),
            91..=92 => self.poison(),
            93..=95 => self.ask_for_something_else(),
            96 => self.stop_all(),
            97..=98 => self.start_twice(),
            _ => self.reboot(),
        }
    }

    /// Claims for containers that are thought to hold, and releases the others, until somebody confirms it.
    pub(crate) fn settle(&mut self) {
        self.caller.calm();
        for Container { id, ask } in std::mem::take(&mut self.live) {
            let stamp = self.node.stamp_and_list(&id);
            self.persist(&id, |caller, node| caller.claim(node, &id, &ask, &stamp));
        }
        for id in std::mem::take(&mut self.owed) {
            let stamp = self.node.stamp_and_forget(&id);
            self.persist(&id, |caller, node| {
                caller.release(node, &[&id], &stamp, None)
            });
        }
    }

    fn persist(&mut self, id: &str, mut call: impl FnMut(&mut Caller, &Node) -> Outcome) {
        for _ in 0..40 {
            match call(&mut self.caller, self.node) {
                Outcome::Unknown => std::thread::sleep(Duration::from_millis(200)),
                _ => return,
            }
        }
        let complaint = format!("{id}: nobody answers, though nothing is wrong any more");
        self.caller.record().complain(complaint);
    }

    fn fresh(&mut self) -> (String, Ask) {
        self.serial += 1;
        let id = format!("{}-{}", self.caller.name, self.serial);
        (id, self.ask())
    }

    fn ask(&mut self) -> Ask {
        let dice = &mut self.caller.dice;
        let names = |lists: &[&[&str]]| -> Vec<Vec<String>> {
            let owned = |list: &&[&str]| list.iter().map(|name| (*name).to_owned()).collect();
            lists.iter().map(owned).collect()
        };
        let entries = match dice.below(6) {
            0 => names(&[&["v4", "more-v4"]]),
            1 => names(&[&["more-v4", "v4"], &["v6"]]),
            2 => names(&[&["v4"], &["v6"]]),
            3 => names(&[&["blue"], &["v4", "more-v4"]]),
            4 => names(&[&["v6"]]),
            _ => names(&[&["v4"]]),
        };
        let wanted: Vec<IpAddr> = match dice.once_in(8) && entries[0][0] == "v4" {
            true => vec![IpAddr::from([
                10,
                0,
                0,
                u8::try_from(16 + dice.below(48)).unwrap_or(16),
            ])],
            false => Vec::new(),
        };
        let deadline = dice.once_in(5).then(|| dice.millis(20..3000));
        Ask {
            entries,
            wanted,
            deadline,
            poisoned: false,
        }
    }

    fn start(&mut self) {
        let (id, ask) = self.fresh();
        self.start_this(id, ask);
    }

    fn start_this(&mut self, id: String, ask: Ask) {
        let stamp = self.node.stamp_and_list(&id);
        for _ in 0..TRIES {
            match self.caller.claim(self.node, &id, &ask, &stamp) {
                Outcome::Granted(_) => return self.live.push(Container { id, ask }),
                Outcome::Unknown | Outcome::Refused(Code::WrongService) => {}
                _ => return self.owe(id),
            }
        }
        let gives_up = self.node.stamp();
        self.caller
            .release(self.node, &[&id], &gives_up, Some(&stamp));
        self.owe(id);
    }

    /// A runtime deletes also what it could not add.
    fn owe(&mut self, id: String) {
        let stamp = self.node.stamp_and_forget(&id);
        if self.caller.release(self.node, &[&id], &stamp, None) != Outcome::Done {
            self.owed.push(id);
        }
    }

    fn take(&mut self) -> Option<Container> {
        let index = self.caller.dice.below(self.live.len());
        (index < self.live.len()).then(|| self.live.swap_remove(index))
    }

    fn stop(&mut self) {
        if let Some(container) = self.take() {
            self.owe(container.id);
        }
    }

    fn stop_twice(&mut self) {
        let Some(Container { id, .. }) = self.take() else {
            return;
        };
        let (first, second) = (self.node.stamp_and_forget(&id), self.node.stamp());
        let (node, caller, pair) = (self.node, &mut self.caller, &mut self.pair);
        let outcomes = std::thread::scope(|scope| {
            let other = scope.spawn(|| pair.release(node, &[&id], &second, None));
            let one = caller.release(node, &[&id], &first, None);
            [one, other.join().expect("no panic")]
        });
        if !outcomes.contains(&Outcome::Done) {
            self.owed.push(id);
        }
    }

    fn stop_all(&mut self) {
        let ids: Vec<_> = self.live.drain(..).map(|container| container.id).collect();
        let names: Vec<_> = ids.iter().map(String::as_str).collect();
        let stamps: Vec<_> = ids
            .iter()
            .map(|id| self.node.stamp_and_forget(id))
            .collect();
        let Some(stamp) = stamps.last() else {
            return;
        };
        if self.caller.release(self.node, &names, stamp, None) != Outcome::Done {
            self.owed.extend(ids);
        }
    }

    fn ask_again(&mut self) {
        let Some(Container { id, ask }) = self.take() else {
            return;
        };
        let stamp = self.node.stamp_and_list(&id);
        let outcome = self.caller.claim(self.node, &id, &ask, &stamp);
        self.keep_unless_refused(id, ask, &outcome);
    }

    fn keep_unless_refused(&mut self, id: String, ask: Ask, outcome: &Outcome) {
        match outcome {
            // After a reboot it may be that nothing was held, and nothing is free.
            Outcome::Refused(code) if *code != Code::WrongService => self.owe(id),
            _ => self.live.push(Container { id, ask }),
        }
    }

    /// Refused in one boot; in a newer one it replaces what is held.
    fn ask_for_something_else(&mut self) {
        let Some(Container { id, ask }) = self.take() else {
            return;
        };
        let other = self.ask();
        let stamp = self.node.stamp_and_list(&id);
        match self.caller.claim(self.node, &id, &other, &stamp) {
            Outcome::Granted(_) => self.live.push(Container { id, ask: other }),
            Outcome::Refused(Code::AttachmentDiffers | Code::WrongService) => {
                self.live.push(Container { id, ask });
            }
            // Which of the two it holds is not known.
            _ => self.owe(id),
        }
    }

    /// DEL races ADD: whichever arrives first, nothing is left.
    fn start_and_stop_at_once(&mut self) {
        let (id, ask) = self.fresh();
        let add = self.node.stamp_and_list(&id);
        let del = self.node.stamp_and_forget(&id);
        let (node, caller, pair) = (self.node, &mut self.caller, &mut self.pair);
        let released = std::thread::scope(|scope| {
            scope.spawn(|| pair.claim(node, &id, &ask, &add));
            caller.release(node, &[&id], &del, None)
        });
        if released != Outcome::Done {
            self.owed.push(id);
        }
    }

    /// The same ADD at two servers at once.
    fn start_twice(&mut self) {
        let (id, ask) = self.fresh();
        let stamp = self.node.stamp_and_list(&id);
        let (node, caller, pair) = (self.node, &mut self.caller, &mut self.pair);
        let outcomes = std::thread::scope(|scope| {
            let other = scope.spawn(|| pair.claim(node, &id, &ask, &stamp));
            [
                caller.claim(node, &id, &ask, &stamp),
                other.join().expect("no panic"),
            ]
        });
        match (outcomes.iter()).any(|outcome| matches!(outcome, Outcome::Granted(_))) {
            true => self.live.push(Container { id, ask }),
            false => self.owe(id),
        }
    }

    /// An ADD that is on its way while its container is stopped, and arrives after that.
    fn claim_late(&mut self) {
        let (id, ask) = self.fresh();
        let late = self.node.stamp_and_list(&id);
        if self.caller.dice.once_in(2) {
            let stamp = self.node.stamp();
            self.caller.claim(self.node, &id, &ask, &stamp);
        }
        self.owe(id.clone());
        self.caller.claim(self.node, &id, &ask, &late);
        if self.caller.dice.once_in(3) {
            // podman starts the same container again.
            self.start_this(id, ask);
        }
    }

    /// A DEL that waited in a spool while the container was started again.
    fn release_late(&mut self) {
        let Some(Container { id, ask }) = self.take() else {
            return;
        };
        let late = self.node.stamp();
        let stamp = self.node.stamp_and_list(&id);
        let outcome = self.caller.claim(self.node, &id, &ask, &stamp);
        self.caller.release(self.node, &[&id], &late, None);
        self.keep_unless_refused(id, ask, &outcome);
    }

    /// Sometimes with a list that is old by the time it arrives: what was started meanwhile is not on it.
    fn collect(&mut self) {
        let gc = self.node.stamp_of_gc(&mut self.caller.dice);
        if self.caller.dice.once_in(2) && self.live.len() < MOST {
            self.start();
        }
        self.caller.collect(self.node, &gc);
    }

    /// The container dies, and nobody says so: its node's next GC does.
    fn lose(&mut self) {
        if let Some(Container { id, .. }) = self.take() {
            self.node.stamp_and_forget(&id);
        }
    }

    /// An ADD whose time is up while the server works on it.
    fn give_up(&mut self) {
        let (id, ask) = self.fresh();
        let stamp = self.node.stamp_and_list(&id);
        let patience = self.caller.dice.millis(1..60);
        let usual = std::mem::replace(&mut self.caller.patience, patience);
        let outcome = self.caller.claim(self.node, &id, &ask, &stamp);
        self.caller.patience = usual;
        if matches!(outcome, Outcome::Granted(_)) {
            return self.live.push(Container { id, ask });
        }
        let gives_up = self.node.stamp();
        self.caller
            .release(self.node, &[&id], &gives_up, Some(&stamp));
        self.owe(id);
    }

    /// A second machine with the node's name.
    fn intrude(&mut self) {
        let intruder = Node::intruder(self.node);
        let (id, ask) = self.fresh();
        let stamp = intruder.stamp();
        self.caller.claim(&intruder, &id, &ask, &stamp);
        self.caller.collect(&intruder, &intruder.empty_gc());
        self.caller
            .record()
            .count("fault: node: two machines with one name");
    }

    /// A claim that the database refuses, beside one that it does not.
    fn poison(&mut self) {
        let (id, mut ask) = self.fresh();
        let (kind, fault) = match self.caller.dice.once_in(2) {
            true => ("poison", "fault: database: a row is refused"),
            false => (
                "misled",
                "fault: database: a lease comes to a leased address",
            ),
        };
        let poisoned = format!("{kind}-{id}");
        let stamp = self.node.stamp();
        ask.poisoned = true;
        let (node, pair) = (self.node, &mut self.pair);
        let bad = ask.clone();
        ask.poisoned = false;
        let add = self.node.stamp_and_list(&id);
        let caller = &mut self.caller;
        let outcome = std::thread::scope(|scope| {
            scope.spawn(|| pair.claim(node, &poisoned, &bad, &stamp));
            caller.claim(node, &id, &ask, &add)
        });
        self.caller.record().count(fault);
        self.keep_unless_refused(id, ask, &outcome);
    }

    fn reboot(&mut self) {
        if self.caller.dice.once_in(2) && self.node.reboot() {
            self.caller.record().count("fault: node: reboot");
        }
    }
}
