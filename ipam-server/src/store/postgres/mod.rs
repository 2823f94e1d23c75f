//! The statements in PostgreSQL's SQL: connections and transactions here, one file per noun beside it.

mod ahead;
mod call;
mod changes;
mod history;
mod holders;
mod hosts;
mod intervals;
mod leases;
mod listing;
mod locked;
mod nodes;
mod open;
mod pools;
mod prepared;
mod space;

use std::sync::Arc;
use std::time::Duration;

use sqlx::pool::PoolConnection;
use sqlx::{AssertSqlSafe, Executor, PgConnection, PgPool, Postgres};

use super::clock::Clock;
use super::hints::Hints;
use super::schema::Schema;
use super::statements::Answer;
use crate::error::{Error, Result};

pub(crate) use call::Call;
pub(crate) use hosts::Hosts;
#[cfg(test)]
pub(crate) use open::migrations;

/// One column of many rows, as an array.
macro_rules! column {
    ($rows:ident, $field:ident) => {
        $rows.iter().map(|row| row.$field).collect::<Vec<_>>()
    };
    ($rows:ident, text $field:ident) => {
        $rows
            .iter()
            .map(|row| row.$field.as_str())
            .collect::<Vec<_>>()
    };
    ($rows:ident, option $field:ident) => {
        $rows
            .iter()
            .map(|row| row.$field.as_deref())
            .collect::<Vec<_>>()
    };
}

use column;

/// How a transaction that writes begins.
const BEGIN: &str = "begin isolation level read committed, read write";

/// How long a connection may take to answer `begin`. A dead peer that does not say so is found by this, and a few of them
/// fit into one try of a transaction.
const BEGIN_LIMIT: Duration = Duration::from_secs(2);

/// Connections of one server. Claims and releases are gathered, so that few do the work of many.
const CONNECTIONS: u32 = 16;

/// The database. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Database {
    pool: PgPool,
    hosts: Arc<Hosts>,
    service_id: Arc<str>,
    clock: Arc<Clock>,
    hints: Arc<Hints>,
}

impl Database {
    /// Waits for the database for some seconds, sees to its schema and reads the service id.
    pub(super) async fn open(url: &str, schema: Schema) -> Result<Self> {
        open::open(url, schema).await
    }

    /// The id that the first migration wrote.
    pub(super) fn service_id(&self) -> &str {
        &self.service_id
    }

    /// Asks the database whether it serves.
    pub(super) async fn ping(&self) -> Result<()> {
        let asked = async {
            let tx = self.start("begin").await?;
            <Self as super::database::Database>::rollback(tx).await
        };
        asked.await.map_err(|error| Error::Unavailable {
            reason: "the database does not answer".to_owned(),
            source: Some(error),
        })
    }

    /// Finishes what is under way and closes the connections.
    pub(super) async fn close(&self) {
        self.pool.close().await;
    }

    /// Begins a transaction that writes, when those of other servers that take addresses of the same pools have ended. A
    /// batch is gathered meanwhile, instead of waiting for the pools' locks as it is. Nothing depends on turns: one that
    /// does not come in time is not waited for, and there are none while no other server is at work on these pools.
    pub(super) async fn begin_in_turn(&self, pools: &[String]) -> Answer<Tx> {
        if !self.hints.are_shared(pools) {
            return self.start(BEGIN).await;
        }
        let turn = Call::of("take_turn").words(pools.iter().map(String::as_str));
        match self.start(&format!("{BEGIN}; {}", turn.text())).await {
            Err(error) if is_late(&error) => self.start(BEGIN).await,
            other => other,
        }
    }

    /// Begins a transaction. `begin` is also the test of the connection: where one died while it was idle, or its server
    /// is a standby by now, nothing has happened yet, and the next is taken.
    async fn start(&self, begin: &str) -> Answer<Tx> {
        for _ in 0..CONNECTIONS {
            let mut tx = Tx {
                connection: self.connection().await?,
                ended: false,
                ahead: Vec::new(),
                last: String::new(),
                hints: Arc::clone(&self.hints),
            };
            let begun = (tx.connection).execute(sqlx::raw_sql(AssertSqlSafe(begin)));
            match tokio::time::timeout(BEGIN_LIMIT, begun).await {
                Ok(Ok(_)) => return Ok(tx),
                Ok(Err(error)) if is_dead(&error) => {
                    tracing::debug!(%error, "a connection is of no use, taking another");
                    Box::pin(self.hosts.follow(&self.pool)).await;
                }
                Ok(Err(error)) => return Err(error),
                Err(_) => tracing::debug!("a connection does not answer, taking another"),
            }
        }
        Err(sqlx::Error::PoolTimedOut)
    }

