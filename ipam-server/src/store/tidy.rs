//! Background work, a bounded piece of it per call.

use std::time::Duration;

use super::database::Database;
use super::moment::Moment;
use super::retry::{finish, retry};
use super::statements::Statements;
use super::surgery::{purge_chunk, remove_chunk};
use crate::error::Result;

/// How long the mark of an attachment stays after its release. It tells a claim that its release overtook it on the way.
/// Claims are on the way for their deadline, which is seconds, and a spooled release has its own order: an hour is far
/// beyond both.
const MARKS_KEPT: Duration = Duration::from_secs(3600);

/// Rows that one transaction prunes.
const CHUNK: i64 = 5_000;

pub(super) async fn tidy<D: Database>(db: &D, keep: Duration) -> Result<bool> {
    let left = retry::<D, _, _>("find_leftovers", || async {
        let mut tx = db.read().await?;
        let outcome = leftovers(&mut tx).await;
        finish::<D, _>(tx, outcome).await
    })
    .await?;
    let mut more = false;
    for pool_id in left.removals {
        more |= unless_busy(pool_id, remove_chunk(db, pool_id).await);
    }
    for pool_id in left.deletions {
        more |= unless_busy(pool_id, purge_chunk(db, pool_id).await);
    }
    // After a step of the clock what is young looks old: only the part that can be believed counts.
    let reading = db.clock().read(left.now);
    let end = |kept: Duration| reading.rested_until(kept).minus(kept);
    more |= prune_history(db, end(keep)).await?;
    more |= prune_marks(db, end(MARKS_KEPT)).await?;
    Ok(more)
}

/// Whether there is more to do. A pool whose lock could not be had has its turn in the next round; the others' work goes on.
fn unless_busy(pool_id: i64, done: Result<bool>) -> bool {
    done.unwrap_or_else(|error| {
        tracing::warn!(pool.id = pool_id, %error, "what is left of a change of this pool has to wait");
        false
    })
}

/// What a crash left, and the time.
struct Leftovers {
    removals: Vec<i64>,
    deletions: Vec<i64>,
    now: Moment,
}

async fn leftovers<T: Statements>(tx: &mut T) -> Result<Leftovers> {
    let deleting = tx.pools_deleting().await?;
    Ok(Leftovers {
        removals: tx.pools_with_removals().await?,
        deletions: deleting.into_iter().map(|pool| pool.id).collect(),
        now: tx.wall_clock().await?,
    })
}

async fn prune_history<D: Database>(db: &D, until: Moment) -> Result<bool> {
    retry::<D, _, _>("prune_history", || async {
        let mut tx = db.begin().await?;
        let outcome = prune_past(&mut tx, until).await;
        finish::<D, _>(tx, outcome).await
    })
    .await
}

async fn prune_past<T: Statements>(tx: &mut T, until: Moment) -> Result<bool> {
    Ok(tx.prune_history(until, CHUNK).await? == CHUNK.unsigned_abs())
}

async fn prune_marks<D: Database>(db: &D, until: Moment) -> Result<bool> {
    retry::<D, _, _>("prune_marks", || async {
        let mut tx = db.begin().await?;
        let outcome = prune_released(&mut tx, until).await;
        finish::<D, _>(tx, outcome).await
    })
    .await
}

async fn prune_released<T: Statements>(tx: &mut T, until: Moment) -> Result<bool> {
    Ok(tx.prune_attachments(until, CHUNK).await? == CHUNK.unsigned_abs())
}
