//! The statements that both databases have, one trait per noun. What a statement does is written here once; the
//! databases' modules list them in the same order. The operations above (claims, releases, gc, pools) are written once over
//! them.
//!
//! In PostgreSQL locks are row locks, taken in statements of their own (a lock taken in a CTE of the same statement works
//! on a snapshot that is older than the lock). In SQLite a transaction holds the only write lock from its beginning.

mod ahead;
mod changes;
mod nodes;

use std::future::Future;

use ipam_api::Attachment;
use uuid::Uuid;

use super::addr::Addr;
use super::moment::Moment;
use super::rows::{
    AttachmentRow, CounterRow, FreeRow, HeldRow, HistoryRow, IntervalRow, LeaseQuery, LeaseRow,
    LockedPools, PoolChangeRow, PoolRow, ReleasedRow,
};
use crate::pool::Interval;

pub(crate) use ahead::{Ahead, AheadStatements};
pub(crate) use changes::ChangeStatements;
pub(crate) use nodes::NodeStatements;

/// What a statement answers.
pub(crate) type Answer<T> = Result<T, sqlx::Error>;

/// That a statement met as many rows as it was meant to: one fewer is a lost lease or mark, which must not be committed.
pub(crate) fn expect_rows(statement: &str, met: u64, meant: usize) -> Answer<()> {
    if met == meant as u64 {
        return Ok(());
    }
    Err(sqlx::Error::Protocol(format!(
        "{statement} met {met} rows instead of {meant}"
    )))
}

/// Address spaces and pools.
pub(crate) trait PoolStatements: Send {
    /// The wall clock: the database's in PostgreSQL (`clock_timestamp()`), the server's in SQLite.
    fn wall_clock(&mut self) -> impl Future<Output = Answer<Moment>> + Send;
    /// Inserts a vrf; false when the name exists.
    fn insert_vrf(&mut self, name: &str, now: Moment) -> impl Future<Output = Answer<bool>> + Send;
    /// Names of vrfs after `after`, in order.
    fn vrf_names(
        &mut self,
        after: &str,
        limit: i64,
    ) -> impl Future<Output = Answer<Vec<String>>> + Send;
    /// A vrf's id.
    fn vrf_id(&mut self, name: &str) -> impl Future<Output = Answer<Option<i64>>> + Send;
    /// Locks a vrf's row (for update) and answers its id: ranges of the vrf do not change meanwhile.
    fn lock_vrf(&mut self, name: &str) -> impl Future<Output = Answer<Option<i64>>> + Send;
    /// Pools of these names, those that are being deleted included.
    fn pools_by_name(
        &mut self,
        names: &[String],
    ) -> impl Future<Output = Answer<Vec<PoolRow>>> + Send;
    /// Pools of these ids.
    fn pools_by_id(&mut self, ids: &[i64]) -> impl Future<Output = Answer<Vec<PoolRow>>> + Send;
    /// Pools (not those being deleted) with a name after `after`, by name; of one vrf or of all.
    fn list_pools(
        &mut self,
        vrf_id: Option<i64>,
        after: &str,
        limit: i64,
    ) -> impl Future<Output = Answer<Vec<PoolRow>>> + Send;
    /// Pools in state `deleting`: what a crash left. At most 16.
    fn pools_deleting(&mut self) -> impl Future<Output = Answer<Vec<PoolRow>>> + Send;
    /// The pool of the vrf whose subnet begins last at or before `last` (the only one that can reach over it, since
    /// subnets are equal or apart).
    fn subnet_at_or_before(
        &mut self,
        vrf_id: i64,
        last: Addr,
    ) -> impl Future<Output = Answer<Option<PoolRow>>> + Send;
    /// The range of the vrf that begins last at or before `last`, but for those of pool `except`.
    fn range_at_or_before(
        &mut self,
        vrf_id: i64,
        last: Addr,
        except: i64,
    ) -> impl Future<Output = Answer<Option<IntervalRow>>> + Send;
    /// Inserts a pool's row (its id and vrf name are ignored) and answers the id.
    fn insert_pool(&mut self, pool: &PoolRow) -> impl Future<Output = Answer<i64>> + Send;
    /// Writes gateway, ranges, exclude, routes, dns, labels, reuse delay, state, version and updated_at.
    fn update_pool(&mut self, pool: &PoolRow) -> impl Future<Output = Answer<()>> + Send;
    /// Deletes the pool's rows of `pool_range`, `pool_removal`, `pool_counter` and `pool`.
    fn delete_pool(&mut self, pool_id: i64) -> impl Future<Output = Answer<()>> + Send;
    /// Replaces the pool's rows of `pool_range` by these (all have the one pool_id).
    fn replace_ranges(
        &mut self,
        vrf_id: i64,
        pool_id: i64,
        ranges: &[IntervalRow],
    ) -> impl Future<Output = Answer<()>> + Send;
    /// Appends to `pool_change`.
    fn insert_pool_change(
        &mut self,
        pool: &str,
        at: Moment,
        action: &str,
        settings: &serde_json::Value,
    ) -> impl Future<Output = Answer<()>> + Send;
    /// Changes of a pool with an id below `before`, the latest first.
    fn pool_changes(
        &mut self,
        pool: &str,
        before: i64,
        limit: i64,
    ) -> impl Future<Output = Answer<Vec<PoolChangeRow>>> + Send;
}

