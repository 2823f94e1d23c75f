//! Leases.

use uuid::Uuid;

use super::listing::{self, select_held};
use super::{Tx, column};
use crate::store::addr::Addr;
use crate::store::moment::Moment;
use crate::store::rows::{AttachmentRow, HeldRow, LeaseQuery, LeaseRow};
use crate::store::statements::{Answer, LeaseStatements, expect_rows};

impl LeaseStatements for Tx {
    async fn leases_of(&mut self, attachment_ids: &[Uuid]) -> Answer<Vec<LeaseRow>> {
        if attachment_ids.is_empty() {
            return Ok(Vec::new());
        }
        sqlx::query_as(
            "-- leases_of
             select attachment_id, entry, vrf_id, address, pool_id, owner, created_at, quarantined_until
             from lease
             where attachment_id = any($1)
             order by attachment_id, entry",
        )
        .bind(attachment_ids)
        .fetch_all(self.connection())
        .await
    }

    async fn lease_on(&mut self, vrf_id: i64, address: Addr) -> Answer<Option<HeldRow>> {
        sqlx::query_as(select_held!(
            "lease_on",
            "from lease l
             join attachment a on a.id = l.attachment_id
             where l.vrf_id = $1
                 and l.address = $2"
        ))
        .bind(vrf_id)
        .bind(address)
        .fetch_optional(self.connection())
        .await
    }

    async fn lease_by_key(&mut self, attachment_id: Uuid, entry: i32) -> Answer<Option<HeldRow>> {
        sqlx::query_as(select_held!(
            "lease_by_key",
            "from lease l
             join attachment a on a.id = l.attachment_id
             where l.attachment_id = $1
                 and l.entry = $2"
        ))
        .bind(attachment_id)
        .bind(entry)
        .fetch_optional(self.connection())
        .await
    }

    async fn leases_between(
        &mut self,
        vrf_id: i64,
        pool_id: i64,
        first: Addr,
        last: Addr,
        limit: i64,
    ) -> Answer<Vec<HeldRow>> {
        sqlx::query_as(select_held!(
            "leases_between",
            "from lease l
             join attachment a on a.id = l.attachment_id
             where l.vrf_id = $1
                 and l.address between $3 and $4
                 and l.pool_id = $2
             order by l.address
             limit $5"
        ))
        .bind(vrf_id)
        .bind(pool_id)
        .bind(first)
        .bind(last)
        .bind(limit)
        .fetch_all(self.connection())
        .await
    }

    async fn list_leases(&mut self, query: &LeaseQuery) -> Answer<Vec<HeldRow>> {
        listing::list_leases(self, query).await
    }

    async fn archive_leases(
        &mut self,
        rows: &[LeaseRow],
        released_at: Moment,
        reason: &str,
    ) -> Answer<()> {
        if rows.is_empty() {
            return Ok(());
        }
        // By `any` as well: a join alone may walk the whole index, with all its dead entries, when few leases are left.
        let done = sqlx::query(
            "-- archive_leases
             with gone as (
                 delete from lease l
                 where l.attachment_id = any($1)
                     and (l.attachment_id, l.entry) in (select * from unnest($1::uuid[], $2::integer[]))
                 returning l.attachment_id, l.entry, l.vrf_id, l.address, l.pool_id, l.owner, l.created_at
             )
             insert into history (attachment_id, entry, vrf_id, address, pool, cluster, node, network, container_id,
                 ifname, pod_namespace, pod_name, pod_uid, owner, created_at, released_at, reason)
             select g.attachment_id, g.entry, g.vrf_id, g.address, p.name, a.cluster, a.node, a.network,
                 a.container_id, a.ifname, a.pod_namespace, a.pod_name, a.pod_uid, g.owner, g.created_at, $3, $4
             from gone g
             join attachment a on a.id = g.attachment_id
             join pool p on p.id = g.pool_id",
        )
        .bind(column!(rows, attachment_id))
        .bind(column!(rows, entry))
        .bind(released_at)
        .bind(reason)
        .execute(self.connection())
        .await?;
        expect_rows("archive_leases", done.rows_affected(), rows.len())
    }

    async fn quarantine_leases(&mut self, ids: &[Uuid], until: Option<Moment>) -> Answer<()> {
        if ids.is_empty() {
            return Ok(());
        }
        sqlx::query(
            "-- quarantine_leases
             update lease
             set quarantined_until = $2
             where attachment_id = any($1)",
        )
        .bind(ids)
        .bind(until)
        .execute(self.connection())
        .await?;
        Ok(())
    }

    async fn overdue_holders(&mut self, now: Moment, limit: i64) -> Answer<Vec<AttachmentRow>> {
        sqlx::query_as(
            "-- overdue_holders
             select a.id, a.cluster, a.node, a.network, a.container_id, a.ifname, a.claim_boot, a.claim_issued,
                 a.granted_issued, a.release_boot, a.release_issued, a.released_at, a.pod_namespace, a.pod_name, a.pod_uid,
                 a.earlier_release_boot, a.earlier_release_issued
             from lease l
             cross join lateral (
                 select id, cluster, node, network, container_id, ifname, claim_boot, claim_issued, granted_issued,
                     release_boot, release_issued, released_at, pod_namespace, pod_name, pod_uid,
                 earlier_release_boot, earlier_release_issued
                 from attachment
                 where id = l.attachment_id
                 limit 1
             ) a
             where l.quarantined_until <= $1
             order by l.quarantined_until
             limit $2",
        )
        .bind(now)
        .bind(limit)
        .fetch_all(self.connection())
        .await
    }
}
