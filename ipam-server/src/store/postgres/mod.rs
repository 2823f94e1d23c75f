//! The statements in Postgres's SQL.
#![allow(clippy::todo, reason = "being written")]
use super::addr::Addr;
use super::clock::Clock;
use super::moment::Moment;
use super::rows::*;
use super::statements::{
    Answer, HistoryStatements, LeaseStatements, PoolStatements, SpaceStatements,
};
use crate::error::Result;
use ipam_api::Attachment;
use uuid::Uuid;

/// The database. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Database;

impl Database {
    pub(super) async fn open(_url: &str) -> Result<Self> {
        todo!()
    }
    pub(super) fn service_id(&self) -> &str {
        todo!()
    }
    pub(super) async fn ping(&self) -> Result<()> {
        todo!()
    }
    pub(super) async fn close(&self) {
        todo!()
    }
}

impl super::statements::Database for Database {
    type Tx = Tx;
    async fn begin(&self) -> Answer<Tx> {
        todo!()
    }
    async fn read(&self) -> Answer<Tx> {
        todo!()
    }
    async fn commit(_tx: Tx) -> Answer<()> {
        todo!()
    }
    async fn rollback(_tx: Tx) -> Answer<()> {
        todo!()
    }
    fn clock(&self) -> &Clock {
        todo!()
    }
    fn is_passing(_error: &sqlx::Error) -> bool {
        todo!()
    }
}

/// A transaction.
pub(crate) struct Tx;

impl PoolStatements for Tx {
    async fn wall_clock(&mut self) -> Answer<Moment> {
        todo!()
    }
    async fn insert_vrf(&mut self, _name: &str, _now: Moment) -> Answer<bool> {
        todo!()
    }
    async fn vrf_names(&mut self, _after: &str, _limit: i64) -> Answer<Vec<String>> {
        todo!()
    }
    async fn vrf_id(&mut self, _name: &str) -> Answer<Option<i64>> {
        todo!()
    }
    async fn lock_vrf(&mut self, _name: &str) -> Answer<Option<i64>> {
        todo!()
    }
    async fn pools_by_name(&mut self, _names: &[String]) -> Answer<Vec<PoolRow>> {
        todo!()
    }
    async fn pools_by_id(&mut self, _ids: &[i64]) -> Answer<Vec<PoolRow>> {
        todo!()
    }
    async fn list_pools(
        &mut self,
        _vrf_id: Option<i64>,
        _after: &str,
        _limit: i64,
    ) -> Answer<Vec<PoolRow>> {
        todo!()
    }
    async fn pools_deleting(&mut self) -> Answer<Vec<PoolRow>> {
        todo!()
    }
    async fn subnet_at_or_before(&mut self, _vrf_id: i64, _last: Addr) -> Answer<Option<PoolRow>> {
        todo!()
    }
    async fn range_at_or_before(
        &mut self,
        _vrf_id: i64,
        _last: Addr,
        _except: i64,
    ) -> Answer<Option<IntervalRow>> {
        todo!()
    }
    async fn insert_pool(&mut self, _pool: &PoolRow) -> Answer<i64> {
        todo!()
    }
    async fn update_pool(&mut self, _pool: &PoolRow) -> Answer<()> {
        todo!()
    }
    async fn delete_pool(&mut self, _pool_id: i64) -> Answer<()> {
        todo!()
    }
    async fn replace_ranges(
        &mut self,
        _vrf_id: i64,
        _pool_id: i64,
        _ranges: &[IntervalRow],
    ) -> Answer<()> {
        todo!()
    }
    async fn insert_pool_change(
        &mut self,
        _pool: &str,
        _at: Moment,
        _action: &str,
        _settings: &serde_json::Value,
    ) -> Answer<()> {
        todo!()
    }
    async fn pool_changes(
        &mut self,
        _pool: &str,
        _before: i64,
        _limit: i64,
    ) -> Answer<Vec<PoolChangeRow>> {
        todo!()
    }
}

