//! Nodes, their boots, and what of earlier boots is left.

use sqlx::FromRow;

use super::Tx;
use super::call::Call;
use crate::store::moment::Moment;
use crate::store::rows::{BootRow, NodeRow, NodeView};
use crate::store::statements::{Answer, NodeStatements};

/// A node, and when its present boot was first seen.
#[derive(FromRow)]
struct Rebooted {
    #[sqlx(flatten)]
    node: NodeRow,
    seen_at: Moment,
}

pub(super) fn call(names: &[(String, String)]) -> Call {
    Call::of("nodes")
        .words(names.iter().map(|(cluster, _)| cluster.as_str()))
        .words(names.iter().map(|(_, name)| name.as_str()))
}

impl NodeStatements for Tx {
    async fn nodes(&mut self, names: &[(String, String)]) -> Answer<Vec<NodeRow>> {
        if names.is_empty() {
            return Ok(Vec::new());
        }
        self.call(call(names)).await
    }

    async fn lock_node(&mut self, cluster: &str, name: &str, now: Moment) -> Answer<NodeRow> {
        debug_assert!(self.ahead.is_empty(), "a node's lock is the first");
        sqlx::query_as(
            "-- lock_node
             insert into node (cluster, name, created_at)
             values ($1, $2, $3)
             on conflict (cluster, name)
                 do update set created_at = node.created_at
             returning id, cluster, name, machine_id, boot_id, booted_at, reclaim_at, disputed_at",
        )
        .bind(cluster)
        .bind(name)
        .bind(now)
        .fetch_one(self.connection())
        .await
    }

    async fn save_node(&mut self, node: &NodeRow, now: Moment) -> Answer<()> {
        sqlx::query(
            "-- save_node
             with saved as (
                 update node
                 set machine_id = $2, boot_id = $3, reclaim_at = $5, booted_at = $6, disputed_at = $7
                 where id = $1
                 returning id, boot_id, booted_at
             )
             insert into node_boot (node_id, boot_id, seen_at, booted_at)
             select id, boot_id, $4, booted_at
             from saved
             where boot_id is not null
             on conflict (node_id, boot_id) do nothing",
        )
        .bind(node.id)
        .bind(&node.machine_id)
        .bind(&node.boot_id)
        .bind(now)
        .bind(node.reclaim_at)
        .bind(node.booted_at)
        .bind(node.disputed_at)
        .execute(self.connection())
        .await?;
        Ok(())
    }

    async fn boots(&mut self, cluster: &str, name: &str) -> Answer<Vec<BootRow>> {
        sqlx::query_as(
            "-- boots
             select b.boot_id, b.seen_at, b.booted_at
             from node n
             join node_boot b on b.node_id = n.id
             where n.cluster = $1
                 and n.name = $2
             order by b.seen_at, b.boot_id",
        )
        .bind(cluster)
        .bind(name)
        .fetch_all(self.connection())
        .await
    }

    async fn view_nodes(
        &mut self,
        cluster: Option<&str>,
        name: Option<&str>,
        after: (&str, &str),
        limit: i64,
    ) -> Answer<Vec<NodeView>> {
        sqlx::query_as(
            "-- view_nodes
             select n.id, n.cluster, n.name, n.machine_id, n.boot_id, n.booted_at, n.reclaim_at, n.disputed_at, n.created_at,
                 (select b.seen_at from node_boot b where b.node_id = n.id and b.boot_id = n.boot_id) as boot_seen_at,
                 count(l.entry) as leases, count(l.quarantined_until) as quarantined, max(l.created_at) as last_claim_at
             from (
                 select id, cluster, name, machine_id, boot_id, booted_at, reclaim_at, disputed_at, created_at
                 from node
                 where (cluster, name) > ($3, $4)
                     and ($1 is null or cluster = $1)
                     and ($2 is null or name = $2)
                 order by cluster, name
                 limit $5
             ) n
             left join attachment a on a.node = n.name
                 and a.cluster = n.cluster
                 and a.released_at is null
             left join lease l on l.attachment_id = a.id
             group by n.id, n.cluster, n.name, n.machine_id, n.boot_id, n.booted_at, n.reclaim_at, n.disputed_at, n.created_at
             order by n.cluster, n.name",
        )
        .bind(cluster)
        .bind(name)
        .bind(after.0)
        .bind(after.1)
        .bind(limit)
        .fetch_all(self.connection())
        .await
    }

    async fn nodes_to_reclaim(
        &mut self,
        now: Moment,
        limit: i64,
    ) -> Answer<Vec<(NodeRow, Moment)>> {
        let rows: Vec<Rebooted> = sqlx::query_as(
            "-- nodes_to_reclaim
             select n.id, n.cluster, n.name, n.machine_id, n.boot_id, n.booted_at, n.reclaim_at, n.disputed_at, b.seen_at
             from node n
             join node_boot b on b.node_id = n.id
                 and b.boot_id = n.boot_id
             where n.reclaim_at <= $1
             order by n.reclaim_at
             limit $2",
        )
        .bind(now)
        .bind(limit)
        .fetch_all(self.connection())
        .await?;
        Ok(rows
            .into_iter()
            .map(|row| (row.node, row.seen_at))
            .collect())
    }

    async fn delete_node(&mut self, cluster: &str, name: &str) -> Answer<bool> {
        sqlx::query(
            "-- delete_node
             delete from node_boot
             where node_id in (select id from node where cluster = $1 and name = $2)",
        )
        .bind(cluster)
        .bind(name)
        .execute(self.connection())
        .await?;
        let done = sqlx::query(
            "-- delete_node
             delete from node
             where cluster = $1
                 and name = $2",
        )
        .bind(cluster)
        .bind(name)
        .execute(self.connection())
        .await?;
        Ok(done.rows_affected() > 0)
    }
}