/// Counters and free space.
pub(crate) trait SpaceStatements: Send {
    /// Inserts a pool's counter.
    fn insert_counter(&mut self, counter: &CounterRow) -> impl Future<Output = Answer<()>> + Send;
    /// Locks the counters of these pools in the order of their ids (for update); this is the pools' lock. Unknown ids
    /// are left out.
    fn lock_counters(
        &mut self,
        pool_ids: &[i64],
    ) -> impl Future<Output = Answer<Vec<CounterRow>>> + Send;
    /// Locks counters as `lock_counters` does, and then reads these pools; and of each pool's never-used space, from the
    /// counter's mark on, the first `wanted` intervals.
    fn lock_pools(
        &mut self,
        pool_ids: &[i64],
        wanted: i64,
    ) -> impl Future<Output = Answer<LockedPools>> + Send;
    /// Reads counters without a lock.
    fn counters(
        &mut self,
        pool_ids: &[i64],
    ) -> impl Future<Output = Answer<Vec<CounterRow>>> + Send;
    /// Never-used space that begins at or after `from`, in order.
    fn fresh_ranges(
        &mut self,
        pool_id: i64,
        from: Addr,
        limit: i64,
    ) -> impl Future<Output = Answer<Vec<FreeRow>>> + Send;
    /// Returned space with (free_at, first) at or after `from` and free_at up to `until`, in that order.
    fn returned_ranges(
        &mut self,
        pool_id: i64,
        from: (Moment, Addr),
        until: Moment,
        limit: i64,
    ) -> impl Future<Output = Answer<Vec<FreeRow>>> + Send;
    /// Whether more than `count` returned rows with (free_at, first) at or after `from` are free at `until`. Reads that many
    /// index entries.
    fn more_returned_than(
        &mut self,
        pool_id: i64,
        from: (Moment, Addr),
        until: Moment,
        count: i64,
    ) -> impl Future<Output = Answer<bool>> + Send;
    /// How many addresses rest: rows with free_at after `now` (each is one address) that are not being removed.
    fn cooling(&mut self, pool_id: i64, now: Moment) -> impl Future<Output = Answer<i64>> + Send;
    /// When the next resting address is free.
    fn next_free_at(
        &mut self,
        pool_id: i64,
        now: Moment,
    ) -> impl Future<Output = Answer<Option<Moment>>> + Send;
    /// The free interval that begins last at or before `address` (the caller looks whether it reaches it).
    fn free_at_or_before(
        &mut self,
        pool_id: i64,
        address: Addr,
    ) -> impl Future<Output = Answer<Option<FreeRow>>> + Send;
    /// Free intervals that begin within `first..=last`, by first.
    fn free_between(
        &mut self,
        pool_id: i64,
        first: Addr,
        last: Addr,
        limit: i64,
    ) -> impl Future<Output = Answer<Vec<FreeRow>>> + Send;
    /// Deletes every free interval that begins within `first..=last`, at most `limit`; the deleted ones.
    /// Used when a pool is deleted or a range goes.
    fn delete_free_between(
        &mut self,
        pool_id: i64,
        first: Addr,
        last: Addr,
        limit: i64,
    ) -> impl Future<Output = Answer<Vec<FreeRow>>> + Send;
}

