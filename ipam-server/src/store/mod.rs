//! Pools and leases in SQL: the contract of every operation, written once.
//!
//! An operation is one transaction in the words of the domain. What it does stands once, in the file of its noun, over the
//! statements of `statements`; `postgres` and `sqlite` hold those statements in each database's SQL, in the same order.
//! So the order of verbs, idempotence and accounting cannot differ between the databases.

mod addr;
mod audit;
mod begun;
mod books;
mod boots;
mod changes;
mod claims;
mod clock;
mod collect;
mod cursor;
mod database;
mod fresh;
mod hints;
mod ledger;
mod moment;
mod nodes;
mod order;
mod pools;
mod postgres;
mod reads;
mod reclaim;
mod releases;
mod resting;
mod retry;
mod roster;
mod rows;
mod schema;
mod settings;
mod shown;
mod sqlite;
mod statements;
mod surgery;
#[cfg(test)]
mod tests;
mod tidy;
mod usage;

use std::net::IpAddr;
use std::time::Duration;

use ipam_api::{
    CheckAnswer, CheckRequest, Claim, DryRun, ForgetDryRun, GcRequest, HistoryEntry, Lease,
    NewPool, Node, Page, Pool, PoolChange, PoolPatch, PoolState, Release, Vrf,
};
use time::OffsetDateTime;

use self::schema::Schema;
use crate::error::Result;

pub(crate) use addr::Addr;
pub use begun::Begun;
pub(crate) use postgres::Hosts;

/// The database that pools and leases are kept in. Cheap to clone.
#[derive(Clone, Debug)]
pub enum Store {
    /// A cluster's: any number of servers share it.
    Postgres(postgres::Database),
    /// Embedded: one server per file.
    Sqlite(sqlite::Database),
}

/// A pool and its version, which is the ETag.
#[derive(Clone, Debug, PartialEq)]
pub struct Versioned {
    /// Counts the pool's changes.
    pub version: i64,
    /// The pool.
    pub pool: Pool,
}

/// The answer to one claim.
#[derive(Clone, Debug, PartialEq)]
pub struct Granted {
    /// One lease per entry, in order.
    pub leases: Vec<Lease>,
    /// Whether they are new (201), or were held already (200).
    pub fresh: bool,
}

/// Which leases a list shows; every field that is set must match.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LeaseFilter {
    /// The address space.
    pub vrf: Option<String>,
    /// The pool.
    pub pool: Option<String>,
    /// The cluster.
    pub cluster: Option<String>,
    /// The node.
    pub node: Option<String>,
    /// The network.
    pub network: Option<String>,
    /// The container.
    pub container_id: Option<String>,
    /// The address.
    pub address: Option<IpAddr>,
    /// The owner.
    pub owner: Option<String>,
    /// The pod: `name`, or `namespace/name`.
    pub pod: Option<String>,
    /// Only those whose holder is suspected gone, or only the others.
    pub quarantined: Option<bool>,
}

/// Where a list goes on, and how many items one page has.
#[derive(Clone, Debug, PartialEq)]
pub struct Cursor {
    /// The `next_cursor` of the page before.
    pub after: Option<String>,
    /// Items per page.
    pub limit: u32,
}

/// A release, and whether it is a record of an earlier boot than the one that its sender is in now.
#[derive(Clone, Debug, PartialEq)]
pub struct Releasing {
    /// What is released.
    pub release: Release,
    /// Such a record frees only leases of its own boot.
    pub earlier_boot: bool,
}

/// A pool's part of the summary that STATUS is answered from.
#[derive(Clone, Debug, PartialEq)]
pub struct PoolSummary {
    /// The pool's name.
    pub name: String,
    /// Its state.
    pub state: PoolState,
    /// Its free addresses, saturated at 2^53−1.
    pub free: u64,
}

/// Runs an operation of a module on whichever database this is.
macro_rules! on {
    ($store:expr, $db:ident => $operation:expr) => {
        match $store {
            Store::Postgres($db) => $operation.await,
            Store::Sqlite($db) => $operation.await,
        }
    };
}

