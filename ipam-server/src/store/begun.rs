//! A transaction that has begun and done nothing yet: for a batch that is gathered until then.

use ipam_api::Claim;

use super::database::Database;
use super::retry::{self, retry};
use super::{Granted, Releasing, Store, claims, postgres, releases, sqlite};
use crate::error::Result;

/// A transaction that has begun. Dropped, it closes its connection: one that is not needed is given up.
#[derive(Debug)]
pub struct Begun(On);

#[derive(Debug)]
enum On {
    Postgres(postgres::Database, postgres::Tx),
    Sqlite(sqlite::Database, sqlite::Tx),
}

impl Begun {
    pub(super) async fn of(store: &Store) -> Result<Self> {
        Ok(Self(match store {
            Store::Postgres(db) => On::Postgres(db.clone(), begin(db).await?),
            Store::Sqlite(db) => On::Sqlite(db.clone(), begin(db).await?),
        }))
    }

    pub(super) async fn in_turn(store: &Store, pools: &[String]) -> Result<Self> {
        Ok(Self(match store {
            Store::Postgres(db) => {
                let begun = || async { Ok(db.begin_in_turn(pools).await?) };
                let tx = retry::<postgres::Database, _, _>("begin", begun).await?;
                On::Postgres(db.clone(), tx)
            }
            Store::Sqlite(db) => On::Sqlite(db.clone(), begin(db).await?),
        }))
    }

    /// Serves a batch of claims; one answer each, in order. The caller has checked the strings, and that no attachment is
    /// in the batch twice.
    pub async fn allocate(self, claims: &[Claim]) -> Vec<Result<Granted>> {
        match self.0 {
            On::Postgres(db, tx) => claims::allocate(&db, tx, claims).await,
            On::Sqlite(db, tx) => claims::allocate(&db, tx, claims).await,
        }
    }

    /// Serves a batch of releases; how many leases each freed, in order.
    pub async fn release(self, releases: &[Releasing]) -> Vec<Result<u64>> {
        match self.0 {
            On::Postgres(db, tx) => releases::release(&db, tx, releases).await,
            On::Sqlite(db, tx) => releases::release(&db, tx, releases).await,
        }
    }

    /// Ends it: there is nothing to do.
    pub async fn give_up(self) {
        let ended = match self.0 {
            On::Postgres(_, tx) => postgres::Database::rollback(tx).await,
            On::Sqlite(_, tx) => sqlite::Database::rollback(tx).await,
        };
        if let Err(error) = ended {
            tracing::debug!(%error, "an empty transaction did not end well");
        }
    }
}

async fn begin<D: Database>(db: &D) -> Result<D::Tx> {
    retry::<D, _, _>("begin", || retry::begin(db, None)).await
}