/// Who holds leases: attachments.
pub(crate) trait HolderStatements: Send {
    /// Inserts these attachments where their keys are new, and locks those that exist (for update, no change), in the
    /// given order, which is the order of keys. Answers the rows that were there, as they are now, in any order: all others
    /// were inserted as given (but that no release of them is known), and most are, so that to answer them would be most of
    /// the statement's cost.
    fn upsert_attachments(
        &mut self,
        rows: &[AttachmentRow],
    ) -> impl Future<Output = Answer<Vec<AttachmentRow>>> + Send;
    /// Reads attachments without a lock.
    fn find_attachments(
        &mut self,
        keys: &[Attachment],
    ) -> impl Future<Output = Answer<Vec<AttachmentRow>>> + Send;
    /// Deletes attachments by id.
    fn delete_attachments(&mut self, ids: &[Uuid]) -> impl Future<Output = Answer<()>> + Send;
    /// Deletes attachments that hold nothing and were released before `until`, at most `limit`; how many.
    fn prune_attachments(
        &mut self,
        until: Moment,
        limit: i64,
    ) -> impl Future<Output = Answer<u64>> + Send;
    /// Attachments of the node on the network that hold leases, after `after` (container_id, ifname), in that order.
    fn holders_on(
        &mut self,
        cluster: &str,
        node: &str,
        network: &str,
        after: (&str, &str),
        limit: i64,
    ) -> impl Future<Output = Answer<Vec<AttachmentRow>>> + Send;
    /// Attachments of the node on all networks that hold leases, after `after` (network, container_id, ifname), in that
    /// order.
    fn holders_of(
        &mut self,
        cluster: &str,
        node: &str,
        after: (&str, &str, &str),
        limit: i64,
    ) -> impl Future<Output = Answer<Vec<AttachmentRow>>> + Send;
}

/// Leases.
pub(crate) trait LeaseStatements: Send {
    /// The leases of these attachments, by attachment and entry.
    fn leases_of(
        &mut self,
        attachment_ids: &[Uuid],
    ) -> impl Future<Output = Answer<Vec<LeaseRow>>> + Send;
    /// The leases of the attachments with these keys, by attachment and entry.
    fn leases_of_keys(
        &mut self,
        keys: &[Attachment],
    ) -> impl Future<Output = Answer<Vec<LeaseRow>>> + Send;
    /// The lease on an address, with its attachment.
    fn lease_on(
        &mut self,
        vrf_id: i64,
        address: Addr,
    ) -> impl Future<Output = Answer<Option<HeldRow>>> + Send;
    /// One lease by its key, with its attachment.
    fn lease_by_key(
        &mut self,
        attachment_id: Uuid,
        entry: i32,
    ) -> impl Future<Output = Answer<Option<HeldRow>>> + Send;
    /// A pool's leases on `first..=last`, at most `limit`, by address.
    fn leases_between(
        &mut self,
        vrf_id: i64,
        pool_id: i64,
        first: Addr,
        last: Addr,
        limit: i64,
    ) -> impl Future<Output = Answer<Vec<HeldRow>>> + Send;
    /// A page of leases by (vrf_id, address).
    fn list_leases(
        &mut self,
        query: &LeaseQuery,
    ) -> impl Future<Output = Answer<Vec<HeldRow>>> + Send;
    /// Writes these leases' whole lives to the history and deletes them. `rows` gives (attachment_id, entry). The
    /// attachments must still have the ids and pods that the leases were made with: archive first, save them after.
    fn archive_leases(
        &mut self,
        rows: &[LeaseRow],
        released_at: Moment,
        reason: &str,
    ) -> impl Future<Output = Answer<()>> + Send;
    /// Sets (or with none ends) the quarantine of all leases of these attachments.
    fn quarantine_leases(
        &mut self,
        attachment_ids: &[Uuid],
        until: Option<Moment>,
    ) -> impl Future<Output = Answer<()>> + Send;
    /// The holders of at most `limit` leases whose quarantine ended at or before `now`, the longest ago first. A holder of
    /// two comes twice.
    fn overdue_holders(
        &mut self,
        now: Moment,
        limit: i64,
    ) -> impl Future<Output = Answer<Vec<AttachmentRow>>> + Send;
}