impl SpaceStatements for Tx {
    async fn insert_counter(&mut self, _counter: &CounterRow) -> Answer<()> {
        todo!()
    }
    async fn lock_counters(&mut self, _pool_ids: &[i64]) -> Answer<Vec<CounterRow>> {
        todo!()
    }
    async fn counters(&mut self, _pool_ids: &[i64]) -> Answer<Vec<CounterRow>> {
        todo!()
    }
    async fn save_counters(&mut self, _counters: &[CounterRow]) -> Answer<()> {
        todo!()
    }
    async fn fresh_ranges(
        &mut self,
        _pool_id: i64,
        _from: Addr,
        _limit: i64,
    ) -> Answer<Vec<FreeRow>> {
        todo!()
    }
    async fn returned_ranges(
        &mut self,
        _pool_id: i64,
        _from: (Moment, Addr),
        _until: Moment,
        _limit: i64,
    ) -> Answer<Vec<FreeRow>> {
        todo!()
    }
    async fn more_returned_than(
        &mut self,
        _pool_id: i64,
        _from: (Moment, Addr),
        _until: Moment,
        _count: i64,
    ) -> Answer<bool> {
        todo!()
    }
    async fn cooling(&mut self, _pool_id: i64, _now: Moment) -> Answer<i64> {
        todo!()
    }
    async fn next_free_at(&mut self, _pool_id: i64, _now: Moment) -> Answer<Option<Moment>> {
        todo!()
    }
    async fn free_at_or_before(
        &mut self,
        _pool_id: i64,
        _address: Addr,
    ) -> Answer<Option<FreeRow>> {
        todo!()
    }
    async fn free_between(
        &mut self,
        _pool_id: i64,
        _first: Addr,
        _last: Addr,
        _limit: i64,
    ) -> Answer<Vec<FreeRow>> {
        todo!()
    }
    async fn insert_free(&mut self, _rows: &[FreeRow]) -> Answer<()> {
        todo!()
    }
    async fn delete_free(&mut self, _rows: &[FreeRow]) -> Answer<()> {
        todo!()
    }
    async fn delete_free_between(
        &mut self,
        _pool_id: i64,
        _first: Addr,
        _last: Addr,
        _limit: i64,
    ) -> Answer<Vec<FreeRow>> {
        todo!()
    }
    async fn removals(&mut self, _pool_ids: &[i64]) -> Answer<Vec<IntervalRow>> {
        todo!()
    }
    async fn pools_with_removals(&mut self) -> Answer<Vec<i64>> {
        todo!()
    }
    async fn insert_removal(&mut self, _removal: &IntervalRow) -> Answer<()> {
        todo!()
    }
    async fn delete_removal(&mut self, _removal: &IntervalRow) -> Answer<()> {
        todo!()
    }
}

impl LeaseStatements for Tx {
    async fn upsert_attachments(&mut self, _rows: &[AttachmentRow]) -> Answer<Vec<AttachmentRow>> {
        todo!()
    }
    async fn find_attachments(&mut self, _keys: &[Attachment]) -> Answer<Vec<AttachmentRow>> {
        todo!()
    }
    async fn save_attachments(&mut self, _rows: &[AttachmentRow]) -> Answer<()> {
        todo!()
    }
    async fn delete_attachments(&mut self, _ids: &[Uuid]) -> Answer<()> {
        todo!()
    }
    async fn prune_attachments(&mut self, _until: Moment, _limit: i64) -> Answer<u64> {
        todo!()
    }
    async fn holders_on(
        &mut self,
        _cluster: &str,
        _node: &str,
        _network: &str,
        _after: (&str, &str),
        _limit: i64,
    ) -> Answer<Vec<AttachmentRow>> {
        todo!()
    }
    async fn leases_of(&mut self, _attachment_ids: &[Uuid]) -> Answer<Vec<LeaseRow>> {
        todo!()
    }
    async fn lease_on(&mut self, _vrf_id: i64, _address: Addr) -> Answer<Option<HeldRow>> {
        todo!()
    }
    async fn lease_by_key(&mut self, _attachment_id: Uuid, _entry: i32) -> Answer<Option<HeldRow>> {
        todo!()
    }
    async fn leases_between(
        &mut self,
        _vrf_id: i64,
        _pool_id: i64,
        _first: Addr,
        _last: Addr,
        _limit: i64,
    ) -> Answer<Vec<HeldRow>> {
        todo!()
    }
    async fn count_leases_between(
        &mut self,
        _vrf_id: i64,
        _pool_id: i64,
        _first: Addr,
        _last: Addr,
    ) -> Answer<i64> {
        todo!()
    }
    async fn list_leases(&mut self, _query: &LeaseQuery) -> Answer<Vec<HeldRow>> {
        todo!()
    }
    async fn insert_leases(&mut self, _rows: &[LeaseRow]) -> Answer<()> {
        todo!()
    }
    async fn archive_leases(
        &mut self,
        _rows: &[LeaseRow],
        _released_at: Moment,
        _reason: &str,
    ) -> Answer<()> {
        todo!()
    }
    async fn nodes(&mut self, _names: &[(String, String)]) -> Answer<Vec<NodeRow>> {
        todo!()
    }
    async fn lock_node(&mut self, _cluster: &str, _name: &str, _now: Moment) -> Answer<NodeRow> {
        todo!()
    }
    async fn save_node(&mut self, _node: &NodeRow, _now: Moment) -> Answer<()> {
        todo!()
    }
    async fn boots(&mut self, _cluster: &str, _name: &str) -> Answer<Vec<String>> {
        todo!()
    }
}

impl HistoryStatements for Tx {
    async fn history(
        &mut self,
        _vrf_id: i64,
        _address: Addr,
        _before: (Moment, i64),
        _limit: i64,
    ) -> Answer<Vec<HistoryRow>> {
        todo!()
    }
    async fn history_at(
        &mut self,
        _vrf_id: i64,
        _address: Addr,
        _at: Moment,
    ) -> Answer<Option<HistoryRow>> {
        todo!()
    }
    async fn released_since(
        &mut self,
        _vrf_id: i64,
        _first: Addr,
        _last: Addr,
        _after: Moment,
        _limit: i64,
    ) -> Answer<Vec<ReleasedRow>> {
        todo!()
    }
    async fn prune_history(&mut self, _until: Moment, _limit: i64) -> Answer<u64> {
        todo!()
    }
}
