//! Deleting a pool.

use ipam_api::DryRun;

use super::removal::purge;
use super::{Attempt, InTheWay, SHOWN_MAX, check_version, lock};
use crate::error::{Error, Result};
use crate::store::changes::Changes;
use crate::store::clock::Clock;
use crate::store::database::Database;
use crate::store::pools::find;
use crate::store::retry::{finish, retry};
use crate::store::rows::{CounterRow, PoolRow};
use crate::store::settings::{DELETING, settings_of};
use crate::store::statements::Statements;
use crate::store::usage::time_for;

pub(in crate::store) async fn delete<D: Database>(
    db: &D,
    name: &str,
    if_match: Option<i64>,
) -> Result<()> {
    match first_step(db, name, if_match).await? {
        Attempt::Done(pool_id) | Attempt::Unfinished(pool_id) => purge(db, pool_id).await,
        Attempt::InTheWay(leases) => Err(leases.into_error()),
    }
}

/// The transaction that hides the pool; its rows are left to go.
pub(super) async fn first_step<D: Database>(
    db: &D,
    name: &str,
    if_match: Option<i64>,
) -> Result<Attempt<i64>> {
    retry::<D, _, _>("delete_pool", || async {
        let mut tx = db.begin().await?;
        let outcome = mark(&mut tx, db.clock(), name, if_match).await;
        finish::<D, _>(tx, outcome).await
    })
    .await
}

async fn mark<T: Statements>(
    tx: &mut T,
    clock: &Clock,
    name: &str,
    if_match: Option<i64>,
) -> Result<Attempt<i64>> {
    let (mut pool, mut counter) = lock(tx, name, false).await?;
    check_version(&pool, if_match)?;
    if counter.leased + counter.quarantined > 0 {
        let leases = all_leases(tx, pool, &counter).await?;
        return Ok(Attempt::InTheWay(Box::new(leases)));
    }
    let now = time_for(&counter, clock.read(tx.wall_clock().await?).now);
    let settings = serde_json::to_value(settings_of(&pool)?).map_err(Error::internal)?;
    tx.insert_pool_change(name, now, "delete", &settings)
        .await?;
    counter.last_at = now;
    tx.write(&Changes::of_counter(counter)).await?;
    DELETING.clone_into(&mut pool.state);
    pool.version += 1;
    pool.updated_at = now;
    tx.update_pool(&pool).await?;
    Ok(Attempt::Done(pool.id))
}

pub(in crate::store) async fn try_delete<D: Database>(
    db: &D,
    name: &str,
    if_match: Option<i64>,
) -> Result<DryRun> {
    retry::<D, _, _>("try_delete_pool", || async {
        let mut tx = db.read().await?;
        let outcome = look(&mut tx, name, if_match).await;
        finish::<D, _>(tx, outcome).await
    })
    .await
}

async fn look<T: Statements>(tx: &mut T, name: &str, if_match: Option<i64>) -> Result<DryRun> {
    let pool = find(tx, name).await?;
    check_version(&pool, if_match)?;
    let counter = tx.counters(&[pool.id]).await?.into_iter().next();
    let counter = counter.ok_or_else(|| Error::PoolNotFound(name.to_owned()))?;
    all_leases(tx, pool, &counter).await?.into_dry_run()
}

/// The leases of the pool; the counter knows how many, so that a large pool need not be walked.
async fn all_leases<T: Statements>(
    tx: &mut T,
    pool: PoolRow,
    counter: &CounterRow,
) -> Result<InTheWay> {
    let PoolRow {
        vrf_id,
        id,
        subnet_first,
        subnet_last,
        ..
    } = pool;
    let held = tx
        .leases_between(vrf_id, id, subnet_first, subnet_last, SHOWN_MAX)
        .await?;
    Ok(InTheWay {
        pool,
        total: (counter.leased + counter.quarantined).unsigned_abs(),
        held,
    })
}
