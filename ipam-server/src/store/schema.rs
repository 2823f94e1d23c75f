//! The schema that a database has, and the one that this release needs.

use sqlx::migrate::{Migrate, MigrateError, Migrator};

use crate::error::{Error, Result};

/// What is done about a schema when its database is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Schema {
    /// It is made, or brought to this release's.
    Migrate,
    /// Nothing: it has to be this release's, or a later one's.
    Check,
}

impl Schema {
    /// Does it, in the database that is `place`.
    pub(super) async fn see_to(
        self,
        connection: &mut (impl Migrate + Send),
        migrations: &Migrator,
        place: &str,
    ) -> Result<()> {
        match self {
            Self::Migrate => migrate(connection, migrations).await.map_err(|error| {
                Error::unavailable(format!("cannot apply the migrations to {place}: {error}"))
            }),
            Self::Check => check(connection, migrations, place).await,
        }
    }
}

/// Applies migrations. Servers that start at once take turns.
pub(super) async fn migrate(
    connection: &mut (impl Migrate + Send),
    migrations: &Migrator,
) -> Result<(), MigrateError> {
    migrations.run_direct(None, connection, false).await
}

async fn check(
    connection: &mut (impl Migrate + Send),
    migrations: &Migrator,
    place: &str,
) -> Result<()> {
    let applied = connection
        .list_applied_migrations(&migrations.table_name)
        .await
        .map_err(|error| {
            Error::Invalid(format!("{place} is no ipam-server's database: {error}"))
        })?;
    let is_applied = |version| applied.iter().any(|one| one.version == version);
    match migrations.iter().find(|one| !is_applied(one.version)) {
        None => Ok(()),
        Some(missing) => Err(Error::Invalid(format!(
            "{place} lacks migrations of this release, from {} ({}) on: `ipam-server migrate` applies them",
            missing.version, missing.description
        ))),
    }
}
