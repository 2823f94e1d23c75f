//! Leases.

use ipam_api::Attachment;
use uuid::Uuid;

use super::Tx;
use super::call::Call;
use super::holders::key_columns;
use super::listing::{self, select_held};
use crate::store::addr::Addr;
use crate::store::moment::Moment;
use crate::store::rows::{AttachmentRow, HeldRow, LeaseQuery, LeaseRow};
use crate::store::statements::{Answer, LeaseStatements};

pub(super) fn of_keys(keys: &[Attachment]) -> Call {
    key_columns(Call::of("leases_of_keys"), keys)
}

pub(super) fn archive(rows: &[LeaseRow], released_at: Moment, reason: &str) -> Call {
    Call::of("archive_leases")
        .values(rows.iter().map(|row| row.attachment_id))
        .values(rows.iter().map(|row| row.entry))
        .value(released_at)
        .word(reason)
}

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

    async fn leases_of_keys(&mut self, keys: &[Attachment]) -> Answer<Vec<LeaseRow>> {
        if keys.is_empty() {
            return Ok(Vec::new());
        }
        self.call(of_keys(keys)).await
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
        self.run(vec![archive(rows, released_at, reason)]).await
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
