//! Tests of what only the store can see: both databases' statements and schemas.

mod ahead;
mod connections;
mod exercise;
mod gathered;
mod introduced;
mod last;
mod overtaken;
mod plans;
mod schema;
pub(super) mod stage;
mod turns;
mod values;
mod work;

use tempfile::TempDir;

use super::schema::Schema;
use super::{postgres, sqlite};

/// A fresh PostgreSQL database with the schema, and its URL.
async fn postgres_database() -> Option<(postgres::Database, String)> {
    let url = harness::postgres::database()?;
    let database = postgres::Database::open(&url, Schema::Migrate)
        .await
        .expect("opens");
    Some((database, url))
}

/// A fresh SQLite database with the schema, in a folder that goes with the test.
async fn sqlite_database() -> (sqlite::Database, TempDir) {
    let folder = tempfile::tempdir().expect("a folder");
    let database = sqlite::Database::open(&sqlite_url(&folder), Schema::Migrate)
        .await
        .expect("opens");
    (database, folder)
}

fn sqlite_url(folder: &TempDir) -> String {
    format!("sqlite://{}/ipam.db", folder.path().display())
}
