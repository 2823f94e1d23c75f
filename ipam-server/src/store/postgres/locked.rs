//! What is read of pools once their counters are locked.

use sqlx::FromRow;

use super::pools::select_pool;
use super::{Tx, column};
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

/// All in one statement: it is sent with every batch.
pub(super) async fn locked_pools(
    tx: &mut Tx,
    counters: &[CounterRow],
    wanted: i64,
) -> Answer<LockedPools> {
    let rows: Vec<LockedPool> = sqlx::query_as(select_pool!(
        "locked_pools",
        "clock_timestamp() as wall,
             array(select first from pool_removal where pool_id = p.id order by first) as removal_firsts,
             array(select last from pool_removal where pool_id = p.id order by first) as removal_lasts,
             fresh.firsts as fresh_firsts, fresh.lasts as fresh_lasts,
             ",
        "cross join lateral (
             select coalesce(array_agg(f.first order by f.first), '{}') as firsts,
                 coalesce(array_agg(f.last order by f.first), '{}') as lasts
             from (
                 select first, last
                 from free_range
                 where pool_id = p.id
                     and free_at = $3
                     and first >= ($2::inet[])[array_position($1::bigint[], p.id)]
                 order by first
                 limit $4
             ) f
         ) fresh
         where p.id = any($1)"
    ))
    .bind(column!(counters, pool_id))
    .bind(column!(counters, fresh_from))
    .bind(Moment::NEVER)
    .bind(wanted)
    .fetch_all(tx.connection())
    .await?;
    let wall = match rows.iter().map(|row| row.wall).max() {
        Some(wall) => wall,
        None => tx.wall_clock().await?,
    };
    let mut locked = LockedPools {
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
