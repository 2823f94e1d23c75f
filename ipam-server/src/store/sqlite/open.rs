//! Opening an SQLite file and applying the migrations.

use std::fs::{File, OpenOptions};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use sqlx::migrate::Migrator;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use time::OffsetDateTime;

use super::super::clock::Clock;
use super::super::moment::Moment;
use super::super::schema::Schema;
use super::Database;
use crate::error::{Error, Result};

/// How long a connection is waited for. Longer than other processes keep the file busy.
const ACQUIRE_LIMIT: Duration = Duration::from_secs(6);

/// How long SQLite waits for another process (a backup, the shell) that has locked the file.
const BUSY_LIMIT: Duration = Duration::from_secs(5);

/// Connections that read.
const READERS: u32 = 4;

/// Memory for pages, in KiB: the system's own cache does the rest.
const WRITER_CACHE: &str = "-16384";
const READER_CACHE: &str = "-2048";

/// The migrations. A newer server may have applied more: migrations only add, so this one runs on its schema.
pub(crate) fn migrations() -> Migrator {
    let mut migrator = sqlx::migrate!("../migrations/sqlite");
    migrator.set_ignore_missing(true);
    migrator
}

/// Opens the file (one that is to be migrated is created), sees to its schema and reads the service id.
pub(super) async fn open(url: &str, schema: Schema) -> Result<Database> {
    let file = file(url)?;
    let place = format!("the database {}", file.display());
    if schema == Schema::Check && !file.exists() {
        return Err(Error::Invalid(format!("{place} does not exist")));
    }
    let lock = lock(&file)?;
    let failed = |error: sqlx::Error| Error::Unavailable {
        reason: format!("cannot open {place}: {error}"),
        source: Some(error),
    };
    let options = SqliteConnectOptions::new()
        .filename(&file)
        // An answered lease survives the machine's end too.
        .synchronous(SqliteSynchronous::Full)
        .foreign_keys(true)
        .busy_timeout(BUSY_LIMIT)
        // After a burst the log file shrinks again.
        .pragma("journal_size_limit", "67108864");
    let options = match schema {
        Schema::Migrate => options
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal),
        // Both are changes.
        Schema::Check => options,
    };
    let writer = SqlitePoolOptions::new()
        .max_connections(1)
        .acquire_timeout(ACQUIRE_LIMIT)
        .test_before_acquire(false)
        .connect_with(options.clone().pragma("cache_size", WRITER_CACHE))
        .await
        .map_err(failed)?;
    let mut connection = writer.acquire().await.map_err(failed)?;
    schema
        .see_to(&mut *connection, &migrations(), &place)
        .await?;
    let service_id: String = sqlx::query_scalar("select id from service")
        .fetch_one(&mut *connection)
        .await
        .map_err(failed)?;
    let readers = SqlitePoolOptions::new()
        .max_connections(READERS)
        .acquire_timeout(ACQUIRE_LIMIT)
        .test_before_acquire(false)
        .connect_lazy_with(
            options
                .pragma("cache_size", READER_CACHE)
                .pragma("query_only", "on"),
        );
    Ok(Database {
        writer,
        readers,
        service_id: service_id.into(),
        clock: Arc::new(Clock::from(Moment::from(OffsetDateTime::now_utc()))),
        lock: Arc::new(Mutex::new(Some(lock))),
    })
}

/// The file that a URL names, absolute, and the same by whatever link it is reached.
fn file(url: &str) -> Result<PathBuf> {
    let path = url.strip_prefix("sqlite://").unwrap_or_default();
    if path.is_empty() || path.contains(['?', '#']) || path.starts_with(':') {
        return Err(Error::Invalid(format!(
            "database URL: {url:?} does not name a file, as sqlite://ipam.db or sqlite:///var/lib/ipam/ipam.db do"
        )));
    }
    let path = Path::new(path);
    if path.is_dir() {
        return Err(Error::Invalid(format!(
            "database URL: {url:?} names a directory, not a file"
        )));
    }
    if let Ok(found) = path.canonicalize() {
        return Ok(found);
    }
    let missing = |error| {
        Error::unavailable(format!(
            "cannot create the database {}: {error}; its directory must exist",
            path.display()
        ))
    };
    let absolute = std::path::absolute(path).map_err(missing)?;
    match (absolute.parent(), absolute.file_name()) {
        (Some(parent), Some(name)) => Ok(parent.canonicalize().map_err(missing)?.join(name)),
        _ => Err(Error::Invalid(format!(
            "database URL: {url:?} does not name a file"
        ))),
    }
}

/// Takes the lock that one server per file holds. The system frees it with the process, however that ends.
fn lock(file: &Path) -> Result<Flock<File>> {
    let mut name = file.as_os_str().to_owned();
    name.push(".lock");
    let path = PathBuf::from(name);
    let handle = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&path)
        .map_err(|error| Error::unavailable(format!("cannot open {}: {error}", path.display())))?;
    Flock::lock(handle, FlockArg::LockExclusiveNonblock).map_err(|(_, errno)| {
        Error::unavailable(match errno {
            Errno::EWOULDBLOCK => format!(
                "the database {} is in use by another ipam-server (it holds {}); SQLite serves one server per file, \
                 several servers need PostgreSQL",
                file.display(),
                path.display()
            ),
            other => format!("cannot lock {}: {other}", path.display()),
        })
    })
}
