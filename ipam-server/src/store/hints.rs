//! What is remembered of pools from one transaction to the next, so that their locks can be asked for before they are
//! read, and other servers that work on them be given their turn. Hints only: a transaction that finds them wrong begins
//! anew without them.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};

use ipam_api::{Claim, Entry};

use super::books::read_ahead;
use super::rows::{CounterRow, PoolRow};

/// What is remembered.
#[derive(Debug, Default)]
pub(crate) struct Hints(Mutex<Known>);

#[derive(Debug, Default)]
struct Known {
    /// The pools that were read last, by name.
    pools: HashMap<String, Hint>,
    /// The counters that were locked last, by pool.
    counters: HashMap<i64, Counter>,
}

#[derive(Clone, Copy, Debug)]
struct Hint {
    id: i64,
    is_ready: bool,
}

#[derive(Clone, Copy, Debug)]
struct Counter {
    /// As this server left it.
    version: i64,
    /// Whether another had written it since, when it was met last.
    is_shared: bool,
}

/// What a batch of claims will ask of pools, if they are as they were.
pub(super) struct Guess {
    /// Every pool that the claims name, in order.
    pub(super) names: Vec<String>,
    /// The pools of first choice, in order.
    pub(super) ids: Vec<i64>,
    /// How many fresh intervals of each are read.
    pub(super) read_ahead: usize,
}

impl Hints {
    /// Remembers the pools of these names as they were read.
    pub(super) fn learn(&self, names: &[String], pools: &[PoolRow]) {
        let hints = &mut self.lock().pools;
        for name in names {
            match pools.iter().find(|pool| pool.name == *name) {
                Some(pool) => {
                    let hint = Hint {
                        id: pool.id,
                        is_ready: pool.state == "ready",
                    };
                    hints.insert(name.clone(), hint);
                }
                None => {
                    hints.remove(name);
                }
            }
        }
    }

    /// Compares counters, as they are now that they are locked, with what this server left.
    pub(super) fn meet(&self, counters: &[CounterRow]) {
        let known = &mut self.lock().counters;
        for counter in counters {
            let version = counter.version;
            let first = Counter {
                version,
                is_shared: false,
            };
            let counter = known.entry(counter.pool_id).or_insert(first);
            counter.is_shared = counter.version != version;
            counter.version = version;
        }
    }

    /// Remembers that these counters are about to be written.
    pub(super) fn leave(&self, counters: &[CounterRow]) {
        let known = &mut self.lock().counters;
        for counter in counters {
            if let Some(known) = known.get_mut(&counter.pool_id) {
                known.version = counter.version + 1;
            }
        }
    }

    /// Whether another server was at work on one of these pools between this one's last two transactions on it.
    pub(super) fn are_shared(&self, names: &[String]) -> bool {
        let known = self.lock();
        names.iter().any(|name| {
            let pool = known.pools.get(name);
            let counter = pool.and_then(|pool| known.counters.get(&pool.id));
            counter.is_some_and(|counter| counter.is_shared)
        })
    }

    /// What these claims will ask for; nothing where it cannot be told.
    pub(super) fn guess(&self, claims: &[Claim]) -> Option<Guess> {
        let hints = &self.lock().pools;
        let (mut names, mut wanted) = (BTreeSet::new(), BTreeMap::new());
        for claim in claims {
            // The pool of a wanted address may be any of them.
            let has_choice = claim.entries.iter().any(|entry| entry.pools.len() > 1);
            if has_choice && !claim.wanted.is_empty() {
                return None;
            }
            for entry in &claim.entries {
                names.extend(entry.pools.iter().cloned());
                if let Some(id) = first_choice(hints, entry)? {
                    *wanted.entry(id).or_default() += 1;
                }
            }
        }
        Some(Guess {
            names: names.into_iter().collect(),
            read_ahead: read_ahead(&wanted),
            ids: wanted.into_keys().collect(),
        })
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        // Nothing panics between two steps that belong together.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The first pool of the entry that is ready, if one is. Nothing when one of them is not known.
fn first_choice(hints: &HashMap<String, Hint>, entry: &Entry) -> Option<Option<i64>> {
    for name in &entry.pools {
        let hint = hints.get(name)?;
        if hint.is_ready {
            return Some(Some(hint.id));
        }
    }
    Some(None)
}
