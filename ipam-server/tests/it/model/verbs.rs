//! The model of attachments and of the order of verbs (DESIGN §2.3 to §2.7).

use std::collections::{BTreeMap, BTreeSet};

use super::ops::CONTAINERS;
use super::space::{Space, address};

/// The moment of a verb: its boot, and when in that boot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stamp {
    pub(super) boot: Option<usize>,
    pub(super) issued: Option<i64>,
}

/// One lease in the model.
#[derive(Clone, Debug)]
pub(super) struct Held {
    pub(super) entry: usize,
    pub(super) pool: usize,
    pub(super) number: usize,
    pub(super) id: String,
}

/// An attachment: what it holds, and the marks of its verbs.
#[derive(Clone, Debug, Default)]
pub(super) struct Attached {
    pub(super) held: Vec<Held>,
    boot: Option<usize>,
    claimed: Option<i64>,
    granted: Option<i64>,
    release_boot: Option<usize>,
    released: Option<i64>,
    /// When the last claim of this boot was issued, whatever came of it.
    pub(super) last_claim: Option<i64>,
}

/// What a claim must be answered with.
#[derive(Debug, PartialEq)]
pub(super) enum Expected {
    Superseded,
    Differs,
    Held,
    PoolNotFound,
    Invalid,
    Exhausted,
    Taken,
    /// New leases: each from this pool, and this very address when one is named.
    New(Vec<(usize, Option<usize>)>),
}

/// Everything that the store should know.
#[derive(Clone, Debug)]
pub(super) struct Model {
    pub(super) spaces: Vec<Space>,
    pub(super) attached: Vec<Attached>,
    /// The boots that the node was seen in.
    pub(super) seen_boots: BTreeSet<usize>,
    pub(super) operation: usize,
}

impl Model {
    pub(super) fn new(pools: usize, rests: bool) -> Self {
        Self {
            spaces: (0..pools).map(|pool| Space::new(pool, rests)).collect(),
            attached: vec![Attached::default(); CONTAINERS],
            seen_boots: BTreeSet::new(),
            operation: 0,
        }
    }

    /// What a claim gets, without giving it.
    pub(super) fn expect(
        &self,
        container: usize,
        entries: &[Vec<usize>],
        wanted: Option<(usize, usize)>,
        stamp: Stamp,
    ) -> Expected {
        let attached = &self.attached[container];
        if attached.supersedes(stamp) {
            return Expected::Superseded;
        }
        if attached.held.is_empty() {
            return self.expect_new(entries, wanted);
        }
        if attached.satisfies(entries, wanted) {
            return Expected::Held;
        }
        let newer = attached.boot.is_some() && stamp.boot.is_some() && attached.boot != stamp.boot;
        if !newer {
            return Expected::Differs;
        }
        let mut without = self.clone();
        without.free(container);
        without.expect_new(entries, wanted)
    }

    fn expect_new(&self, entries: &[Vec<usize>], wanted: Option<(usize, usize)>) -> Expected {
        let mut listed = entries.iter().flatten();
        if listed.any(|pool| !self.spaces[*pool].exists) {
            return Expected::PoolNotFound;
        }
        let wanted = match wanted {
            None => None,
            Some((pool, number)) => {
                let fits = |entry: &Vec<usize>| {
                    entry.contains(&pool) && self.spaces[pool].may_lease(number)
                };
                match entries.iter().position(fits) {
                    None => return Expected::Invalid,
                    Some(entry) => Some((entry, pool, number)),
                }
            }
        };
        self.expect_addresses(entries, wanted)
    }

    fn expect_addresses(
        &self,
        entries: &[Vec<usize>],
        wanted: Option<(usize, usize, usize)>,
    ) -> Expected {
        let ready = ipam_api::PoolState::Ready;
        let mut trial = self.clone();
        let mut picks = Vec::new();
        for (index, entry) in entries.iter().enumerate() {
            if let Some((_, pool, number)) = wanted.filter(|(entry, _, _)| *entry == index) {
                if trial.spaces[pool].state != ready {
                    return Expected::Exhausted;
                }
                if trial.spaces[pool].is_leased(number) {
                    return Expected::Taken;
                }
                trial.spaces[pool].lease(number);
                picks.push((pool, Some(number)));
                continue;
            }
            let open = |pool: &usize| {
                let space = &trial.spaces[*pool];
                space.state == ready && !space.next().is_empty()
            };
            let Some(pool) = entry.iter().copied().find(open) else {
                return Expected::Exhausted;
            };
            // Which one does not matter for how many are left.
            let number = *trial.spaces[pool].next().first().expect("not empty");
            trial.spaces[pool].lease(number);
            picks.push((pool, None));
        }
        Expected::New(picks)
    }

