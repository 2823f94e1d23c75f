//! The schema that a database has, and the one that this release needs.

use sqlx::migrate::{Migrate, Migrator};

use crate::error::{Error, Result};

/// What is done about a schema when its database is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Schema {
    /// It is made, or brought to this release's.
    Migrate,
    /// Nothing: it has to be this release's, or a later one's.
    Check,
}

/// Fails when the database, which is `place`, lacks migrations of this release.
pub(super) async fn check(
    connection: &mut (impl Migrate + Send),
    migrator: &Migrator,
    place: &str,
) -> Result<()> {
    let applied = connection
        .list_applied_migrations(&migrator.table_name)
        .await
        .map_err(|error| {
            Error::Invalid(format!("{place} is no ipam-server's database: {error}"))
        })?;
    let is_applied = |version| applied.iter().any(|one| one.version == version);
    match migrator.iter().find(|one| !is_applied(one.version)) {
        None => Ok(()),
        Some(missing) => Err(Error::Invalid(format!(
            "{place} lacks migrations of this release, from {} ({}) on: `ipam-server migrate` applies them",
            missing.version, missing.description
        ))),
    }
}
