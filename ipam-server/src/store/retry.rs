//! The one place that tries a transaction again, and the one that tells what a failure of the database means.

use std::future::Future;
use std::time::Duration;

use super::database::Database;
use crate::error::{Error, Result};

/// Tries of one transaction.
const TRIES: u32 = 6;
/// How long one try may take, in which a lock may be waited for. Past it the connection is closed.
const TRY_LIMIT: Duration = Duration::from_secs(8);

/// Runs `attempt`, a whole transaction, until it succeeds or fails for a reason that another try cannot mend.
pub(crate) async fn retry<D, T, F>(name: &'static str, mut attempt: impl FnMut() -> F) -> Result<T>
where
    D: Database,
    F: Future<Output = Result<T>> + Send,
{
    for number in 1.. {
        let outcome = tokio::time::timeout(TRY_LIMIT, attempt()).await;
        let error = match outcome {
            Ok(Err(Error::Database(error))) => error,
            Ok(other) => return other,
            Err(_) => return Err(Error::unavailable("the database did not answer in time")),
        };
        if number == TRIES || !D::is_passing(&error) {
            return Err(meaning(error));
        }
        tracing::debug!(transaction = name, number, %error, "trying again");
        tokio::time::sleep(pause(number)).await;
    }
    unreachable!("the loop ends by its last try")
}

/// Runs a transaction that takes its time (it reads everything) once, without a limit.
pub(crate) async fn once<T>(transaction: impl Future<Output = Result<T>> + Send) -> Result<T> {
    match transaction.await {
        Err(Error::Database(error)) => Err(meaning(error)),
        other => other,
    }
}

/// The transaction that has begun already, or a new one.
pub(crate) async fn begin<D: Database>(db: &D, begun: Option<D::Tx>) -> Result<D::Tx> {
    match begun {
        Some(tx) => Ok(tx),
        None => Ok(db.begin().await?),
    }
}

/// Commits when `outcome` is a success, rolls back otherwise.
pub(crate) async fn finish<D: Database, T>(tx: D::Tx, outcome: Result<T>) -> Result<T> {
    match outcome {
        Ok(value) => {
            D::commit(tx).await?;
            Ok(value)
        }
        // The first failure counts: the connection that cannot roll back is closed by the pool.
        Err(error) => {
            if let Err(failed) = D::rollback(tx).await {
                tracing::debug!(error = %failed, "rollback failed");
            }
            Err(error)
        }
    }
}

/// 1 to 40 ms, doubling, with as much jitter: those who met once should not meet again.
fn pause(number: u32) -> Duration {
    let base = 1u64 << number.min(5);
    let jitter = u64::from(uuid::Uuid::now_v7().as_bytes()[15]) * base / 255;
    Duration::from_millis(base + jitter)
}

/// What a failure means to the caller.
fn meaning(error: sqlx::Error) -> Error {
    let away = match &error {
        sqlx::Error::Io(_)
        | sqlx::Error::Tls(_)
        | sqlx::Error::PoolTimedOut
        | sqlx::Error::PoolClosed
        | sqlx::Error::WorkerCrashed => true,
        // Connection exceptions, lack of resources, operator intervention (shutdown, timeouts), lock not available,
        // read-only (a standby), a transaction that idled for too long (this server was stopped in the middle of it); and
        // after the last try serialization and deadlock.
        sqlx::Error::Database(db) => db.code().is_some_and(|code| {
            ["08", "53", "57", "40"]
                .iter()
                .any(|class| code.len() == 5 && code.starts_with(class))
                || ["55P03", "25006", "25P03"].contains(&code.as_ref())
                || is_sqlite_passing(&code)
        }),
        _ => false,
    };
    if away {
        Error::Unavailable {
            reason: "the database cannot serve this now".to_owned(),
            source: Some(error),
        }
    } else {
        Error::internal(error)
    }
}

/// SQLite's extended codes have their primary code in the low byte: busy 5, locked 6, I/O error 10, full 13, cannot open 14.
fn is_sqlite_passing(code: &str) -> bool {
    code.parse::<u32>()
        .is_ok_and(|number| code.len() < 5 && matches!(number & 0xff, 5 | 6 | 10 | 13 | 14))
}
