//! Claims and releases on their way to the store, gathered into batches.

use std::future::Future;
use std::time::Duration;

use ipam_api::{Attachment, Claim};
use tokio::time::Instant;

use crate::error::{Error, Result};
use crate::gather::{Gather, Lane, Work};
use crate::store::{Begun, Granted, Releasing, Store};

/// How long a claim may wait for its transaction when it does not say.
const DEADLINE: Duration = Duration::from_secs(10);
/// The longest that anything waits for its transaction.
const LONGEST_DEADLINE: Duration = Duration::from_secs(60);
/// Transactions at once on PostgreSQL. Together they leave some of the store's connections to everything else.
const POSTGRES_CLAIMS: usize = 8;
const POSTGRES_RELEASES: usize = 4;

/// The most releases that one request lists. All of them wait, or none: a smaller queue would never serve such a list.
pub(crate) const RELEASES_MAX: usize = 1_000;

/// Where claims and releases wait for their transaction.
pub(crate) struct Allocator {
    claims: Gather<Claim>,
    releases: Gather<Releasing>,
}

impl Allocator {
    /// `bound`: how many claims, and how many releases, may wait; of these at least one list.
    pub(crate) fn new(store: &Store, bound: usize) -> Self {
        let (claims, releases) = match store {
            Store::Postgres(_) => (POSTGRES_CLAIMS, POSTGRES_RELEASES),
            Store::Sqlite(_) => (1, 1),
        };
        Self {
            claims: Gather::new(store.clone(), bound, claims),
            releases: Gather::new(store.clone(), bound.max(RELEASES_MAX), releases),
        }
    }

    /// Serves a claim that arrived at `arrival`; its strings are checked.
    pub(crate) async fn claim(&self, claim: Claim, arrival: Instant) -> Result<Granted> {
        let limit = claim.deadline_ms.map_or(DEADLINE, Duration::from_millis);
        let until = arrival + limit.min(LONGEST_DEADLINE);
        let mut answers = self.claims.ask(vec![claim], until).await?;
        answers
            .pop()
            .unwrap_or_else(|| Err(Error::internal("a claim was not answered")))
    }

    /// Serves a list of releases; how many leases they freed. After a failure some may have been served.
    pub(crate) async fn release(&self, releases: Vec<Releasing>, arrival: Instant) -> Result<u64> {
        let until = arrival + LONGEST_DEADLINE;
        self.releases.ask(releases, until).await?.into_iter().sum()
    }

    /// Waits until nothing is under way.
    pub(crate) async fn drained(&self) {
        self.claims.drained().await;
        self.releases.drained().await;
    }
}

impl Work for Claim {
    type Answer = Granted;
    const NAME: &'static str = "claims";
    /// A lease that nobody hears of would be held by nobody.
    const UNWATCHED: bool = false;

    fn key(&self) -> Attachment {
        self.attachment.clone()
    }

    /// By first-choice pools, which is what its transaction locks; SQLite has one lock for all.
    fn lane(&self, store: &Store) -> Lane {
        match store {
            Store::Sqlite(_) => Lane::new(),
            Store::Postgres(_) => {
                let first = self.entries.iter().filter_map(|entry| entry.pools.first());
                let mut names: Lane = first.cloned().collect();
                names.sort_unstable();
                names.dedup();
                names
            }
        }
    }

    fn begin(store: &Store, lane: &Lane) -> impl Future<Output = Result<Begun>> + Send {
        store.begin_in_turn(lane)
    }

    fn run(begun: Begun, batch: &[Self]) -> impl Future<Output = Vec<Result<Granted>>> + Send {
        begun.allocate(batch)
    }
}

impl Work for Releasing {
    type Answer = u64;
    const NAME: &'static str = "releases";
    /// A container that is gone stays gone, whoever listens.
    const UNWATCHED: bool = true;

    fn key(&self) -> Attachment {
        self.release.attachment()
    }

    /// By network: a release does not name its pools, but networks have pools of their own.
    fn lane(&self, store: &Store) -> Lane {
        match store {
            Store::Sqlite(_) => Lane::new(),
            Store::Postgres(_) => vec![self.release.cluster.clone(), self.release.network.clone()],
        }
    }

    fn begin(store: &Store, _: &Lane) -> impl Future<Output = Result<Begun>> + Send {
        store.begin()
    }

    fn run(begun: Begun, batch: &[Self]) -> impl Future<Output = Vec<Result<u64>>> + Send {
        begun.release(batch)
    }
}