    /// Notes that a claim was answered with what is held.
    pub(super) fn keep(&mut self, container: usize, stamp: Stamp) {
        self.seen_boots.extend(stamp.boot);
        self.attached[container].note_claim(stamp);
    }

    /// Notes that a claim got these new leases, and checks that each was its pool's next, or the one that was wanted.
    pub(super) fn grant(
        &mut self,
        container: usize,
        stamp: Stamp,
        held: Vec<Held>,
        picks: &[(usize, Option<usize>)],
    ) {
        self.free(container);
        assert_eq!(held.len(), picks.len(), "one lease per entry");
        for (one, (pool, wanted)) in held.iter().zip(picks) {
            assert_eq!(one.pool, *pool, "an entry was served from another pool");
            let space = &mut self.spaces[one.pool];
            let next = wanted.map_or_else(|| space.next(), |wanted| [wanted].into());
            let got = address(one.pool, one.number);
            assert!(
                next.contains(&one.number),
                "{got} is not among the next: {next:?}"
            );
            space.lease(one.number);
        }
        self.keep(container, stamp);
        let attached = &mut self.attached[container];
        attached.held = held;
        attached.claimed = stamp.issued;
        attached.granted = stamp.issued;
    }

    /// Gives back what the container holds; how many leases.
    fn free(&mut self, container: usize) -> u64 {
        let held = std::mem::take(&mut self.attached[container].held);
        for one in &held {
            self.spaces[one.pool].give_back(one.number, self.operation);
        }
        held.len() as u64
    }

    /// A release; `gives_up`: by the ADD that was issued then.
    pub(super) fn release(
        &mut self,
        container: usize,
        stamp: Stamp,
        gives_up: Option<i64>,
        earlier_boot: bool,
    ) -> u64 {
        let attached = &mut self.attached[container];
        let same_boot = attached.boot == stamp.boot;
        let frees = match (gives_up, stamp.issued, attached.claimed) {
            (Some(claim), _, claimed) => {
                same_boot && attached.granted == Some(claim) && claimed == Some(claim)
            }
            (None, Some(issued), Some(claimed)) if same_boot => issued >= claimed,
            _ => same_boot || !earlier_boot,
        };
        if !earlier_boot {
            attached.note_release(stamp.boot, gives_up.or(stamp.issued));
        }
        if frees { self.free(container) } else { 0 }
    }

    /// A GC by the node.
    pub(super) fn collect(&mut self, valid: &[bool], stamp: Stamp) -> u64 {
        self.seen_boots.extend(stamp.boot);
        let mut count = 0;
        for (container, valid) in valid.iter().enumerate() {
            let attached = &mut self.attached[container];
            let is_older = match (stamp.issued, attached.claimed) {
                (Some(issued), Some(claimed)) if attached.boot == stamp.boot => claimed < issued,
                _ => true,
            };
            if !valid && is_older && !attached.held.is_empty() {
                attached.note_release(stamp.boot, stamp.issued);
                count += self.free(container);
            }
        }
        count
    }

    /// The admin's release of one lease.
    pub(super) fn release_lease(&mut self, container: usize, position: usize) {
        let one = self.attached[container].held.remove(position);
        self.spaces[one.pool].give_back(one.number, self.operation);
    }

    /// Every lease: container, pool and number.
    pub(super) fn leases(&self) -> BTreeMap<String, (usize, usize, usize)> {
        let all = self.attached.iter().enumerate();
        all.flat_map(|(container, attached)| {
            let held = attached.held.iter();
            held.map(move |one| (one.id.clone(), (container, one.pool, one.number)))
        })
        .collect()
    }
}

impl Attached {
    fn supersedes(&self, stamp: Stamp) -> bool {
        let overtaken = self.released.zip(stamp.issued);
        self.release_boot == stamp.boot && overtaken.is_some_and(|(r, c)| c <= r)
    }

    fn satisfies(&self, entries: &[Vec<usize>], wanted: Option<(usize, usize)>) -> bool {
        let listed = |one: &Held| {
            let entry = entries.get(one.entry);
            entry.is_some_and(|entry| entry.contains(&one.pool))
        };
        let is_wanted = |one: &Held| Some((one.pool, one.number)) == wanted;
        self.held.len() == entries.len()
            && self.held.iter().all(listed)
            && (wanted.is_none() || self.held.iter().any(is_wanted))
    }

    fn note_claim(&mut self, stamp: Stamp) {
        if stamp.boot.is_some() && stamp.boot != self.boot {
            self.boot = stamp.boot;
            self.claimed = None;
            self.granted = None;
        }
        self.claimed = self.claimed.max(stamp.issued);
    }

    fn note_release(&mut self, boot: Option<usize>, issued: Option<i64>) {
        if issued.is_none() {
            return;
        }
        if self.release_boot != boot {
            self.release_boot = boot;
            self.released = None;
        }
        self.released = self.released.max(issued);
    }
}
