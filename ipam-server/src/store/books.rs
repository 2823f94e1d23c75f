//! The ledgers of the pools that a transaction works on.

use std::collections::BTreeMap;

use super::changes::Changes;
use super::clock::{Clock, Times};
use super::ledger::{Ledger, READ_AHEAD};
use super::moment::Moment;
use super::rows::LockedPools;
use super::statements::{Answer, Statements};

/// Ledgers by pool id, all under one time. The last locks that a transaction takes.
#[derive(Debug)]
pub(super) struct Books {
    /// What is written down as the transaction's time.
    pub(super) now: Moment,
    ledgers: BTreeMap<i64, Ledger>,
}

/// How many fresh intervals of each pool are read at once, where so many addresses are wanted from it.
pub(super) fn read_ahead(wanted: &BTreeMap<i64, usize>) -> usize {
    let most = wanted.values().copied().max().unwrap_or_default();
    most.min(READ_AHEAD)
}

impl Books {
    /// Locks these pools, in the order of their ids, and then reads them and the time: what was changed while this waited
    /// is seen. Each comes with how many addresses are wanted from it. A pool that is gone is left out.
    pub(super) async fn open<T: Statements>(
        tx: &mut T,
        clock: &Clock,
        wanted: &BTreeMap<i64, usize>,
    ) -> Answer<Self> {
        let pool_ids: Vec<_> = wanted.keys().copied().collect();
        let ahead = read_ahead(wanted);
        let LockedPools {
            counters,
            wall,
            pools,
            removals,
            fresh,
        } = tx.lock_pools(&pool_ids, ahead as i64).await?;
        let last = counters.iter().map(|counter| counter.last_at).max();
        // Also what is written down is not led astray by a clock that has jumped far: it would stay there for good.
        let reading = clock.read(wall);
        let now = last.map_or(reading.now, |last: Moment| last.max(reading.now));
        let mut pools: BTreeMap<_, _> = pools.into_iter().map(|pool| (pool.id, pool)).collect();
        let mut ledgers = BTreeMap::new();
        for counter in counters {
            let id = counter.pool_id;
            let of_pool = removals.iter().filter(|removal| removal.pool_id == id);
            if let Some(pool) = pools.remove(&id) {
                let times = Times {
                    now,
                    clock: reading.now,
                    rest: reading.rested_until(pool.reuse_delay()),
                };
                let mut ledger = Ledger::new(pool, counter, of_pool.copied().collect(), times);
                if ahead > 0 {
                    let fresh = fresh.iter().filter(|row| row.pool_id == id);
                    ledger.note_fresh(fresh.copied().collect(), ahead);
                }
                ledger.demand = wanted.get(&id).copied().unwrap_or_default();
                ledgers.insert(id, ledger);
            }
        }
        Ok(Self { now, ledgers })
    }

    /// A pool's ledger, if the pool is among those that were locked.
    pub(super) fn get(&mut self, pool_id: i64) -> Option<&mut Ledger> {
        self.ledgers.get_mut(&pool_id)
    }

    /// What has changed in the pools' free space and counters.
    pub(super) fn close(self) -> Changes {
        let (mut gone, mut added, mut counters) = (Vec::new(), Vec::new(), Vec::new());
        for ledger in self.ledgers.into_values() {
            counters.push(ledger.close(&mut gone, &mut added));
        }
        Changes {
            counters,
            ..Changes::of_space(gone, added)
        }
    }
}
