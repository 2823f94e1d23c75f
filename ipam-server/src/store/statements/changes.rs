//! What a transaction writes at its end.

use std::future::Future;

use super::Answer;
use crate::store::changes::Changes;
use crate::store::moment::Moment;
use crate::store::rows::LeaseRow;

/// What a transaction writes at its end.
pub(crate) trait ChangeStatements: Send {
    /// Deletes, moves and inserts free intervals, found by what they were; writes everything in counters and counts their
    /// versions up; writes id, marks, released_at and pod of attachments, found by their key columns; inserts leases, of
    /// which `lease_address_key` is the judge. An error when a row is not there, or a counter not in its version.
    fn write(&mut self, changes: &Changes) -> impl Future<Output = Answer<()>> + Send;
    /// Archives leases as `archive_leases` does, then writes changes as `write` does. It is the last that a transaction does:
    /// PostgreSQL is sent it together with the commit, which fails where this would.
    fn write_last(
        &mut self,
        archived: &[LeaseRow],
        now: Moment,
        reason: &str,
        changes: &Changes,
    ) -> impl Future<Output = Answer<()>> + Send;
}
