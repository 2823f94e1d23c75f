//! Address spaces and pools.

use super::call::Call;
use super::{Tx, column};
use crate::store::addr::Addr;
use crate::store::moment::Moment;
use crate::store::rows::{IntervalRow, PoolChangeRow, PoolRow};
use crate::store::statements::{Answer, PoolStatements, expect_rows};

/// A statement that answers rows of pools: the name, then what follows the joins.
macro_rules! select_pool {
    ($name:literal, $rest:literal) => {
        select_pool!($name, "", $rest)
    };
    ($name:literal, $more:literal, $rest:literal) => {
        concat!(
            "-- ",
            $name,
            "
             select ",
            $more,
            "p.id, p.name, p.vrf_id, v.name as vrf, p.subnet_first, p.subnet_last, p.prefix_len, p.gateway,
                 p.ranges, p.exclude, p.routes, p.dns, p.labels, p.reuse_delay_s, p.state, p.version, p.created_at,
                 p.updated_at
             from pool p
             join vrf v on v.id = p.vrf_id
             ",
            $rest
        )
    };
}

pub(super) use select_pool;

pub(super) fn by_name(names: &[String]) -> Call {
    Call::of("pools_by_name").words(names.iter().map(String::as_str))
}

impl PoolStatements for Tx {
    async fn wall_clock(&mut self) -> Answer<Moment> {
        sqlx::query_scalar(
            "-- wall_clock
             select clock_timestamp()",
        )
        .fetch_one(self.connection())
        .await
    }

    async fn insert_vrf(&mut self, name: &str, now: Moment) -> Answer<bool> {
        let done = sqlx::query(
            "-- insert_vrf
             insert into vrf (name, created_at)
             values ($1, $2)
             on conflict (name) do nothing",
        )
        .bind(name)
        .bind(now)
        .execute(self.connection())
        .await?;
        Ok(done.rows_affected() == 1)
    }

    async fn vrf_names(&mut self, after: &str, limit: i64) -> Answer<Vec<String>> {
        sqlx::query_scalar(
            "-- vrf_names
             select name
             from vrf
             where name > $1
             order by name
             limit $2",
        )
        .bind(after)
        .bind(limit)
        .fetch_all(self.connection())
        .await
    }

    async fn vrf_id(&mut self, name: &str) -> Answer<Option<i64>> {
        sqlx::query_scalar(
            "-- vrf_id
             select id
             from vrf
             where name = $1",
        )
        .bind(name)
        .fetch_optional(self.connection())
        .await
    }

    async fn lock_vrf(&mut self, name: &str) -> Answer<Option<i64>> {
        sqlx::query_scalar(
            "-- lock_vrf
             select id
             from vrf
             where name = $1
             for update",
        )
        .bind(name)
        .fetch_optional(self.connection())
        .await
    }

    async fn pools_by_name(&mut self, names: &[String]) -> Answer<Vec<PoolRow>> {
        if names.is_empty() {
            return Ok(Vec::new());
        }
        self.call(by_name(names)).await
    }

    async fn pools_by_id(&mut self, ids: &[i64]) -> Answer<Vec<PoolRow>> {
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        sqlx::query_as(select_pool!("pools_by_id", "where p.id = any($1)"))
            .bind(ids)
            .fetch_all(self.connection())
            .await
    }

    async fn list_pools(
        &mut self,
        vrf_id: Option<i64>,
        after: &str,
        limit: i64,
    ) -> Answer<Vec<PoolRow>> {
        sqlx::query_as(select_pool!(
            "list_pools",
            "where p.name > $2
                 and ($1 is null or p.vrf_id = $1)
                 and p.state <> 'deleting'
             order by p.name
             limit $3"
        ))
        .bind(vrf_id)
        .bind(after)
        .bind(limit)
        .fetch_all(self.connection())
        .await
    }

    async fn pools_deleting(&mut self) -> Answer<Vec<PoolRow>> {
        sqlx::query_as(select_pool!(
            "pools_deleting",
            "where p.state = 'deleting'
             order by p.id
             limit 16"
        ))
        .fetch_all(self.connection())
        .await
    }

    async fn subnet_at_or_before(&mut self, vrf_id: i64, last: Addr) -> Answer<Option<PoolRow>> {
        // From the family's lowest address: IPv4 sorts before all of IPv6 here.
        sqlx::query_as(select_pool!(
            "subnet_at_or_before",
            "where p.vrf_id = $1
                 and p.subnet_first between $2 and $3
             order by p.subnet_first desc
             limit 1"
        ))
        .bind(vrf_id)
        .bind(last.family_lowest())
        .bind(last)
        .fetch_optional(self.connection())
        .await
    }

