//! What a database is to the operations: transactions, their ends, and which failures pass.

use std::future::Future;

use super::clock::Clock;
use super::hints::Hints;
use super::statements::{Answer, Statements};

/// A database and its transactions.
pub(crate) trait Database: Sync {
    /// A transaction. Dropped before its end (a deadline, a panic) it closes its connection, because nobody knows what the
    /// other side does meanwhile.
    type Tx: Statements;
    /// Begins a transaction that writes: read committed in PostgreSQL, `begin immediate` in SQLite.
    fn begin(&self) -> impl Future<Output = Answer<Self::Tx>> + Send;
    /// Begins a transaction that reads one snapshot.
    fn read(&self) -> impl Future<Output = Answer<Self::Tx>> + Send;
    /// Ends a transaction so that it holds.
    fn commit(tx: Self::Tx) -> impl Future<Output = Answer<()>> + Send;
    /// Ends a transaction so that nothing of it holds.
    fn rollback(tx: Self::Tx) -> impl Future<Output = Answer<()>> + Send;
    /// What is remembered of pools, where asking ahead is of use.
    fn hints(&self) -> Option<&Hints>;
    /// Whether the wall clock has jumped.
    fn clock(&self) -> &Clock;
    /// Which failures of this database are passed by when the transaction is tried again: serialization, deadlock, busy.
    fn is_passing(error: &sqlx::Error) -> bool;
}
