//! Removals, and statements over many intervals at once.

use sqlx::types::Json;

use super::Tx;
use crate::pool::Interval;
use crate::store::addr::Addr;
use crate::store::moment::Moment;
use crate::store::rows::{FreeRow, IntervalRow, ReleasedRow};
use crate::store::statements::{Answer, IntervalStatements};

/// The intervals' first and last addresses, as the statements read them.
fn ends(intervals: &[Interval]) -> Json<Vec<(String, String)>> {
    Json(
        intervals
            .iter()
            .map(|interval| (interval.first.hex(), interval.last.hex()))
            .collect(),
    )
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
             where pool_id in (select value from json_each(?1))
             order by pool_id, first",
        )
        .bind(Json(pool_ids))
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
             select value ->> 0, unhex(value ->> 1), unhex(value ->> 2)
             from json_each(?1)",
        )
        .bind(Json(
            removals
                .iter()
                .map(|row| (row.pool_id, row.first.hex(), row.last.hex()))
                .collect::<Vec<_>>(),
        ))
        .execute(self.connection())
        .await?;
        Ok(())
    }

    async fn delete_removal(&mut self, removal: &IntervalRow) -> Answer<()> {
        sqlx::query(
            "-- delete_removal
             delete from pool_removal
             where pool_id = ?1
                 and first = ?2",
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
        let asked: Vec<_> = addresses.iter().map(|address| address.hex()).collect();
        // A subquery of its own per address: one step in the key.
        sqlx::query_as(
            "-- free_at_or_before_each
             select pool_id, first, last, free_at
             from free_range
             where pool_id = ?1
                 and first in (
                     select (
                         select max(first)
                         from free_range
                         where pool_id = ?1
                             and first <= unhex(asked.value)
                     )
                     from json_each(?2) asked
                 )
             order by first",
        )
        .bind(pool_id)
        .bind(Json(asked))
        .fetch_all(self.connection())
        .await
    }

    async fn count_leases_on(
        &mut self,
        vrf_id: i64,
        pool_id: i64,
        intervals: &[Interval],
    ) -> Answer<i64> {
        // A cross join is done in the order in which it is written.
        sqlx::query_scalar(
            "-- count_leases_on
             select count(*)
             from json_each(?3) asked
             cross join lease l
             where l.vrf_id = ?1
                 and l.address between unhex(asked.value ->> 0) and unhex(asked.value ->> 1)
                 and l.pool_id = ?2",
        )
        .bind(vrf_id)
        .bind(pool_id)
        .bind(ends(intervals))
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
        sqlx::query_scalar(
            "-- leased_on
             select l.address
             from json_each(?3) asked
             cross join lease l
             where l.vrf_id = ?1
                 and l.address between unhex(asked.value ->> 0) and unhex(asked.value ->> 1)
                 and l.pool_id = ?2
             order by l.address
             limit ?4",
        )
        .bind(vrf_id)
        .bind(pool_id)
        .bind(ends(intervals))
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
        sqlx::query_as(
            "-- released_since
             select h.address, max(h.released_at) as released_at
             from json_each(?2) asked
             cross join history h
             where h.vrf_id = ?1
                 and h.address between unhex(asked.value ->> 0) and unhex(asked.value ->> 1)
                 and h.released_at > ?3
             group by h.address
             order by h.address
             limit ?4",
        )
        .bind(vrf_id)
        .bind(ends(intervals))
        .bind(after)
        .bind(limit)
        .fetch_all(self.connection())
        .await
    }
}
