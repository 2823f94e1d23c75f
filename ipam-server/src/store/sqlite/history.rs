//! The past.

use super::Tx;
use crate::store::addr::Addr;
use crate::store::moment::Moment;
use crate::store::rows::HistoryRow;
use crate::store::statements::{Answer, HistoryStatements};

impl HistoryStatements for Tx {
    async fn history(
        &mut self,
        vrf_id: i64,
        address: Addr,
        before: (Moment, i64),
        limit: i64,
    ) -> Answer<Vec<HistoryRow>> {
        sqlx::query_as(
            "-- history
             select id, attachment_id, entry, address, pool, cluster, node, network, container_id, ifname,
                 pod_namespace, pod_name, pod_uid, owner, created_at, released_at, reason
             from history
             where vrf_id = ?1
                 and address = ?2
                 and (released_at, id) < (?3, ?4)
             order by released_at desc, id desc
             limit ?5",
        )
        .bind(vrf_id)
        .bind(address)
        .bind(before.0)
        .bind(before.1)
        .bind(limit)
        .fetch_all(self.connection())
        .await
    }

    async fn history_at(
        &mut self,
        vrf_id: i64,
        address: Addr,
        at: Moment,
    ) -> Answer<Option<HistoryRow>> {
        sqlx::query_as(
            "-- history_at
             select id, attachment_id, entry, address, pool, cluster, node, network, container_id, ifname,
                 pod_namespace, pod_name, pod_uid, owner, created_at, released_at, reason
             from history
             where vrf_id = ?1
                 and address = ?2
                 and released_at > ?3
             order by released_at, id
             limit 1",
        )
        .bind(vrf_id)
        .bind(address)
        .bind(at)
        .fetch_optional(self.connection())
        .await
    }

    async fn prune_history(&mut self, until: Moment, limit: i64) -> Answer<u64> {
        let done = sqlx::query(
            "-- prune_history
             delete from history
             where id <= coalesce((select id from history order by id limit 1 offset ?2 - 1), 9223372036854775807)
                 and released_at < ?1",
        )
        .bind(until)
        .bind(limit)
        .execute(self.connection())
        .await?;
        Ok(done.rows_affected())
    }
}
