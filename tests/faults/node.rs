//! A machine as the service sees it: its name, its boots, the order of its verbs, and what its runtime knows.

use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

use history::Issued;
use ipam_api::{Attachment, ValidAttachment};

use crate::dice::Dice;

pub(crate) const IFNAME: &str = "eth0";
/// A container is on one of them, and has one of the interfaces: a verb about one is to leave the others alone.
const NETWORKS: [&str; 2] = ["net", "other-net"];
const IFNAMES: [&str; 2] = [IFNAME, "net1"];

/// A node whose verbs the test makes up itself.
pub(crate) struct Node {
    pub(crate) cluster: String,
    pub(crate) name: String,
    pub(crate) machine: String,
    now: Mutex<Now>,
}

struct Now {
    boot: u32,
    /// The newest boot that the service has served.
    served: u32,
    /// Verbs that were issued in this boot.
    issued: i64,
    known: BTreeSet<String>,
}

/// When a verb was issued.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Stamp {
    pub(crate) boot: u32,
    pub(crate) boot_id: String,
    pub(crate) issued: i64,
}

/// A GC as a runtime sends it: of one network.
pub(crate) struct Gc {
    pub(crate) network: &'static str,
    pub(crate) valid: Vec<ValidAttachment>,
    pub(crate) stamp: Stamp,
}

impl Stamp {
    pub(crate) fn time(&self) -> Issued {
        Issued::at(self.issued)
    }
}

impl Node {
    pub(crate) fn new(name: &str) -> Self {
        Self {
            cluster: "default".to_owned(),
            name: name.to_owned(),
            machine: format!("machine-of-{name}"),
            now: Mutex::new(Now {
                boot: 1,
                served: 0,
                issued: 0,
                known: BTreeSet::new(),
            }),
        }
    }

    /// The node of this name in another cluster.
    pub(crate) fn elsewhere(name: &str) -> Self {
        Self {
            cluster: "west".to_owned(),
            ..Self::new(name)
        }
    }

    /// Another machine that uses the name; its boot is none of the node's.
    pub(crate) fn intruder(of: &Self) -> Self {
        let node = Self {
            cluster: of.cluster.clone(),
            machine: format!("intruder-on-{}", of.name),
            ..Self::new(&of.name)
        };
        node.lock().boot = 0;
        node
    }

    pub(crate) fn key(&self, container: &str) -> Attachment {
        let number = container.bytes().map(usize::from).sum::<usize>();
        Attachment {
            cluster: self.cluster.clone(),
            node: self.name.clone(),
            network: NETWORKS[number % 2].to_owned(),
            container_id: container.to_owned(),
            ifname: IFNAMES[number / 2 % 2].to_owned(),
        }
    }

    /// Issues a verb.
    pub(crate) fn stamp(&self) -> Stamp {
        self.stamp_in(&mut self.lock())
    }

    /// Issues a verb about a container that the runtime lists from now on.
    pub(crate) fn stamp_and_list(&self, container: &str) -> Stamp {
        let mut now = self.lock();
        now.known.insert(container.to_owned());
        self.stamp_in(&mut now)
    }

    /// Issues a verb about a container that the runtime does not list any more.
    pub(crate) fn stamp_and_forget(&self, container: &str) -> Stamp {
        let mut now = self.lock();
        now.known.remove(container);
        self.stamp_in(&mut now)
    }

    /// Issues a GC of one of its networks with the list of that very moment.
    pub(crate) fn stamp_of_gc(&self, dice: &mut Dice) -> Gc {
        let network = NETWORKS[dice.below(2)];
        let mut now = self.lock();
        let known = now.known.iter().map(|container| self.key(container));
        let valid = known.filter(|key| key.network == network);
        let valid = valid.map(|key| ValidAttachment {
            container_id: key.container_id,
            ifname: key.ifname,
        });
        let valid = valid.collect();
        Gc {
            network,
            valid,
            stamp: self.stamp_in(&mut now),
        }
    }

    /// A GC of another machine that uses the name, for which there is nothing.
    pub(crate) fn empty_gc(&self) -> Gc {
        Gc {
            network: NETWORKS[0],
            valid: Vec::new(),
            stamp: self.stamp(),
        }
    }

    /// Notes that the service knows the boot.
    pub(crate) fn note_served(&self, stamp: &Stamp) {
        let mut now = self.lock();
        now.served = now.served.max(stamp.boot);
    }

    /// Reboots: its clock begins anew. False when the service has not heard of the present boot yet: boots have no order of
    /// their own, and a first claim of one that is over would be taken for that of a new one.
    pub(crate) fn reboot(&self) -> bool {
        let mut now = self.lock();
        let is_known = now.served == now.boot;
        if is_known {
            now.boot += 1;
            now.issued = 0;
        }
        is_known
    }

    fn stamp_in(&self, now: &mut Now) -> Stamp {
        now.issued += 1;
        Stamp {
            boot: now.boot,
            boot_id: format!("boot-{}-of-{}", now.boot, self.machine),
            issued: now.issued,
        }
    }

    fn lock(&self) -> MutexGuard<'_, Now> {
        self.now.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
