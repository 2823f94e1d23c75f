//! Who holds leases: attachments.

use std::collections::HashSet;

use ipam_api::Attachment;
use serde_json::{Value, json};
use sqlx::types::Json;
use uuid::Uuid;

use super::Tx;
use crate::store::moment::Moment;
use crate::store::rows::AttachmentRow;
use crate::store::statements::{Answer, HolderStatements};

/// Every column of attachments, in the order of the table.
pub(super) fn rows_of(attachments: &[AttachmentRow]) -> Json<Vec<Value>> {
    let row = |row: &AttachmentRow| {
        json!([
            row.id.simple(),
            row.cluster,
            row.node,
            row.network,
            row.container_id,
            row.ifname,
            row.claim_boot,
            row.claim_issued,
            row.granted_issued,
            row.release_boot,
            row.release_issued,
            row.released_at.map(|moment| moment.0),
            row.pod_namespace,
            row.pod_name,
            row.pod_uid,
            row.earlier_release_boot,
            row.earlier_release_issued,
        ])
    };
    Json(attachments.iter().map(row).collect())
}

/// The keys of attachments: cluster, node, network, container_id, ifname.
pub(super) fn attachment_keys(keys: &[Attachment]) -> Json<Vec<Value>> {
    let columns = |key: &Attachment| {
        json!([
            key.cluster,
            key.node,
            key.network,
            key.container_id,
            key.ifname
        ])
    };
    Json(keys.iter().map(columns).collect())
}

impl HolderStatements for Tx {
    async fn upsert_attachments(&mut self, rows: &[AttachmentRow]) -> Answer<Vec<AttachmentRow>> {
        if rows.is_empty() {
            return Ok(Vec::new());
        }
        // The update changes nothing: it answers the row.
        let query = sqlx::query_as(
            "-- upsert_attachments
             insert into attachment (id, cluster, node, network, container_id, ifname, claim_boot, claim_issued,
                 granted_issued, pod_namespace, pod_name, pod_uid)
             select unhex(value ->> 0), value ->> 1, value ->> 2, value ->> 3, value ->> 4, value ->> 5, value ->> 6,
                 value ->> 7, value ->> 8, value ->> 12, value ->> 13, value ->> 14
             from json_each(?1)
             where true
             order by key
             on conflict (container_id, ifname, network, node, cluster)
                 do update set released_at = attachment.released_at
             returning id, cluster, node, network, container_id, ifname, claim_boot, claim_issued, granted_issued,
                 release_boot, release_issued, released_at, pod_namespace, pod_name, pod_uid,
                 earlier_release_boot, earlier_release_issued",
        );
        let mut stored: Vec<AttachmentRow> = query
            .bind(rows_of(rows))
            .fetch_all(self.connection())
            .await?;
        let given: HashSet<_> = rows.iter().map(|row| row.id).collect();
        stored.retain(|row| !given.contains(&row.id));
        Ok(stored)
    }

    async fn find_attachments(&mut self, keys: &[Attachment]) -> Answer<Vec<AttachmentRow>> {
        if keys.is_empty() {
            return Ok(Vec::new());
        }
        sqlx::query_as(
            "-- find_attachments
             select a.id, a.cluster, a.node, a.network, a.container_id, a.ifname, a.claim_boot, a.claim_issued,
                 a.granted_issued, a.release_boot, a.release_issued, a.released_at, a.pod_namespace, a.pod_name, a.pod_uid,
                 a.earlier_release_boot, a.earlier_release_issued
             from json_each(?1) k
             cross join attachment a on a.container_id = k.value ->> 3
                 and a.ifname = k.value ->> 4
                 and a.network = k.value ->> 2
                 and a.node = k.value ->> 1
                 and a.cluster = k.value ->> 0",
        )
        .bind(attachment_keys(keys))
        .fetch_all(self.connection())
        .await
    }

    async fn delete_attachments(&mut self, ids: &[Uuid]) -> Answer<()> {
        if ids.is_empty() {
            return Ok(());
        }
        sqlx::query(
            "-- delete_attachments
             delete from attachment
             where id in (select unhex(value) from json_each(?1))",
        )
        .bind(Json(ids.iter().map(|id| id.simple()).collect::<Vec<_>>()))
        .execute(self.connection())
        .await?;
        Ok(())
    }

    async fn prune_attachments(&mut self, until: Moment, limit: i64) -> Answer<u64> {
        let done = sqlx::query(
            "-- prune_attachments
             delete from attachment
             where id in (select id from attachment where released_at < ?1 order by released_at limit ?2)",
        )
        .bind(until)
        .bind(limit)
        .execute(self.connection())
        .await?;
        Ok(done.rows_affected())
    }

    async fn holders_on(
        &mut self,
        cluster: &str,
        node: &str,
        network: &str,
        after: (&str, &str),
        limit: i64,
    ) -> Answer<Vec<AttachmentRow>> {
        sqlx::query_as(
            "-- holders_on
             select id, cluster, node, network, container_id, ifname, claim_boot, claim_issued, granted_issued,
                 release_boot, release_issued, released_at, pod_namespace, pod_name, pod_uid,
                 earlier_release_boot, earlier_release_issued
             from attachment
             where node = ?1
                 and cluster = ?2
                 and network = ?3
                 and (container_id, ifname) > (?4, ?5)
                 and released_at is null
             order by container_id, ifname
             limit ?6",
        )
        .bind(node)
        .bind(cluster)
        .bind(network)
        .bind(after.0)
        .bind(after.1)
        .bind(limit)
        .fetch_all(self.connection())
        .await
    }

    async fn holders_of(
        &mut self,
        cluster: &str,
        node: &str,
        after: (&str, &str, &str),
        limit: i64,
    ) -> Answer<Vec<AttachmentRow>> {
        sqlx::query_as(
            "-- holders_of
             select id, cluster, node, network, container_id, ifname, claim_boot, claim_issued, granted_issued,
                 release_boot, release_issued, released_at, pod_namespace, pod_name, pod_uid,
                 earlier_release_boot, earlier_release_issued
             from attachment
             where node = ?1
                 and cluster = ?2
                 and (network, container_id, ifname) > (?3, ?4, ?5)
                 and released_at is null
             order by network, container_id, ifname
             limit ?6",
        )
        .bind(node)
        .bind(cluster)
        .bind(after.0)
        .bind(after.1)
        .bind(after.2)
        .bind(limit)
        .fetch_all(self.connection())
        .await
    }
}