impl Store {
    /// Opens the database at `url` (`sqlite://FILE` or `postgres://…`) and applies the migrations.
    pub async fn open(url: &str) -> Result<Self> {
        Self::open_with(url, Schema::Migrate).await
    }

    /// Opens a database that a server has made, and changes nothing in it.
    ///
    /// # Errors
    /// `Invalid` when it lacks migrations of this release, or is not there at all.
    pub async fn open_unchanged(url: &str) -> Result<Self> {
        Self::open_with(url, Schema::Check).await
    }

    async fn open_with(url: &str, schema: Schema) -> Result<Self> {
        // Without a scheme the text may be anything, a password too: it is not repeated.
        let scheme = url.split_once("://").map_or("", |(scheme, _)| scheme);
        match scheme {
            "sqlite" => {
                let database = sqlite::Database::open(url, schema).await?;
                Ok(Self::Sqlite(database))
            }
            "postgres" | "postgresql" => {
                let database = postgres::Database::open(url, schema).await?;
                Ok(Self::Postgres(database))
            }
            other => Err(crate::Error::Invalid(format!(
                "database URL: it begins with {other:?}, not with sqlite:// or postgres://"
            ))),
        }
    }

    /// The id that the first migration wrote.
    pub fn service_id(&self) -> &str {
        match self {
            Self::Postgres(db) => db.service_id(),
            Self::Sqlite(db) => db.service_id(),
        }
    }

    /// Asks the database whether it serves.
    pub async fn ping(&self) -> Result<()> {
        on!(self, db => db.ping())
    }

    /// Finishes what is under way and closes the connections.
    pub async fn close(&self) {
        on!(self, db => db.close())
    }

    /// Creates a vrf; false when it existed already.
    pub async fn create_vrf(&self, name: &str) -> Result<bool> {
        on!(self, db => pools::create_vrf(db, name))
    }

    /// Lists vrfs by name.
    pub async fn vrfs(&self, cursor: &Cursor) -> Result<Page<Vrf>> {
        on!(self, db => pools::vrfs(db, cursor))
    }

    /// Creates a pool; false when it existed already with the same settings.
    pub async fn create_pool(&self, new: &NewPool) -> Result<(Versioned, bool)> {
        on!(self, db => pools::create(db, new))
    }

    /// One pool with its usage.
    pub async fn pool(&self, name: &str) -> Result<Versioned> {
        on!(self, db => pools::show(db, name))
    }

    /// Pools by name, of one vrf or of all.
    pub async fn pools(&self, vrf: Option<&str>, cursor: &Cursor) -> Result<Page<Pool>> {
        on!(self, db => pools::list(db, vrf, cursor))
    }

    /// Every pool's state and free addresses.
    pub async fn summary(&self) -> Result<Vec<PoolSummary>> {
        on!(self, db => pools::summary(db))
    }

    /// Changes a pool. `if_match`: the version that the caller saw.
    pub async fn change_pool(
        &self,
        name: &str,
        patch: &PoolPatch,
        if_match: Option<i64>,
    ) -> Result<Versioned> {
        on!(self, db => surgery::change(db, name, patch, if_match))
    }

    /// What `change_pool` would do.
    pub async fn try_change_pool(
        &self,
        name: &str,
        patch: &PoolPatch,
        if_match: Option<i64>,
    ) -> Result<DryRun> {
        on!(self, db => surgery::try_change(db, name, patch, if_match))
    }

    /// Deletes a pool that holds no lease.
    pub async fn delete_pool(&self, name: &str, if_match: Option<i64>) -> Result<()> {
        on!(self, db => surgery::delete(db, name, if_match))
    }

    /// What `delete_pool` would do.
    pub async fn try_delete_pool(&self, name: &str, if_match: Option<i64>) -> Result<DryRun> {
        on!(self, db => surgery::try_delete(db, name, if_match))
    }

    /// Begins a transaction for a batch of claims or releases.
    pub async fn begin(&self) -> Result<Begun> {
        Begun::of(self).await
    }

