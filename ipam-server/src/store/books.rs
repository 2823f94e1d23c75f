//! The ledgers of the pools that a transaction works on.

use std::collections::{BTreeMap, HashMap};

use super::addr::Addr;
use super::clock::{Clock, Times};
use super::ledger::Ledger;
use super::moment::Moment;
use super::rows::{FreeRow, LockedPools};
use super::statements::{Answer, Statements};

/// Ledgers by pool id, all under one time. The last locks that a transaction takes.
#[derive(Debug)]
pub(super) struct Books {
    pub(super) times: Times,
    ledgers: BTreeMap<i64, Ledger>,
}

impl Books {
    /// Locks these pools, in the order of their ids, and then reads them and the time: what was changed while this waited
    /// is seen. A pool that is gone is left out.
    pub(super) async fn open<T: Statements>(
        tx: &mut T,
        clock: &Clock,
        mut pool_ids: Vec<i64>,
    ) -> Answer<Self> {
        pool_ids.sort_unstable();
        pool_ids.dedup();
        let counters = tx.lock_counters(&pool_ids).await?;
        let LockedPools {
            wall,
            pools,
            removals,
        } = tx.locked_pools(&pool_ids).await?;
        let last = counters.iter().map(|counter| counter.last_at).max();
        // Also what is written down is not led astray by a clock that has jumped: it would stay there for good.
        let rest = clock.rested_until(wall);
        let times = Times {
            now: last.map_or(rest, |last: Moment| last.max(rest)),
            rest,
        };
        let mut pools: BTreeMap<_, _> = pools.into_iter().map(|pool| (pool.id, pool)).collect();
        let mut ledgers = BTreeMap::new();
        for counter in counters {
            let id = counter.pool_id;
            let of_pool = removals.iter().filter(|removal| removal.pool_id == id);
            if let Some(pool) = pools.remove(&id) {
                let ledger = Ledger::new(pool, counter, of_pool.copied().collect(), times);
                ledgers.insert(id, ledger);
            }
        }
        Ok(Self { times, ledgers })
    }

    /// A pool's ledger, if the pool is among those that were locked.
    pub(super) fn get(&mut self, pool_id: i64) -> Option<&mut Ledger> {
        self.ledgers.get_mut(&pool_id)
    }

    /// Writes what has changed in the pools' free space and counters.
    pub(super) async fn close<T: Statements>(self, tx: &mut T) -> Answer<()> {
        let (mut gone, mut added, mut counters) = (Vec::new(), Vec::new(), Vec::new());
        for ledger in self.ledgers.into_values() {
            counters.push(ledger.close(&mut gone, &mut added));
        }
        let cuts = take_cuts(&mut gone, &mut added);
        tx.delete_free(&gone).await?;
        tx.cut_free(&cuts).await?;
        tx.insert_free(&added).await?;
        tx.save_counters(&counters).await
    }
}

/// Takes out the pairs of a row that is gone and one that was added which is its end: what a batch of claims does to
/// never-used space, and one statement instead of two. Of each the row that was, and where it begins now.
fn take_cuts(gone: &mut Vec<FreeRow>, added: &mut Vec<FreeRow>) -> Vec<(FreeRow, Addr)> {
    let end = |row: &FreeRow| (row.pool_id, row.last, row.free_at);
    let mut ends: HashMap<_, _> = gone.iter().map(|row| (end(row), *row)).collect();
    let mut cuts = Vec::new();
    added.retain(|row| match ends.remove(&end(row)) {
        Some(was) => {
            cuts.push((was, row.first));
            false
        }
        None => true,
    });
    gone.retain(|row| ends.contains_key(&end(row)));
    cuts
}
