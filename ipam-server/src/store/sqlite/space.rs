//! Counters and free space.

use sqlx::types::Json;

use super::Tx;
use crate::store::addr::Addr;
use crate::store::moment::Moment;
use crate::store::rows::{CounterRow, FreeRow, LockedPools};
use crate::store::statements::{Answer, IntervalStatements, PoolStatements, SpaceStatements};

impl SpaceStatements for Tx {
    async fn insert_counter(&mut self, counter: &CounterRow) -> Answer<()> {
        sqlx::query(
            "-- insert_counter
             insert into pool_counter (pool_id, leased, leased_reserved, quarantined, returned, fresh_from,
                 returned_from_at, returned_from, returned_first, probe_at, last_at, version)
             values (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)",
        )
        .bind(counter.pool_id)
        .bind(counter.leased)
        .bind(counter.leased_reserved)
        .bind(counter.quarantined)
        .bind(counter.returned)
        .bind(counter.fresh_from)
        .bind(counter.returned_from_at)
        .bind(counter.returned_from)
        .bind(counter.returned_first)
        .bind(counter.probe_at)
        .bind(counter.last_at)
        .bind(counter.version)
        .execute(self.connection())
        .await?;
        Ok(())
    }

    async fn lock_counters(&mut self, pool_ids: &[i64]) -> Answer<Vec<CounterRow>> {
        // The transaction holds the only write lock.
        self.counters(pool_ids).await
    }

    async fn lock_pools(&mut self, pool_ids: &[i64], wanted: i64) -> Answer<LockedPools> {
        let mut locked = LockedPools {
            counters: self.lock_counters(pool_ids).await?,
            wall: self.wall_clock().await?,
            pools: self.pools_by_id(pool_ids).await?,
            removals: self.removals(pool_ids).await?,
            fresh: Vec::new(),
        };
        for counter in locked.counters.iter().filter(|_| wanted > 0) {
            let fresh = self.fresh_ranges(counter.pool_id, counter.fresh_from, wanted);
            locked.fresh.append(&mut fresh.await?);
        }
        Ok(locked)
    }

    async fn counters(&mut self, pool_ids: &[i64]) -> Answer<Vec<CounterRow>> {
        if pool_ids.is_empty() {
            return Ok(Vec::new());
        }
        sqlx::query_as(
            "-- counters
             select pool_id, leased, leased_reserved, quarantined, returned, fresh_from, returned_from_at,
                 returned_from, returned_first, probe_at, last_at, version
             from pool_counter
             where pool_id in (select value from json_each(?1))
             order by pool_id",
        )
        .bind(Json(pool_ids))
        .fetch_all(self.connection())
        .await
    }

    async fn fresh_ranges(&mut self, pool_id: i64, from: Addr, limit: i64) -> Answer<Vec<FreeRow>> {
        // The key would do as well, the planner thinks, but walks over all that was returned.
        sqlx::query_as(
            "-- fresh_ranges
             select pool_id, first, last, free_at
             from free_range indexed by free_range_next
             where pool_id = ?1
                 and free_at = ?2
                 and first >= ?3
             order by first
             limit ?4",
        )
        .bind(pool_id)
        .bind(Moment::NEVER)
        .bind(from)
        .bind(limit)
        .fetch_all(self.connection())
        .await
    }

    async fn returned_ranges(
        &mut self,
        pool_id: i64,
        from: (Moment, Addr),
        until: Moment,
        limit: i64,
    ) -> Answer<Vec<FreeRow>> {
        // One lower bound, past never-used space: of two the index scan would begin at either.
        sqlx::query_as(
            "-- returned_ranges
             select pool_id, first, last, free_at
             from free_range
             where pool_id = ?1
                 and (free_at, first) >= (?2, ?3)
                 and free_at <= ?4
             order by free_at, first
             limit ?5",
        )
        .bind(pool_id)
        .bind(from.0.max(Moment::RETURNED))
        .bind(from.1)
        .bind(until)
        .bind(limit)
        .fetch_all(self.connection())
        .await
    }

    async fn more_returned_than(
        &mut self,
        pool_id: i64,
        from: (Moment, Addr),
        until: Moment,
        count: i64,
    ) -> Answer<bool> {
        sqlx::query_scalar(
            "-- more_returned_than
             select count(*) > ?5
             from (
                 select 1
                 from free_range
                 where pool_id = ?1
                     and (free_at, first) >= (?2, ?3)
                     and free_at <= ?4
                 order by free_at, first
                 limit ?5 + 1
             ) returned",
        )
        .bind(pool_id)
        .bind(from.0.max(Moment::RETURNED))
        .bind(from.1)
        .bind(until)
        .bind(count)
        .fetch_one(self.connection())
        .await
    }

    async fn cooling(&mut self, pool_id: i64, now: Moment) -> Answer<i64> {
        sqlx::query_scalar(
            "-- cooling
             select count(*)
             from free_range f
             where f.pool_id = ?1
                 and f.free_at > ?2
                 and not exists (
                     select 1
                     from pool_removal r
                     where r.pool_id = ?1
                         and f.first between r.first and r.last
                 )",
        )
        .bind(pool_id)
        .bind(now)
        .fetch_one(self.connection())
        .await
    }

    async fn next_free_at(&mut self, pool_id: i64, now: Moment) -> Answer<Option<Moment>> {
        sqlx::query_scalar(
            "-- next_free_at
             select free_at
             from free_range
             where pool_id = ?1
                 and free_at > ?2
             order by free_at
             limit 1",
        )
        .bind(pool_id)
        .bind(now)
        .fetch_optional(self.connection())
        .await
    }

    async fn free_at_or_before(&mut self, pool_id: i64, address: Addr) -> Answer<Option<FreeRow>> {
        sqlx::query_as(
            "-- free_at_or_before
             select pool_id, first, last, free_at
             from free_range
             where pool_id = ?1
                 and first <= ?2
             order by first desc
             limit 1",
        )
        .bind(pool_id)
        .bind(address)
        .fetch_optional(self.connection())
        .await
    }

    async fn free_between(
        &mut self,
        pool_id: i64,
        first: Addr,
        last: Addr,
        limit: i64,
    ) -> Answer<Vec<FreeRow>> {
        sqlx::query_as(
            "-- free_between
             select pool_id, first, last, free_at
             from free_range
             where pool_id = ?1
                 and first between ?2 and ?3
             order by first
             limit ?4",
        )
        .bind(pool_id)
        .bind(first)
        .bind(last)
        .bind(limit)
        .fetch_all(self.connection())
        .await
    }

    async fn delete_free_between(
        &mut self,
        pool_id: i64,
        first: Addr,
        last: Addr,
        limit: i64,
    ) -> Answer<Vec<FreeRow>> {
        // Where the chunk ends is asked first, so that the deletion is one walk along the key.
        sqlx::query_as(
            "-- delete_free_between
             delete from free_range
             where pool_id = ?1
                 and first >= ?2
                 and first <= coalesce(
                     (select first
                     from free_range
                     where pool_id = ?1
                         and first between ?2 and ?3
                     order by first
                     limit 1
                     offset ?4 - 1),
                     ?3
                 )
             returning pool_id, first, last, free_at",
        )
        .bind(pool_id)
        .bind(first)
        .bind(last)
        .bind(limit)
        .fetch_all(self.connection())
        .await
    }
}