    /// The same for claims that take addresses of these pools, when it is this server's turn: another's that had its turn
    /// before has ended, or is past waiting for.
    pub async fn begin_in_turn(&self, pools: &[String]) -> Result<Begun> {
        Begun::in_turn(self, pools).await
    }

    /// See [`Begun::allocate`].
    pub async fn allocate(&self, claims: &[Claim]) -> Vec<Result<Granted>> {
        match self.begin().await {
            Ok(begun) => begun.allocate(claims).await,
            Err(error) => error.for_each_of(claims.len()),
        }
    }

    /// See [`Begun::release`].
    pub async fn release(&self, releases: &[Releasing]) -> Vec<Result<u64>> {
        match self.begin().await {
            Ok(begun) => begun.release(releases).await,
            Err(error) => error.for_each_of(releases.len()),
        }
    }

    /// Frees what the node holds on the network, is not valid, and was claimed before the GC was issued.
    pub async fn collect(&self, gc: &GcRequest) -> Result<u64> {
        on!(self, db => collect::collect(db, gc))
    }

    /// Whether the attachment holds the addresses.
    pub async fn check(&self, check: &CheckRequest) -> Result<CheckAnswer> {
        on!(self, db => reads::check(db, check))
    }

    /// Leases that match, a page at a time.
    pub async fn leases(&self, filter: &LeaseFilter, cursor: &Cursor) -> Result<Page<Lease>> {
        on!(self, db => reads::leases(db, filter, cursor))
    }

    /// One lease by its id.
    pub async fn lease(&self, id: &str) -> Result<Lease> {
        on!(self, db => reads::lease(db, id))
    }

    /// The admin's release of one lease by its id.
    pub async fn release_lease(&self, id: &str) -> Result<()> {
        on!(self, db => releases::release_lease(db, id))
    }

    /// Who held the address: all holders, the latest first, or with `at` only the one at that time.
    pub async fn history(
        &self,
        vrf: &str,
        address: IpAddr,
        at: Option<OffsetDateTime>,
        cursor: &Cursor,
    ) -> Result<Page<HistoryEntry>> {
        on!(self, db => reads::history(db, vrf, address, at, cursor))
    }

    /// How a pool was changed, the latest first.
    pub async fn pool_changes(&self, pool: &str, cursor: &Cursor) -> Result<Page<PoolChange>> {
        on!(self, db => pools::changes(db, pool, cursor))
    }

    /// Nodes by (cluster, name), of one cluster or of all.
    pub async fn nodes(&self, cluster: Option<&str>, cursor: &Cursor) -> Result<Page<Node>> {
        on!(self, db => roster::list(db, cluster, cursor))
    }

    /// One node.
    pub async fn node(&self, cluster: &str, name: &str) -> Result<Node> {
        on!(self, db => roster::show(db, cluster, name))
    }

    /// Frees everything that the node holds and forgets its machine and boots; how many leases were freed. Refused as a
    /// `NodeNameConflict` when the node lives and goes on claiming meanwhile.
    pub async fn forget_node(&self, cluster: &str, name: &str) -> Result<u64> {
        on!(self, db => roster::forget(db, cluster, name))
    }

    /// What `forget_node` would do.
    pub async fn try_forget_node(&self, cluster: &str, name: &str) -> Result<ForgetDryRun> {
        on!(self, db => roster::try_forget(db, cluster, name))
    }

    /// One round of background work on boots that machines have left: quarantines their leases, and frees those that have
    /// been quarantined for so long. True when there is more to do at once.
    pub async fn reclaim(&self, quarantine: Duration) -> Result<bool> {
        on!(self, db => reclaim::reclaim(db, quarantine))
    }

    /// One round of background work: prunes history older than `keep` and old order marks, and goes on with range
    /// surgery that a crash left. True when there is more to do at once.
    pub async fn tidy(&self, keep: Duration) -> Result<bool> {
        on!(self, db => tidy::tidy(db, keep))
    }

    /// Checks the accounting of every pool (free + leased + cooling + quarantined + reserved = size, and the rows of free
    /// space against it); what is wrong, in words.
    pub async fn audit(&self) -> Result<Vec<String>> {
        on!(self, db => audit::audit(db))
    }
}
