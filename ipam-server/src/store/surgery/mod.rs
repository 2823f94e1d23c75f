//! Changing and deleting pools while leases live.
//!
//! Space that is taken out leaves leasing in the transaction of the change itself: the pool's settings say so from then
//! on, and `pool_removal` names what of `free_range` has yet to go. That goes in chunks, so that no transaction is long;
//! `tidy` goes on where a crash left it.

mod change;
mod delete;
mod removal;
mod space;
#[cfg(test)]
mod tests;

use ipam_api::{DryRun, Lease};

pub(super) use change::{change, try_change};
pub(super) use delete::{delete, try_delete};
pub(super) use removal::{purge_chunk, remove_chunk};

use super::pools::find;
use super::rows::{CounterRow, HeldRow, PoolRow};
use super::shown::lease_of;
use super::statements::Statements;
use crate::error::{Error, Result};
use crate::pool::Interval;

/// Leases that a dry run shows.
const SHOWN_MAX: i64 = 100;
/// Leases that an error names.
const NAMED_MAX: usize = 3;

/// What became of an attempt.
enum Attempt<T> {
    /// It is done.
    Done(T),
    /// Leases stand in the way; nothing was changed.
    InTheWay(Box<InTheWay>),
    /// Removals of an earlier change of this pool are to be finished first; nothing was changed.
    Unfinished(i64),
}

/// Leases that keep a pool, or a range of it, from going.
struct InTheWay {
    pool: PoolRow,
    total: u64,
    /// The first of them.
    held: Vec<HeldRow>,
}

impl InTheWay {
    fn into_error(self) -> Error {
        let named: Vec<_> = self
            .held
            .iter()
            .take(NAMED_MAX)
            .map(|held| format!("{} held by {}", held.lease.address, held.attachment.key()))
            .collect();
        Error::PoolInUse {
            pool: self.pool.name,
            total: self.total,
            first: named.join(", "),
        }
    }

    fn into_dry_run(self) -> Result<DryRun> {
        let show = |held: &HeldRow| lease_of(&held.lease, &held.attachment, &self.pool);
        Ok(DryRun {
            possible: self.total == 0,
            pool: None,
            leases_in_the_way_total: self.total,
            leases_in_the_way: self.held.iter().map(show).collect::<Result<Vec<Lease>>>()?,
        })
    }
}

/// Finds the pool, locks it, and answers it as it stands under the lock. `with_vrf`: ranges change, which locks the vrf's
/// row before.
async fn lock<T: Statements>(
    tx: &mut T,
    name: &str,
    with_vrf: bool,
) -> Result<(PoolRow, CounterRow)> {
    let seen = find(tx, name).await?;
    if with_vrf {
        tx.lock_vrf(&seen.vrf).await?;
    }
    let counter = tx.lock_counters(&[seen.id]).await?.into_iter().next();
    let pool = tx.pools_by_id(&[seen.id]).await?.into_iter().next();
    match (pool, counter) {
        (Some(pool), Some(counter)) if !pool.is_deleting() => Ok((pool, counter)),
        _ => Err(Error::PoolNotFound(name.to_owned())),
    }
}

/// Refuses a change of another version than the one that the caller saw.
fn check_version(pool: &PoolRow, if_match: Option<i64>) -> Result<()> {
    match if_match {
        Some(asked) if asked != pool.version => Err(Error::Stale {
            pool: pool.name.clone(),
            present: pool.version,
            asked: asked.to_string(),
        }),
        _ => Ok(()),
    }
}

/// The leases of the pool on these intervals: how many, and the first of them.
async fn leases_on<T: Statements>(
    tx: &mut T,
    pool: &PoolRow,
    intervals: &[Interval],
) -> Result<InTheWay> {
    let mut held = Vec::new();
    let total = count_leases(tx, pool, intervals).await?;
    if total > 0 {
        let addresses = tx
            .leased_on(pool.vrf_id, pool.id, intervals, SHOWN_MAX)
            .await?;
        for address in addresses {
            held.extend(tx.lease_on(pool.vrf_id, address).await?);
        }
    }
    Ok(InTheWay {
        pool: pool.clone(),
        total: total.unsigned_abs(),
        held,
    })
}

/// How many leases the pool has on these intervals.
async fn count_leases<T: Statements>(
    tx: &mut T,
    pool: &PoolRow,
    intervals: &[Interval],
) -> Result<i64> {
    if intervals.is_empty() {
        return Ok(0);
    }
    Ok(tx.count_leases_on(pool.vrf_id, pool.id, intervals).await?)
}