    async fn range_at_or_before(
        &mut self,
        vrf_id: i64,
        last: Addr,
        except: i64,
    ) -> Answer<Option<IntervalRow>> {
        sqlx::query_as(
            "-- range_at_or_before
             select pool_id, first, last
             from pool_range
             where vrf_id = $1
                 and first between $2 and $3
                 and pool_id <> $4
             order by first desc
             limit 1",
        )
        .bind(vrf_id)
        .bind(last.family_lowest())
        .bind(last)
        .bind(except)
        .fetch_optional(self.connection())
        .await
    }

    async fn insert_pool(&mut self, pool: &PoolRow) -> Answer<i64> {
        sqlx::query_scalar(
            "-- insert_pool
             insert into pool (name, vrf_id, subnet_first, subnet_last, prefix_len, gateway, ranges, exclude, routes,
                 dns, labels, reuse_delay_s, state, version, created_at, updated_at)
             values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16)
             returning id",
        )
        .bind(&pool.name)
        .bind(pool.vrf_id)
        .bind(pool.subnet_first)
        .bind(pool.subnet_last)
        .bind(pool.prefix_len)
        .bind(pool.gateway)
        .bind(&pool.ranges)
        .bind(&pool.exclude)
        .bind(&pool.routes)
        .bind(&pool.dns)
        .bind(&pool.labels)
        .bind(pool.reuse_delay_s)
        .bind(&pool.state)
        .bind(pool.version)
        .bind(pool.created_at)
        .bind(pool.updated_at)
        .fetch_one(self.connection())
        .await
    }

    async fn update_pool(&mut self, pool: &PoolRow) -> Answer<()> {
        let done = sqlx::query(
            "-- update_pool
             update pool
             set gateway = $2, ranges = $3, exclude = $4, routes = $5, dns = $6, labels = $7, reuse_delay_s = $8,
                 state = $9, version = $10, updated_at = $11
             where id = $1",
        )
        .bind(pool.id)
        .bind(pool.gateway)
        .bind(&pool.ranges)
        .bind(&pool.exclude)
        .bind(&pool.routes)
        .bind(&pool.dns)
        .bind(&pool.labels)
        .bind(pool.reuse_delay_s)
        .bind(&pool.state)
        .bind(pool.version)
        .bind(pool.updated_at)
        .execute(self.connection())
        .await?;
        expect_rows("update_pool", done.rows_affected(), 1)
    }

    async fn delete_pool(&mut self, pool_id: i64) -> Answer<()> {
        for statement in [
            "-- delete_pool
             delete from pool_range
             where pool_id = $1",
            "-- delete_pool
             delete from pool_removal
             where pool_id = $1",
            "-- delete_pool
             delete from pool_counter
             where pool_id = $1",
            "-- delete_pool
             delete from pool
             where id = $1",
        ] {
            sqlx::query(statement)
                .bind(pool_id)
                .execute(self.connection())
                .await?;
        }
        Ok(())
    }

    async fn replace_ranges(
        &mut self,
        vrf_id: i64,
        pool_id: i64,
        ranges: &[IntervalRow],
    ) -> Answer<()> {
        sqlx::query(
            "-- replace_ranges
             delete from pool_range
             where pool_id = $1",
        )
        .bind(pool_id)
        .execute(self.connection())
        .await?;
        if ranges.is_empty() {
            return Ok(());
        }
        sqlx::query(
            "-- replace_ranges
             insert into pool_range (vrf_id, first, last, pool_id)
             select $1, r.first, r.last, $2
             from unnest($3::inet[], $4::inet[]) as r (first, last)",
        )
        .bind(vrf_id)
        .bind(pool_id)
        .bind(column!(ranges, first))
        .bind(column!(ranges, last))
        .execute(self.connection())
        .await?;
        Ok(())
    }

    async fn insert_pool_change(
        &mut self,
        pool: &str,
        at: Moment,
        action: &str,
        settings: &serde_json::Value,
    ) -> Answer<()> {
        sqlx::query(
            "-- insert_pool_change
             insert into pool_change (pool, at, action, settings)
             values ($1, $2, $3, $4)",
        )
        .bind(pool)
        .bind(at)
        .bind(action)
        .bind(settings)
        .execute(self.connection())
        .await?;
        Ok(())
    }

    async fn pool_changes(
        &mut self,
        pool: &str,
        before: i64,
        limit: i64,
    ) -> Answer<Vec<PoolChangeRow>> {
        sqlx::query_as(
            "-- pool_changes
             select id, pool, at, action, settings
             from pool_change
             where pool = $1
                 and id < $2
             order by id desc
             limit $3",
        )
        .bind(pool)
        .bind(before)
        .bind(limit)
        .fetch_all(self.connection())
        .await
    }
}
