//! Leases.

use ipam_api::Attachment;
use serde_json::{Value, json};
use sqlx::types::Json;
use uuid::Uuid;

use super::Tx;
use super::holders::attachment_keys;
use super::listing::{self, select_held};
use crate::store::addr::Addr;
use crate::store::moment::Moment;
use crate::store::rows::{AttachmentRow, HeldRow, LeaseQuery, LeaseRow};
use crate::store::statements::{Answer, LeaseStatements, expect_rows};

/// The keys of leases.
fn keys_of(leases: &[LeaseRow]) -> Json<Vec<Value>> {
    let key = |row: &LeaseRow| json!([row.attachment_id.simple(), row.entry]);
    Json(leases.iter().map(key).collect())
}

fn ids_of(ids: &[Uuid]) -> Json<Vec<uuid::fmt::Simple>> {
    Json(ids.iter().map(|id| id.simple()).collect())
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
             where attachment_id in (select unhex(value) from json_each(?1))
             order by attachment_id, entry",
        )
        .bind(ids_of(attachment_ids))
        .fetch_all(self.connection())
        .await
    }

    async fn leases_of_keys(&mut self, keys: &[Attachment]) -> Answer<Vec<LeaseRow>> {
        if keys.is_empty() {
            return Ok(Vec::new());
        }
        sqlx::query_as(
            "-- leases_of_keys
             select l.attachment_id, l.entry, l.vrf_id, l.address, l.pool_id, l.owner, l.created_at, l.quarantined_until
             from json_each(?1) k
             cross join attachment a on a.container_id = k.value ->> 3
                 and a.ifname = k.value ->> 4
                 and a.network = k.value ->> 2
                 and a.node = k.value ->> 1
                 and a.cluster = k.value ->> 0
             join lease l on l.attachment_id = a.id
             order by l.attachment_id, l.entry",
        )
        .bind(attachment_keys(keys))
        .fetch_all(self.connection())
        .await
    }

    async fn lease_on(&mut self, vrf_id: i64, address: Addr) -> Answer<Option<HeldRow>> {
        sqlx::query_as(select_held!(
            "lease_on",
            "from lease l
             join attachment a on a.id = l.attachment_id
             where l.vrf_id = ?1
                 and l.address = ?2"
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
             where l.attachment_id = ?1
                 and l.entry = ?2"
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
             where l.vrf_id = ?1
                 and l.address between ?3 and ?4
                 and l.pool_id = ?2
             order by l.address
             limit ?5"
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
        let written = sqlx::query(
            "-- archive_leases
             insert into history (attachment_id, entry, vrf_id, address, pool, cluster, node, network, container_id,
                 ifname, pod_namespace, pod_name, pod_uid, owner, created_at, released_at, reason)
             select l.attachment_id, l.entry, l.vrf_id, l.address, p.name, a.cluster, a.node, a.network,
                 a.container_id, a.ifname, a.pod_namespace, a.pod_name, a.pod_uid, l.owner, l.created_at, ?2, ?3
             from json_each(?1) k
             cross join lease l on l.attachment_id = unhex(k.value ->> 0)
                 and l.entry = k.value ->> 1
             cross join attachment a on a.id = l.attachment_id
             cross join pool p on p.id = l.pool_id",
        )
        .bind(keys_of(rows))
        .bind(released_at)
        .bind(reason)
        .execute(self.connection())
        .await?;
        let deleted = sqlx::query(
            "-- archive_leases
             delete from lease
             where (attachment_id, entry) in (select unhex(value ->> 0), value ->> 1 from json_each(?1))",
        )
        .bind(keys_of(rows))
        .execute(self.connection())
        .await?;
        expect_rows("archive_leases", written.rows_affected(), rows.len())?;
        expect_rows("archive_leases", deleted.rows_affected(), rows.len())
    }

    async fn quarantine_leases(&mut self, ids: &[Uuid], until: Option<Moment>) -> Answer<()> {
        if ids.is_empty() {
            return Ok(());
        }
        sqlx::query(
            "-- quarantine_leases
             update lease
             set quarantined_until = ?2
             where attachment_id in (select unhex(value) from json_each(?1))",
        )
        .bind(ids_of(ids))
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
             cross join attachment a on a.id = l.attachment_id
             where l.quarantined_until <= ?1
             order by l.quarantined_until
             limit ?2",
        )
        .bind(now)
        .bind(limit)
        .fetch_all(self.connection())
        .await
    }
}