/// The past.
pub(crate) trait HistoryStatements: Send {
    /// Past leases of an address with (released_at, id) below `before`, the latest first.
    fn history(
        &mut self,
        vrf_id: i64,
        address: Addr,
        before: (Moment, i64),
        limit: i64,
    ) -> impl Future<Output = Answer<Vec<HistoryRow>>> + Send;
    /// The past lease of an address that was released first after `at`.
    fn history_at(
        &mut self,
        vrf_id: i64,
        address: Addr,
        at: Moment,
    ) -> impl Future<Output = Answer<Option<HistoryRow>>> + Send;
    /// Deletes history released before `until`, the oldest first, at most `limit`; how many. Walks the primary key, which is
    /// in order of release but for concurrent transactions.
    fn prune_history(
        &mut self,
        until: Moment,
        limit: i64,
    ) -> impl Future<Output = Answer<u64>> + Send;
}

/// Removals, and what changes of a pool's ranges and exclusions ask, of thousands of intervals in one statement each.
pub(crate) trait IntervalStatements: Send {
    /// Removals under way in these pools.
    fn removals(
        &mut self,
        pool_ids: &[i64],
    ) -> impl Future<Output = Answer<Vec<IntervalRow>>> + Send;
    /// Some pools (at most 16) that have removals under way: what a crash left.
    fn pools_with_removals(&mut self) -> impl Future<Output = Answer<Vec<i64>>> + Send;
    /// Notes removals.
    fn insert_removals(
        &mut self,
        removals: &[IntervalRow],
    ) -> impl Future<Output = Answer<()>> + Send;
    /// Forgets a removal (by pool_id and first).
    fn delete_removal(&mut self, removal: &IntervalRow) -> impl Future<Output = Answer<()>> + Send;
    /// The free intervals that begin last at or before each of these addresses, by first, each once.
    fn free_at_or_before_each(
        &mut self,
        pool_id: i64,
        addresses: &[Addr],
    ) -> impl Future<Output = Answer<Vec<FreeRow>>> + Send;
    /// How many leases a pool has on these intervals.
    fn count_leases_on(
        &mut self,
        vrf_id: i64,
        pool_id: i64,
        intervals: &[Interval],
    ) -> impl Future<Output = Answer<i64>> + Send;
    /// The addresses of a pool's leases on these intervals, at most `limit`, in order.
    fn leased_on(
        &mut self,
        vrf_id: i64,
        pool_id: i64,
        intervals: &[Interval],
        limit: i64,
    ) -> impl Future<Output = Answer<Vec<Addr>>> + Send;
    /// Addresses of these intervals that were released after `after`, each with the last time it was, by address, at most
    /// `limit`. Reads the history of these addresses.
    fn released_since(
        &mut self,
        vrf_id: i64,
        intervals: &[Interval],
        after: Moment,
        limit: i64,
    ) -> impl Future<Output = Answer<Vec<ReleasedRow>>> + Send;
}

/// All of them.
pub(crate) trait Statements:
    PoolStatements
    + SpaceStatements
    + HolderStatements
    + NodeStatements
    + LeaseStatements
    + HistoryStatements
    + IntervalStatements
    + ChangeStatements
    + AheadStatements
{
}

impl<T> Statements for T where
    T: PoolStatements
        + SpaceStatements
        + HolderStatements
        + NodeStatements
        + LeaseStatements
        + HistoryStatements
        + IntervalStatements
        + ChangeStatements
        + AheadStatements
{
}
