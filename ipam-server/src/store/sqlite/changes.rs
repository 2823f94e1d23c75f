//! What a transaction has decided: a statement for each kind of rows, for they cost no round trips here.

use serde_json::{Value, json};
use sqlx::types::Json;

use super::Tx;
use super::holders::rows_of;
use crate::store::changes::Changes;
use crate::store::moment::Moment;
use crate::store::rows::{AttachmentRow, CounterRow, FreeRow, LeaseRow};
use crate::store::statements::{Answer, ChangeStatements, LeaseStatements, expect_rows};

impl ChangeStatements for Tx {
    async fn write(&mut self, changes: &Changes) -> Answer<()> {
        self.save_attachments(&changes.attachments).await?;
        self.delete_free(&changes.gone).await?;
        self.move_free(&changes.moved).await?;
        self.insert_free(&changes.added).await?;
        self.save_counters(&changes.counters).await?;
        self.insert_leases(&changes.leases).await
    }

    async fn write_last(
        &mut self,
        archived: &[LeaseRow],
        now: Moment,
        reason: &str,
        changes: &Changes,
    ) -> Answer<()> {
        self.archive_leases(archived, now, reason).await?;
        self.write(changes).await
    }
}

impl Tx {
    /// Runs a statement whose one value is these rows as JSON; how many rows it met.
    async fn write_rows(&mut self, statement: &'static str, rows: Json<Vec<Value>>) -> Answer<u64> {
        if rows.is_empty() {
            return Ok(0);
        }
        let done = sqlx::query(statement).bind(rows);
        Ok(done.execute(self.connection()).await?.rows_affected())
    }

    async fn save_attachments(&mut self, rows: &[AttachmentRow]) -> Answer<()> {
        let statement = "-- write attachments
             update attachment as a
             set id = unhex(n.value ->> 0), claim_boot = n.value ->> 6, claim_issued = n.value ->> 7,
                 granted_issued = n.value ->> 8, release_boot = n.value ->> 9, release_issued = n.value ->> 10,
                 released_at = n.value ->> 11, pod_namespace = n.value ->> 12, pod_name = n.value ->> 13,
                 pod_uid = n.value ->> 14, earlier_release_boot = n.value ->> 15,
                 earlier_release_issued = n.value ->> 16
             from json_each(?1) n
             where a.container_id = n.value ->> 4
                 and a.ifname = n.value ->> 5
                 and a.network = n.value ->> 3
                 and a.node = n.value ->> 2
                 and a.cluster = n.value ->> 1";
        let met = self.write_rows(statement, rows_of(rows)).await?;
        expect_rows("write attachments", met, rows.len())
    }

    async fn delete_free(&mut self, rows: &[FreeRow]) -> Answer<()> {
        let statement = "-- write gone
             delete from free_range
             where (pool_id, first) in (select value ->> 0, unhex(value ->> 1) from json_each(?1))";
        let gone = |row: &FreeRow| json!([row.pool_id, row.first.hex()]);
        let met = self.write_rows(statement, json_of(rows, gone)).await?;
        expect_rows("write gone", met, rows.len())
    }

    async fn move_free(&mut self, rows: &[(FreeRow, FreeRow)]) -> Answer<()> {
        let statement = "-- write moved
             update free_range as f
             set first = unhex(n.value ->> 2), last = unhex(n.value ->> 3), free_at = n.value ->> 4
             from json_each(?1) n
             where f.pool_id = n.value ->> 0
                 and f.first = unhex(n.value ->> 1)";
        let moved = |(was, row): &(FreeRow, FreeRow)| {
            let (first, last) = (row.first.hex(), row.last.hex());
            json!([row.pool_id, was.first.hex(), first, last, row.free_at.0])
        };
        let met = self.write_rows(statement, json_of(rows, moved)).await?;
        expect_rows("write moved", met, rows.len())
    }

    async fn insert_free(&mut self, rows: &[FreeRow]) -> Answer<()> {
        let statement = "-- write added
             insert into free_range (pool_id, first, last, free_at)
             select value ->> 0, unhex(value ->> 1), unhex(value ->> 2), value ->> 3
             from json_each(?1)";
        let added = |row: &FreeRow| {
            let (first, last) = (row.first.hex(), row.last.hex());
            json!([row.pool_id, first, last, row.free_at.0])
        };
        self.write_rows(statement, json_of(rows, added)).await?;
        Ok(())
    }

    async fn save_counters(&mut self, counters: &[CounterRow]) -> Answer<()> {
        let statement = "-- write counters
             update pool_counter as c
             set leased = n.value ->> 1, leased_reserved = n.value ->> 2, quarantined = n.value ->> 3,
                 returned = n.value ->> 4, fresh_from = unhex(n.value ->> 5), returned_from_at = n.value ->> 6,
                 returned_from = unhex(n.value ->> 7), returned_first = n.value ->> 8, probe_at = n.value ->> 9,
                 last_at = n.value ->> 10, version = c.version + 1
             from json_each(?1) n
             where c.pool_id = n.value ->> 0
                 and c.version = n.value ->> 11";
        let saved = |counter: &CounterRow| {
            json!([
                counter.pool_id,
                counter.leased,
                counter.leased_reserved,
                counter.quarantined,
                counter.returned,
                counter.fresh_from.hex(),
                counter.returned_from_at.0,
                counter.returned_from.hex(),
                i64::from(counter.returned_first),
                counter.probe_at.0,
                counter.last_at.0,
                counter.version,
            ])
        };
        let met = self.write_rows(statement, json_of(counters, saved)).await?;
        expect_rows("write counters", met, counters.len())
    }

    async fn insert_leases(&mut self, rows: &[LeaseRow]) -> Answer<()> {
        let statement = "-- write leases
             insert into lease (attachment_id, entry, vrf_id, address, pool_id, owner, created_at)
             select unhex(value ->> 0), value ->> 1, value ->> 2, unhex(value ->> 3), value ->> 4, value ->> 5,
                 value ->> 6
             from json_each(?1)";
        let lease = |row: &LeaseRow| {
            json!([
                row.attachment_id.simple(),
                row.entry,
                row.vrf_id,
                row.address.hex(),
                row.pool_id,
                row.owner,
                row.created_at.0,
            ])
        };
        self.write_rows(statement, json_of(rows, lease)).await?;
        Ok(())
    }
}

fn json_of<T>(rows: &[T], row: impl Fn(&T) -> Value) -> Json<Vec<Value>> {
    Json(rows.iter().map(row).collect())
}
