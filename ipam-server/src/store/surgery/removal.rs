//! Taking rows of free space away in chunks: of ranges that were removed, and of pools that are deleted.

use crate::error::Result;
use crate::pool::Interval;
use crate::store::changes::Changes;
use crate::store::database::Database;
use crate::store::moment::Moment;
use crate::store::retry::{finish, retry};
use crate::store::rows::{CounterRow, FreeRow};
use crate::store::statements::Statements;

/// Rows that one transaction takes away: some tens of milliseconds under the pool's lock.
const CHUNK: i64 = 5_000;

/// Takes away everything that is on its way out of the pool.
pub(super) async fn finish_removals<D: Database>(db: &D, pool_id: i64) -> Result<()> {
    while remove_chunk(db, pool_id).await? {}
    Ok(())
}

/// Takes away one chunk; true when there is more.
pub(in crate::store) async fn remove_chunk<D: Database>(db: &D, pool_id: i64) -> Result<bool> {
    retry::<D, _, _>("remove_free", || async {
        let mut tx = db.begin().await?;
        let outcome = remove(&mut tx, pool_id).await;
        finish::<D, _>(tx, outcome).await
    })
    .await
}

async fn remove<T: Statements>(tx: &mut T, pool_id: i64) -> Result<bool> {
    let Some(mut counter) = tx.lock_counters(&[pool_id]).await?.into_iter().next() else {
        return Ok(false);
    };
    let removals = tx.removals(&[pool_id]).await?;
    let Some(removal) = removals.first() else {
        return Ok(false);
    };
    let interval = Interval {
        first: removal.first,
        last: removal.last,
    };
    let is_empty = take_chunk(tx, &mut counter, interval).await?;
    if is_empty {
        tx.delete_removal(removal).await?;
    }
    Ok(!is_empty || removals.len() > 1)
}

/// Takes away all of a pool that is being deleted, and the pool.
pub(super) async fn purge<D: Database>(db: &D, pool_id: i64) -> Result<()> {
    while purge_chunk(db, pool_id).await? {}
    Ok(())
}

/// Takes away one chunk, and the pool when that was the last; true when there is more.
pub(in crate::store) async fn purge_chunk<D: Database>(db: &D, pool_id: i64) -> Result<bool> {
    retry::<D, _, _>("purge_pool", || async {
        let mut tx = db.begin().await?;
        let outcome = purge_some(&mut tx, pool_id).await;
        finish::<D, _>(tx, outcome).await
    })
    .await
}

async fn purge_some<T: Statements>(tx: &mut T, pool_id: i64) -> Result<bool> {
    let counter = tx.lock_counters(&[pool_id]).await?.into_iter().next();
    let pool = tx.pools_by_id(&[pool_id]).await?.into_iter().next();
    let (Some(mut counter), Some(pool)) = (counter, pool) else {
        return Ok(false);
    };
    if !pool.is_deleting() {
        return Ok(false);
    }
    let is_empty = take_chunk(tx, &mut counter, pool.subnet().interval()).await?;
    if is_empty {
        tx.delete_pool(pool_id).await?;
    }
    Ok(!is_empty)
}

/// Deletes a chunk of the free rows that begin within the interval, and keeps the counter right; whether it is empty now.
async fn take_chunk<T: Statements>(
    tx: &mut T,
    counter: &mut CounterRow,
    Interval { first, last }: Interval,
) -> Result<bool> {
    let gone = tx
        .delete_free_between(counter.pool_id, first, last, CHUNK)
        .await?;
    counter.returned -= returned_among(&gone);
    tx.write(&Changes::of_counter(counter.clone())).await?;
    Ok((gone.len() as i64) < CHUNK)
}

/// How many of these rows were leased before.
pub(super) fn returned_among(rows: &[FreeRow]) -> i64 {
    rows.iter()
        .filter(|row| row.free_at != Moment::NEVER)
        .count() as i64
}
