//! Changing a pool.

use ipam_api::{DryRun, PoolPatch};

use super::removal::finish_removals;
use super::space::{put_in, take_out};
use super::{Attempt, check_version, count_leases, leases_on, lock};
use crate::error::{Error, Result};
use crate::pool::{Layout, minus};
use crate::store::Versioned;
use crate::store::changes::Changes;
use crate::store::clock::{Clock, Reading};
use crate::store::database::Database;
use crate::store::pools::{check_ranges, interval_rows, show, shown};
use crate::store::retry::{finish, retry};
use crate::store::rows::{CounterRow, PoolRow};
use crate::store::settings::{are_alike, patched, settings_of};
use crate::store::statements::Statements;
use crate::store::usage::time_for;

/// How often a change waits for removals of other changes of the pool.
const ROUNDS: usize = 10;

pub(in crate::store) async fn change<D: Database>(
    db: &D,
    name: &str,
    patch: &PoolPatch,
    if_match: Option<i64>,
) -> Result<Versioned> {
    for _ in 0..ROUNDS {
        match first_step(db, name, patch, if_match).await? {
            Attempt::Done(pool) => {
                // The change holds; what is left to clear is leased no more, and `tidy` clears it too.
                if let Err(error) = finish_removals(db, pool.id).await {
                    tracing::warn!(pool.name = name, %error, "removed space is cleared later");
                }
                return show(db, name).await;
            }
            Attempt::InTheWay(leases) => return Err(leases.into_error()),
            Attempt::Unfinished(pool_id) => finish_removals(db, pool_id).await?,
        }
    }
    Err(still_changing(name))
}

/// The transaction of the change itself; removals of free space may be left to do.
pub(super) async fn first_step<D: Database>(
    db: &D,
    name: &str,
    patch: &PoolPatch,
    if_match: Option<i64>,
) -> Result<Attempt<PoolRow>> {
    retry::<D, _, _>("change_pool", || async {
        let mut tx = db.begin().await?;
        let outcome = apply(&mut tx, db.clock(), name, patch, if_match).await;
        finish::<D, _>(tx, outcome).await
    })
    .await
}

/// Does it and undoes it: so a dry run cannot say something else than what the change would do.
pub(in crate::store) async fn try_change<D: Database>(
    db: &D,
    name: &str,
    patch: &PoolPatch,
    if_match: Option<i64>,
) -> Result<DryRun> {
    for _ in 0..ROUNDS {
        let attempt = retry::<D, _, _>("try_change_pool", || async {
            let mut tx = db.begin().await?;
            let outcome = apply_and_show(&mut tx, db.clock(), name, patch, if_match).await;
            D::rollback(tx).await?;
            outcome
        })
        .await?;
        match attempt {
            Attempt::Done(after) => {
                return Ok(DryRun {
                    possible: true,
                    pool: Some(after.pool),
                    leases_in_the_way_total: 0,
                    leases_in_the_way: Vec::new(),
                });
            }
            Attempt::InTheWay(leases) => return leases.into_dry_run(),
            Attempt::Unfinished(pool_id) => finish_removals(db, pool_id).await?,
        }
    }
    Err(still_changing(name))
}

fn still_changing(name: &str) -> Error {
    Error::unavailable(format!(
        "pool {name:?} is being changed again and again by others"
    ))
}

async fn apply_and_show<T: Statements>(
    tx: &mut T,
    clock: &Clock,
    name: &str,
    patch: &PoolPatch,
    if_match: Option<i64>,
) -> Result<Attempt<Versioned>> {
    Ok(match apply(tx, clock, name, patch, if_match).await? {
        Attempt::Done(pool) => Attempt::Done(shown(tx, clock, &pool).await?),
        Attempt::InTheWay(leases) => Attempt::InTheWay(leases),
        Attempt::Unfinished(pool_id) => Attempt::Unfinished(pool_id),
    })
}

async fn apply<T: Statements>(
    tx: &mut T,
    clock: &Clock,
    name: &str,
    patch: &PoolPatch,
    if_match: Option<i64>,
) -> Result<Attempt<PoolRow>> {
    // A pool without ranges has others when its gateway moves.
    let with_vrf = patch.ranges.is_some() || patch.gateway.is_some();
    let (pool, mut counter) = lock(tx, name, with_vrf).await?;
    check_version(&pool, if_match)?;
    let mut after = patched(&pool, patch)?;
    if are_alike(&pool, &after)? {
        return Ok(Attempt::Done(pool));
    }
    let reading = clock.read(tx.wall_clock().await?);
    let now = time_for(&counter, reading.now);
    let layouts = Layouts {
        old: Layout::of_row(&pool),
        new: Layout::of_row(&after),
    };
    if layouts.old != layouts.new {
        let refused = refuse(tx, &after, &layouts).await?;
        if let Some(refused) = refused {
            return Ok(refused);
        }
        reshape(tx, &after, &layouts, &mut counter, &reading).await?;
    }
    counter.last_at = now;
    tx.write(&Changes::of_counter(counter)).await?;
    (after.version, after.updated_at) = (pool.version + 1, now);
    tx.update_pool(&after).await?;
    let settings = serde_json::to_value(settings_of(&after)?).map_err(Error::internal)?;
    tx.insert_pool_change(name, now, "change", &settings)
        .await?;
    Ok(Attempt::Done(after))
}

/// A pool's addresses before and after.
struct Layouts {
    old: Layout,
    new: Layout,
}

/// Why the addresses cannot be changed like this; nothing is written.
async fn refuse<T: Statements>(
    tx: &mut T,
    after: &PoolRow,
    Layouts { old, new }: &Layouts,
) -> Result<Option<Attempt<PoolRow>>> {
    if !tx.removals(&[after.id]).await?.is_empty() {
        return Ok(Some(Attempt::Unfinished(after.id)));
    }
    check_ranges(tx, after, new).await?;
    // An exclusion over a lease is allowed: the lease lives on. A range does not go from under it.
    let leases = leases_on(tx, after, &minus(&old.ranges, &new.ranges)).await?;
    Ok((leases.total > 0).then(|| Attempt::InTheWay(Box::new(leases))))
}

/// Moves the addresses from the old layout to the new one.
async fn reshape<T: Statements>(
    tx: &mut T,
    pool: &PoolRow,
    Layouts { old, new }: &Layouts,
    counter: &mut CounterRow,
    reading: &Reading,
) -> Result<()> {
    if old.ranges != new.ranges {
        let ranges = interval_rows(pool.id, &new.ranges);
        tx.replace_ranges(pool.vrf_id, pool.id, &ranges).await?;
    }
    let covered = minus(&new.reserved, &old.reserved);
    let uncovered = minus(&old.reserved, &new.reserved);
    counter.leased_reserved += count_leases(tx, pool, &covered).await?;
    counter.leased_reserved -= count_leases(tx, pool, &uncovered).await?;
    take_out(tx, counter, &minus(&old.leasable, &new.leasable)).await?;
    put_in(
        tx,
        pool,
        counter,
        &minus(&new.leasable, &old.leasable),
        reading.rested_until(pool.reuse_delay()),
    )
    .await
}