    /// A connection to the primary. While it is waited for, the primary may turn out to be another host.
    async fn connection(&self) -> Answer<PoolConnection<Postgres>> {
        if self.hosts.is_one() {
            return self.pool.acquire().await;
        }
        tokio::select! {
            connection = self.pool.acquire() => connection,
            () = Box::pin(self.hosts.keep_following(&self.pool)) => Err(sqlx::Error::PoolTimedOut),
        }
    }
}

impl super::database::Database for Database {
    type Tx = Tx;

    async fn begin(&self) -> Answer<Tx> {
        self.start(BEGIN).await
    }

    async fn read(&self) -> Answer<Tx> {
        self.start("begin isolation level repeatable read, read only")
            .await
    }

    async fn commit(mut tx: Tx) -> Answer<()> {
        // `commit` alone answers a failed transaction with a rollback and no error. The statement before it fails there.
        let last = match tx.last.as_str() {
            "" => "select 1",
            last => last,
        };
        let end = AssertSqlSafe(format!("{last}; commit"));
        match tx.connection.execute(sqlx::raw_sql(end)).await {
            Ok(_) => {
                tx.ended = true;
                Ok(())
            }
            Err(error @ sqlx::Error::Database(_)) => {
                // The first failure counts. A connection that cannot roll back is closed.
                tx.ended = tx.connection.execute("rollback").await.is_ok();
                Err(error)
            }
            Err(error) => Err(error),
        }
    }

    async fn rollback(mut tx: Tx) -> Answer<()> {
        tx.connection.execute("rollback").await?;
        tx.ended = true;
        Ok(())
    }

    fn hints(&self) -> Option<&Hints> {
        Some(&self.hints)
    }

    fn clock(&self) -> &Clock {
        &self.clock
    }

    /// Serialization, deadlock, and a pool's name that another transaction took meanwhile: the next try sees it. Not a
    /// lock that was not had in time: that try took seconds, and the client that waits is better told.
    fn is_passing(error: &sqlx::Error) -> bool {
        error.as_database_error().is_some_and(|error| {
            matches!(error.code().as_deref(), Some("40001" | "40P01"))
                || error.constraint() == Some("pool_name_key")
        })
    }
}

/// Whether `begin` failed because of the connection: it is cut, the server goes down, or does not take writes.
fn is_dead(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Io(_) | sqlx::Error::Tls(_) | sqlx::Error::Protocol(_) => true,
        sqlx::Error::Database(error) => error.code().is_some_and(|code| {
            code.starts_with("57P") || code.starts_with("08") || code == "0A000" || code == "25006"
        }),
        _ => false,
    }
}

/// Whether a lock was not had in time.
fn is_late(error: &sqlx::Error) -> bool {
    let code = error.as_database_error().and_then(|error| error.code());
    code.as_deref() == Some("55P03")
}

/// A transaction.
#[derive(Debug)]
pub(crate) struct Tx {
    connection: PoolConnection<Postgres>,
    ended: bool,
    /// What was sent ahead and not asked for yet.
    ahead: Vec<ahead::Answered>,
    /// Calls that are sent with the commit.
    last: String,
    hints: Arc<Hints>,
}

impl Tx {
    pub(crate) fn connection(&mut self) -> &mut PgConnection {
        debug_assert!(self.last.is_empty(), "what is written last is the last");
        &mut self.connection
    }
}

impl Drop for Tx {
    /// A transaction that was not ended (a deadline, a panic) leaves a connection whose other side does nobody knows what.
    fn drop(&mut self) {
        if !self.ended {
            self.connection.close_on_drop();
        }
    }
}
