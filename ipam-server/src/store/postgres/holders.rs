//! Who holds leases: attachments.

use ipam_api::Attachment;
use uuid::Uuid;

use super::{Tx, column};
use crate::store::moment::Moment;
use crate::store::rows::AttachmentRow;
use crate::store::statements::{Answer, HolderStatements};

/// Binds every column of attachments, in the order of the table.
macro_rules! bind_attachments {
    ($query:expr, $rows:ident) => {
        $query
            .bind(column!($rows, id))
            .bind(column!($rows, text cluster))
            .bind(column!($rows, text node))
            .bind(column!($rows, text network))
            .bind(column!($rows, text container_id))
            .bind(column!($rows, text ifname))
            .bind(column!($rows, option claim_boot))
            .bind(column!($rows, claim_issued))
            .bind(column!($rows, granted_issued))
            .bind(column!($rows, option release_boot))
            .bind(column!($rows, release_issued))
            .bind(column!($rows, released_at))
            .bind(column!($rows, option pod_namespace))
            .bind(column!($rows, option pod_name))
            .bind(column!($rows, option pod_uid))
            .bind(column!($rows, option earlier_release_boot))
            .bind(column!($rows, earlier_release_issued))
    };
}

pub(super) use bind_attachments;

impl HolderStatements for Tx {
    async fn upsert_attachments(&mut self, rows: &[AttachmentRow]) -> Answer<Vec<AttachmentRow>> {
        if rows.is_empty() {
            return Ok(Vec::new());
        }
        // The update changes nothing: it locks the row and answers it as it is by then. No index is touched.
        let query = sqlx::query_as(
            "-- upsert_attachments
             with stored as (
                 insert into attachment (id, cluster, node, network, container_id, ifname, claim_boot, claim_issued,
                     granted_issued, release_boot, release_issued, released_at, pod_namespace, pod_name, pod_uid,
                 earlier_release_boot, earlier_release_issued)
                 select n.id, n.cluster, n.node, n.network, n.container_id, n.ifname, n.claim_boot, n.claim_issued,
                     n.granted_issued, n.release_boot, n.release_issued, n.released_at, n.pod_namespace, n.pod_name,
                     n.pod_uid, n.earlier_release_boot, n.earlier_release_issued
                 from unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[],
                     $8::bigint[], $9::bigint[], $10::text[], $11::bigint[], $12::timestamptz[], $13::text[],
                     $14::text[], $15::text[], $16::text[], $17::bigint[])
                     with ordinality as n (id, cluster, node, network, container_id, ifname, claim_boot, claim_issued,
                     granted_issued, release_boot, release_issued, released_at, pod_namespace, pod_name, pod_uid,
                 earlier_release_boot, earlier_release_issued, place)
                 order by n.place
                 on conflict (container_id, ifname, network, node, cluster)
                     do update set released_at = attachment.released_at
                 returning id, cluster, node, network, container_id, ifname, claim_boot, claim_issued, granted_issued,
                     release_boot, release_issued, released_at, pod_namespace, pod_name, pod_uid,
                 earlier_release_boot, earlier_release_issued
             )
             select id, cluster, node, network, container_id, ifname, claim_boot, claim_issued, granted_issued,
                 release_boot, release_issued, released_at, pod_namespace, pod_name, pod_uid,
                 earlier_release_boot, earlier_release_issued
             from stored
             where id <> all($1)",
        );
        bind_attachments!(query, rows)
            .fetch_all(self.connection())
            .await
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
             from unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[])
                 as k (cluster, node, network, container_id, ifname)
             join attachment a on a.container_id = k.container_id
                 and a.ifname = k.ifname
                 and a.network = k.network
                 and a.node = k.node
                 and a.cluster = k.cluster",
        )
        .bind(column!(keys, text cluster))
        .bind(column!(keys, text node))
        .bind(column!(keys, text network))
        .bind(column!(keys, text container_id))
        .bind(column!(keys, text ifname))
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
             where id = any($1)",
        )
        .bind(ids)
        .execute(self.connection())
        .await?;
        Ok(())
    }

    async fn prune_attachments(&mut self, until: Moment, limit: i64) -> Answer<u64> {
        // In the order of time, not of keys: so it waits for nobody, and cannot deadlock.
        let ids: Vec<Uuid> = sqlx::query_scalar(
            "-- prune_attachments
             select id
             from attachment
             where released_at < $1
             order by released_at
             limit $2
             for update skip locked",
        )
        .bind(until)
        .bind(limit)
        .fetch_all(self.connection())
        .await?;
        self.delete_attachments(&ids).await?;
        Ok(ids.len() as u64)
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
             where node = $1
                 and cluster = $2
                 and network = $3
                 and (container_id, ifname) > ($4, $5)
                 and released_at is null
             order by container_id, ifname
             limit $6",
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
             where node = $1
                 and cluster = $2
                 and (network, container_id, ifname) > ($3, $4, $5)
                 and released_at is null
             order by network, container_id, ifname
             limit $6",
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
