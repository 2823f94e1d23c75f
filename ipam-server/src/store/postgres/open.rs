//! Connecting to PostgreSQL and applying the migrations.

use std::sync::Arc;
use std::time::{Duration, Instant};

use sqlx::migrate::Migrator;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, Executor, PgConnection};

use super::super::clock::Clock;
use super::super::moment::Moment;
use super::super::schema::Schema;
use super::hosts::Hosts;
use super::{CONNECTIONS, Database, prepared};
use crate::error::{Error, Result};

/// How long a database that is not up yet is waited for.
const PATIENCE: Duration = Duration::from_secs(15);

/// How long a connection is waited for: for a free one, and for one that is made anew.
const ACQUIRE_LIMIT: Duration = Duration::from_secs(3);

/// Connections are made anew after this long, so that none keeps plans that were made when the tables were small.
const LIFETIME: Duration = Duration::from_secs(600);

/// Settings of each connection. One try of a transaction is given up on this side after 8 seconds (`retry.rs`): the
/// database gives up before that, so that no lock is held for somebody who has gone. A machine that vanished without a
/// word loses its locks after 10 seconds.
///
/// Plans are made once per statement and not for each value: every statement has an index that serves it at any size, and
/// planning costs as much as a small statement itself. The price of a random page is that of tables in memory or on flash.
/// Tables are not read from end to end where an index serves: a plan that was made when they were small would go on to.
/// Texts are quoted by the standard, and arrays have nulls: the calls of prepared statements rely on it.
pub(super) const SETTINGS: [(&str, &str); 9] = [
    ("lock_timeout", "5s"),
    ("statement_timeout", "7s"),
    ("idle_in_transaction_session_timeout", "10s"),
    ("plan_cache_mode", "force_generic_plan"),
    ("random_page_cost", "1.1"),
    ("enable_seqscan", "off"),
    ("jit", "off"),
    ("standard_conforming_strings", "on"),
    ("array_nulls", "on"),
];

/// The migrations. A newer server may have applied more: migrations only add, so this one runs on its schema.
pub(crate) fn migrations() -> Migrator {
    let mut migrator = sqlx::migrate!("../migrations/postgres");
    migrator.set_ignore_missing(true);
    migrator
}

/// Waits for the database for some seconds, sees to its schema and reads the service id.
pub(super) async fn open(url: &str, schema: Schema) -> Result<Database> {
    let hosts = Hosts::of(url)?;
    let place = place(&hosts);
    let (options, mut connection) = connect(&hosts, &place).await?;
    // On a connection without time limits: an index on a big table takes its time, and so may another server that migrates.
    schema
        .see_to(&mut connection, &migrations(), &place)
        .await?;
    let service = "select id, clock_timestamp() from service";
    let (service_id, now): (String, Moment) = sqlx::query_as(service)
        .fetch_one(&mut connection)
        .await
        .map_err(|error| {
            Error::unavailable(format!("cannot read the service id from {place}: {error}"))
        })?;
    // It has served: what becomes of it is nobody's concern.
    let _ = connection.close().await;
    let hosts = Arc::new(hosts);
    let known = Arc::clone(&hosts);
    let pool = PgPoolOptions::new()
        .max_connections(CONNECTIONS)
        .acquire_timeout(ACQUIRE_LIMIT)
        .max_lifetime(LIFETIME)
        // `begin` is the test.
        .test_before_acquire(false)
        .before_acquire(move |_, meta| {
            let is_present = known.is_present(meta.age);
            Box::pin(async move { Ok(is_present) })
        })
        .after_connect(|connection, _| {
            Box::pin(async move {
                let prepare = AssertSqlSafe(prepared::prepare());
                connection.execute(sqlx::raw_sql(prepare)).await?;
                Ok(())
            })
        })
        .connect_lazy_with(options.options(SETTINGS));
    Ok(Database {
        pool,
        hosts,
        service_id: service_id.into(),
        clock: Arc::new(Clock::from(now)),
        hints: Arc::default(),
    })
}

/// Connects to the primary, and waits for a database that is not up yet.
async fn connect(hosts: &Hosts, place: &str) -> Result<(PgConnectOptions, PgConnection)> {
    let give_up = Instant::now() + PATIENCE;
    loop {
        // Without a primary the first host tells what is wrong.
        let options = hosts.primary().await.unwrap_or(hosts.first());
        let error = match tokio::time::timeout(ACQUIRE_LIMIT, options.connect()).await {
            Ok(Ok(connection)) => return Ok((options.clone(), connection)),
            Ok(Err(error)) => error,
            Err(_) => sqlx::Error::PoolTimedOut,
        };
        if !comes_up(&error) || Instant::now() > give_up {
            return Err(Error::Unavailable {
                reason: format!("cannot connect to {place}: {error}"),
                source: Some(error),
            });
        }
        tracing::warn!(%error, "waiting for {place}");
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

/// Whether time may mend it: nobody listens yet, the database starts up, or it has no connection left. A wrong password or
/// name stays wrong.
fn comes_up(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Io(_) | sqlx::Error::PoolTimedOut => true,
        sqlx::Error::Database(error) => error
            .code()
            .is_some_and(|code| code.starts_with("57P") || code.starts_with("53")),
        _ => false,
    }
}

/// Which database that is, without the password.
fn place(hosts: &Hosts) -> String {
    let first = hosts.first();
    let database = first.get_database().unwrap_or(first.get_username());
    format!("PostgreSQL at {hosts}, database {database:?}")
}
