//! The statements in SQLite's SQL: connections and transactions here, one file per noun beside it.

mod changes;
mod history;
mod holders;
mod intervals;
mod leases;
mod listing;
mod nodes;
mod open;
mod pools;
mod space;

use std::fs::File;
use std::sync::{Arc, Mutex, PoisonError};

use nix::fcntl::Flock;
use sqlx::pool::PoolConnection;
use sqlx::{Executor, Sqlite, SqliteConnection, SqlitePool};

use super::clock::Clock;
use super::hints::Hints;
use super::schema::Schema;
use super::statements::{Ahead, AheadStatements, Answer};
use crate::error::{Error, Result};

#[cfg(test)]
pub(crate) use open::migrations;

/// The database. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Database {
    /// One connection: SQLite has one writer, and who waits here waits in turn.
    writer: SqlitePool,
    readers: SqlitePool,
    service_id: Arc<str>,
    clock: Arc<Clock>,
    /// Held until the database is closed, or the process ends: one server per file.
    lock: Arc<Mutex<Option<Flock<File>>>>,
}

impl Database {
    /// Opens the file (one that is to be migrated is created), sees to its schema and reads the service id.
    pub(super) async fn open(url: &str, schema: Schema) -> Result<Self> {
        open::open(url, schema).await
    }

    /// The id that the first migration wrote.
    pub(super) fn service_id(&self) -> &str {
        &self.service_id
    }

    /// Asks the database whether it serves: whether the file can be read.
    pub(super) async fn ping(&self) -> Result<()> {
        let asked = sqlx::query("select id from service").execute(&self.readers);
        asked.await.map_err(|error| Error::Unavailable {
            reason: "the database file cannot be read".to_owned(),
            source: Some(error),
        })?;
        Ok(())
    }

    /// Finishes what is under way and closes the connections.
    pub(super) async fn close(&self) {
        self.readers.close().await;
        self.writer.close().await;
        // Nothing can go wrong while it is held, so what a panicking holder left is as good as any.
        let mut lock = self.lock.lock().unwrap_or_else(PoisonError::into_inner);
        *lock = None;
    }
}

impl super::database::Database for Database {
    type Tx = Tx;

    async fn begin(&self) -> Answer<Tx> {
        // A plain `begin` takes the lock at the first write, when it is too late to wait for it.
        Tx::begin(&self.writer, "begin immediate").await
    }

    async fn read(&self) -> Answer<Tx> {
        Tx::begin(&self.readers, "begin").await
    }

    async fn commit(tx: Tx) -> Answer<()> {
        tx.end("commit").await
    }

    async fn rollback(tx: Tx) -> Answer<()> {
        tx.end("rollback").await
    }

    fn hints(&self) -> Option<&Hints> {
        None
    }

    fn clock(&self) -> &Clock {
        &self.clock
    }

    /// Busy or locked, in any of their kinds: another process (a backup, the shell) holds the file.
    fn is_passing(error: &sqlx::Error) -> bool {
        error
            .as_database_error()
            .and_then(|error| error.code()?.parse::<u32>().ok())
            .is_some_and(|code| matches!(code & 0xff, 5 | 6))
    }
}

/// A transaction.
#[derive(Debug)]
pub(crate) struct Tx {
    connection: PoolConnection<Sqlite>,
    ended: bool,
}

impl Tx {
    async fn begin(pool: &SqlitePool, statement: &'static str) -> Answer<Self> {
        let mut tx = Self {
            connection: pool.acquire().await?,
            ended: false,
        };
        tx.connection.execute(statement).await?;
        Ok(tx)
    }

    async fn end(mut self, statement: &'static str) -> Answer<()> {
        self.connection.execute(statement).await?;
        self.ended = true;
        Ok(())
    }

    pub(crate) fn connection(&mut self) -> &mut SqliteConnection {
        &mut self.connection
    }
}

impl AheadStatements for Tx {
    async fn ahead(&mut self, _: &[Ahead<'_>]) -> Answer<()> {
        Ok(())
    }

    async fn forget_ahead(&mut self) -> Answer<()> {
        Ok(())
    }
}

impl Drop for Tx {
    /// A transaction that was not ended (a deadline, a panic) goes with its connection.
    fn drop(&mut self) {
        if !self.ended {
            self.connection.close_on_drop();
        }
    }
}
