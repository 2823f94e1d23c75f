//! Asking ahead: what a transaction will ask is asked at once, where each question is a round trip.

use std::future::Future;

use ipam_api::Attachment;

use super::Answer;
use crate::store::rows::AttachmentRow;

/// Something that a transaction will ask.
pub(crate) enum Ahead<'a> {
    /// `nodes`
    Nodes(&'a [(String, String)]),
    /// `upsert_attachments`
    Attachments(&'a [AttachmentRow]),
    /// `leases_of_keys`
    LeasesOf(&'a [Attachment]),
    /// `pools_by_name`
    Pools(&'a [String]),
    /// `lock_pools`
    Locked(&'a [i64], i64),
}

/// Asking ahead.
pub(crate) trait AheadStatements: Send {
    /// Asks all of this at once, in this order. When the very same is asked for afterwards, that is the answer to it, once.
    /// SQLite, where there are no round trips, does nothing.
    fn ahead(&mut self, next: &[Ahead<'_>]) -> impl Future<Output = Answer<()>> + Send;
    /// Begins the transaction anew, if something was asked ahead and not asked for since: its locks are let go, so that those
    /// which come before them in order can be taken.
    fn forget_ahead(&mut self) -> impl Future<Output = Answer<()>> + Send;
}
