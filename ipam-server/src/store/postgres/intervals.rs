//! Removals, and statements over many intervals at once.

use super::{Tx, column};
use crate::pool::Interval;
use crate::store::addr::Addr;
use crate::store::moment::Moment;
use crate::store::rows::{FreeRow, IntervalRow, ReleasedRow};
use crate::store::statements::{Answer, IntervalStatements};

/// The intervals' first and last addresses, as `unnest` takes them.
fn ends(intervals: &[Interval]) -> (Vec<Addr>, Vec<Addr>) {
    intervals
        .iter()
        .map(|interval| (interval.first, interval.last))
        .unzip()
}

impl IntervalStatements for Tx {
    async fn removals(&mut self, pool_ids: &[i64]) -> Answer<Vec<IntervalRow>> {
        if pool_ids.is_empty() {
            return Ok(Vec::new());
        }
        sqlx::query_as(
            "-- removals
             select pool_id, first, last
             from pool_removal
             where pool_id = any($1)
             order by pool_id, first",
        )
        .bind(pool_ids)
        .fetch_all(self.connection())
        .await
    }

    async fn pools_with_removals(&mut self) -> Answer<Vec<i64>> {
        sqlx::query_scalar(
            "-- pools_with_removals
             select distinct pool_id
             from pool_removal
             order by pool_id
             limit 16",
        )
        .fetch_all(self.connection())
        .await
    }

    async fn insert_removals(&mut self, removals: &[IntervalRow]) -> Answer<()> {
        sqlx::query(
            "-- insert_removals
             insert into pool_removal (pool_id, first, last)
             select pool_id, first, last
             from unnest($1::bigint[], $2::inet[], $3::inet[]) as new (pool_id, first, last)",
        )
        .bind(column!(removals, pool_id))
        .bind(column!(removals, first))
        .bind(column!(removals, last))
        .execute(self.connection())
        .await?;
        Ok(())
    }

    async fn delete_removal(&mut self, removal: &IntervalRow) -> Answer<()> {
        sqlx::query(
            "-- delete_removal
             delete from pool_removal
             where pool_id = $1
                 and first = $2",
        )
        .bind(removal.pool_id)
        .bind(removal.first)
        .execute(self.connection())
        .await?;
        Ok(())
    }

    async fn free_at_or_before_each(
        &mut self,
        pool_id: i64,
        addresses: &[Addr],
    ) -> Answer<Vec<FreeRow>> {
        sqlx::query_as(
            "-- free_at_or_before_each
             select distinct f.pool_id, f.first, f.last, f.free_at
             from unnest($2::inet[]) as asked (address)
             cross join lateral (
                 select pool_id, first, last, free_at
                 from free_range
                 where pool_id = $1
                     and first <= asked.address
                 order by first desc
                 limit 1
             ) f
             order by f.first",
        )
        .bind(pool_id)
        .bind(addresses)
        .fetch_all(self.connection())
        .await
    }

    async fn count_leases_on(
        &mut self,
        vrf_id: i64,
        pool_id: i64,
        intervals: &[Interval],
    ) -> Answer<i64> {
        let (first, last) = ends(intervals);
        sqlx::query_scalar(
            "-- count_leases_on
             select coalesce(sum(l.leases), 0)::bigint
             from unnest($3::inet[], $4::inet[]) as asked (first, last)
             cross join lateral (
                 select count(*) as leases
                 from lease
                 where vrf_id = $1
                     and address between asked.first and asked.last
                     and pool_id = $2
             ) l",
        )
        .bind(vrf_id)
        .bind(pool_id)
        .bind(first)
        .bind(last)
        .fetch_one(self.connection())
        .await
    }

    async fn leased_on(
        &mut self,
        vrf_id: i64,
        pool_id: i64,
        intervals: &[Interval],
        limit: i64,
    ) -> Answer<Vec<Addr>> {
        let (first, last) = ends(intervals);
        // The limit within keeps the walk along the index, and short.
        sqlx::query_scalar(
            "-- leased_on
             select l.address
             from unnest($3::inet[], $4::inet[]) as asked (first, last)
             cross join lateral (
                 select address
                 from lease
                 where vrf_id = $1
                     and address between asked.first and asked.last
                     and pool_id = $2
                 order by address
                 limit $5
             ) l
             order by l.address
             limit $5",
        )
        .bind(vrf_id)
        .bind(pool_id)
        .bind(first)
        .bind(last)
        .bind(limit)
        .fetch_all(self.connection())
        .await
    }

    async fn released_since(
        &mut self,
        vrf_id: i64,
        intervals: &[Interval],
        after: Moment,
        limit: i64,
    ) -> Answer<Vec<ReleasedRow>> {
        let (first, last) = ends(intervals);
        sqlx::query_as(
            "-- released_since
             select h.address, h.released_at
             from unnest($2::inet[], $3::inet[]) as asked (first, last)
             cross join lateral (
                 select address, max(released_at) as released_at
                 from history
                 where vrf_id = $1
                     and address between asked.first and asked.last
                     and released_at > $4
                 group by address
                 order by address
                 limit $5
             ) h
             order by h.address
             limit $5",
        )
        .bind(vrf_id)
        .bind(first)
        .bind(last)
        .bind(after)
        .bind(limit)
        .fetch_all(self.connection())
        .await
    }
}
