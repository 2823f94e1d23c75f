//! What is read of pools once their counters are locked.

use sqlx::FromRow;

use super::Tx;
use super::call::Call;
use crate::store::addr::Addr;
use crate::store::moment::Moment;
use crate::store::rows::{CounterRow, FreeRow, IntervalRow, LockedPools, PoolRow};
use crate::store::statements::{Answer, PoolStatements};

/// A pool whose counter is locked, its removals in two columns side by side.
#[derive(FromRow)]
struct LockedPool {
    wall: Moment,
    removal_firsts: Vec<Addr>,
    removal_lasts: Vec<Addr>,
    fresh_firsts: Vec<Addr>,
    fresh_lasts: Vec<Addr>,
    #[sqlx(flatten)]
    pool: PoolRow,
}

pub(super) fn lock(pool_ids: &[i64]) -> Call {
    Call::of("lock_counters").values(pool_ids.iter().copied())
}

/// The lock, and what is read behind it: in a statement of its own, which sees what the lock was waited for.
pub(super) fn calls(pool_ids: &[i64], wanted: i64) -> [Call; 2] {
    [lock(pool_ids), read(pool_ids, wanted)]
}

fn read(pool_ids: &[i64], wanted: i64) -> Call {
    let ids = pool_ids.iter().copied();
    Call::of("lock_pools")
        .values(ids)
        .value(wanted)
        .value(Moment::NEVER)
}

/// All in one round trip: it is sent with every batch.
pub(super) async fn lock_pools(tx: &mut Tx, pool_ids: &[i64], wanted: i64) -> Answer<LockedPools> {
    if pool_ids.is_empty() {
        return Ok(LockedPools {
            counters: Vec::new(),
            wall: tx.wall_clock().await?,
            pools: Vec::new(),
            removals: Vec::new(),
            fresh: Vec::new(),
        });
    }
    if !tx.has_ahead(&lock(pool_ids)) {
        let holds_another = tx.has_ahead(&Call::of("lock_counters"));
        debug_assert!(!holds_another, "a further pool is locked while one is held");
        tx.call_ahead(Vec::from(calls(pool_ids, wanted))).await?;
    }
    let counters: Vec<CounterRow> = tx.call(lock(pool_ids)).await?;
    tx.hints.meet(&counters);
    let rows: Vec<LockedPool> = tx.call(read(pool_ids, wanted)).await?;
    let wall = match rows.iter().map(|row| row.wall).max() {
        Some(wall) => wall,
        None => tx.wall_clock().await?,
    };
    let mut locked = LockedPools {
        counters,
        wall,
        pools: Vec::with_capacity(rows.len()),
        removals: Vec::new(),
        fresh: Vec::new(),
    };
    for row in rows {
        let pool_id = row.pool.id;
        let removals = row.removal_firsts.into_iter().zip(row.removal_lasts);
        (locked.removals).extend(removals.map(|(first, last)| IntervalRow {
            pool_id,
            first,
            last,
        }));
        let fresh = row.fresh_firsts.into_iter().zip(row.fresh_lasts);
        locked.fresh.extend(fresh.map(|(first, last)| FreeRow {
            pool_id,
            first,
            last,
            free_at: Moment::NEVER,
        }));
        locked.pools.push(row.pool);
    }
    Ok(locked)
}
