//! What is remembered of pools from one transaction to the next, so that their locks can be asked for before they are
//! read. Hints only: a transaction that finds them wrong begins anew without them.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};

use ipam_api::{Claim, Entry};

use super::books::read_ahead;
use super::rows::PoolRow;

/// The pools that were read last, by name.
#[derive(Debug, Default)]
pub(crate) struct Hints(Mutex<HashMap<String, Hint>>);

#[derive(Clone, Copy, Debug)]
struct Hint {
    id: i64,
    is_ready: bool,
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
        let mut hints = self.lock();
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

    /// What these claims will ask for; nothing where it cannot be told.
    pub(super) fn guess(&self, claims: &[Claim]) -> Option<Guess> {
        let hints = self.lock();
        let (mut names, mut wanted) = (BTreeSet::new(), BTreeMap::new());
        for claim in claims {
            // The pool of a wanted address may be any of them.
            if !claim.wanted.is_empty() {
                return None;
            }
            for entry in &claim.entries {
                names.extend(entry.pools.iter().cloned());
                if let Some(id) = first_choice(&hints, entry)? {
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

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Hint>> {
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
