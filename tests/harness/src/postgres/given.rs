//! Databases on somebody else's server, which is to be left as it was found.

use std::cell::RefCell;
use std::sync::OnceLock;
use std::time::Duration;

use super::{create_database, execute, on_connection, try_execute, unix_time};

/// What a killed test left is dropped when it is this old: no test takes as long.
const STALE: Duration = Duration::from_secs(6 * 3600);

thread_local! {
    /// A test has a thread of its own, so that its databases end with it.
    static MADE: RefCell<Vec<Database>> = const { RefCell::new(Vec::new()) };
}

/// A database that is dropped with this value.
struct Database {
    /// The server's URL.
    server: String,
    name: String,
}

impl Drop for Database {
    fn drop(&mut self) {
        // A server process of the test may still be connected.
        let statement = format!("drop database if exists {} with (force)", self.name);
        if let Err(error) = try_execute(&self.server, statement) {
            eprintln!("the database {} stays: {error}", self.name);
        }
    }
}

/// The URL of a fresh database on the server of `url`; it is dropped when the calling thread ends.
pub(super) fn database(url: &str) -> String {
    static SWEPT: OnceLock<()> = OnceLock::new();
    SWEPT.get_or_init(|| drop_stale(url));
    let name = create_database(url);
    let joint = if url.contains('?') { '&' } else { '?' };
    // `dbname` in the query beats the path.
    let answer = format!("{url}{joint}dbname={name}");
    let server = url.to_owned();
    MADE.with_borrow_mut(|made| made.push(Database { server, name }));
    answer
}

/// Drops what killed tests left.
fn drop_stale(url: &str) {
    let names: Vec<String> = on_connection(url, async |connection| {
        sqlx::query_scalar("select datname from pg_database where datname like 'ipam\\_test\\_%'")
            .fetch_all(connection)
            .await
    })
    .expect("IPAM_TEST_DATABASE_URL answers");
    let limit = unix_time().saturating_sub(STALE).as_secs();
    for name in names {
        let made = name.split('_').nth(2).and_then(|s| s.parse::<u64>().ok());
        if made.is_some_and(|made| made < limit) {
            execute(url, format!("drop database if exists {name}"));
        }
    }
}

#[cfg(test)]
mod tests {
    use sqlx::{Connection, PgConnection};

    use super::super::Cluster;
    use super::*;
    use crate::require;

    #[test]
    fn a_database_on_somebody_elses_server_is_gone_when_its_test_has_ended_though_it_is_in_use() {
        let Some(cluster) = Cluster::start() else {
            return require::skip("postgres", "no server binaries, and no user postgres");
        };
        let server = cluster.url("postgres");
        let names = || -> Vec<String> {
            on_connection(&server, async |connection| {
                sqlx::query_scalar("select datname from pg_database where datname like 'ipam%'")
                    .fetch_all(connection)
                    .await
            })
            .expect("the server answers")
        };
        let a_test = || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .expect("a runtime");
            let user = runtime.block_on(PgConnection::connect(&database(&server)));
            assert_eq!(names().len(), 1);
            // As a server process of the test would: it is still connected when the thread ends.
            std::mem::forget((runtime, user.expect("the database answers")));
        };
        std::thread::scope(|scope| scope.spawn(a_test).join()).expect("the test passes");
        assert_eq!(names(), Vec::<String>::new());
    }
}
