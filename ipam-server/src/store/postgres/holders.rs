//! Who holds leases: attachments.

use ipam_api::Attachment;
use uuid::Uuid;

use super::call::Call;
use super::{Tx, column};
use crate::store::moment::Moment;
use crate::store::rows::AttachmentRow;
use crate::store::statements::{Answer, HolderStatements};

/// Adds the columns of keys: cluster, node, network, container_id, ifname.
pub(super) fn key_columns(call: Call, keys: &[Attachment]) -> Call {
    call.words(keys.iter().map(|key| key.cluster.as_str()))
        .words(keys.iter().map(|key| key.node.as_str()))
        .words(keys.iter().map(|key| key.network.as_str()))
        .words(keys.iter().map(|key| key.container_id.as_str()))
        .words(keys.iter().map(|key| key.ifname.as_str()))
}

pub(super) fn upsert(rows: &[AttachmentRow]) -> Call {
    of_claims(Call::of("upsert_attachments"), rows)
        .some_words(rows.iter().map(|row| row.pod_namespace.as_deref()))
        .some_words(rows.iter().map(|row| row.pod_name.as_deref()))
        .some_words(rows.iter().map(|row| row.pod_uid.as_deref()))
}

/// What becomes of the rows that exist, found by their keys.
pub(super) fn write(rows: &[AttachmentRow]) -> Call {
    of_claims(Call::of("write_attachments"), rows)
        .some_words(rows.iter().map(|row| row.release_boot.as_deref()))
        .some_values(rows.iter().map(|row| row.release_issued))
        .some_values(rows.iter().map(|row| row.released_at))
        .some_words(rows.iter().map(|row| row.pod_namespace.as_deref()))
        .some_words(rows.iter().map(|row| row.pod_name.as_deref()))
        .some_words(rows.iter().map(|row| row.pod_uid.as_deref()))
        .some_words(rows.iter().map(|row| row.earlier_release_boot.as_deref()))
        .some_values(rows.iter().map(|row| row.earlier_release_issued))
}

/// Adds id, key and what is known of claims.
fn of_claims(call: Call, rows: &[AttachmentRow]) -> Call {
    call.values(rows.iter().map(|row| row.id))
        .words(rows.iter().map(|row| row.cluster.as_str()))
        .words(rows.iter().map(|row| row.node.as_str()))
        .words(rows.iter().map(|row| row.network.as_str()))
        .words(rows.iter().map(|row| row.container_id.as_str()))
        .words(rows.iter().map(|row| row.ifname.as_str()))
        .some_words(rows.iter().map(|row| row.claim_boot.as_deref()))
        .some_values(rows.iter().map(|row| row.claim_issued))
        .some_values(rows.iter().map(|row| row.granted_issued))
}

impl HolderStatements for Tx {
    async fn upsert_attachments(&mut self, rows: &[AttachmentRow]) -> Answer<Vec<AttachmentRow>> {
        if rows.is_empty() {
            return Ok(Vec::new());
        }
        // Ids are made anew for each try: rows with these ids were sent ahead by it, or none.
        let ids = Call::of("upsert_attachments").values(rows.iter().map(|row| row.id));
        match self.take_ahead(&ids)? {
            Some(known) => Ok(known),
            None => self.call(upsert(rows)).await,
        }
    }

    async fn find_attachments(&mut self, keys: &[Attachment]) -> Answer<Vec<AttachmentRow>> {
        if keys.is_empty() {
            return Ok(Vec::new());
        }
        // The node as in `leases_of_keys`.
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
                 and a.node || '' = k.node
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
