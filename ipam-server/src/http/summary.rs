//! What STATUS is answered from: every pool's state, at most a second old. Runtimes poll every few seconds on every node,
//! which must not reach the database.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use ipam_api::{Entry, EntryStatus, PoolState, PoolStatus, StatusAnswer};
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout};

use crate::error::{Error, Result};
use crate::store::{PoolSummary, Store};

/// How old an answer may be.
const FRESH: Duration = Duration::from_secs(1);
/// How long the database is waited for.
const PATIENCE: Duration = Duration::from_secs(2);

/// The summary, refreshed by whoever needs it and finds it old.
pub(super) struct Summary {
    store: Store,
    last: Mutex<Last>,
}

#[derive(Default)]
struct Last {
    read: Option<(Instant, Arc<Pools>)>,
    failed: Option<Instant>,
}

/// Pools by name.
pub(super) struct Pools(HashMap<String, PoolSummary>);

impl Summary {
    pub(super) fn new(store: Store) -> Self {
        Self {
            store,
            last: Mutex::default(),
        }
    }

    /// The pools. One caller asks the database; those who come meanwhile wait for its answer, also when it is a failure.
    pub(super) async fn pools(&self) -> Result<Arc<Pools>> {
        let arrival = Instant::now();
        let mut last = self.last.lock().await;
        if let Some((at, pools)) = &last.read
            && at.elapsed() <= FRESH
        {
            return Ok(Arc::clone(pools));
        }
        if last.failed.is_some_and(|at| at >= arrival) {
            return Err(Error::unavailable(
                "the database did not answer a moment ago",
            ));
        }
        // As old as the question, not as the answer.
        let asked = Instant::now();
        match timeout(PATIENCE, self.store.summary()).await {
            Ok(Ok(summary)) => {
                let named = summary.into_iter().map(|pool| (pool.name.clone(), pool));
                let pools = Arc::new(Pools(named.collect()));
                last.read = Some((asked, Arc::clone(&pools)));
                Ok(pools)
            }
            Ok(Err(error)) => {
                last.failed = Some(Instant::now());
                Err(error)
            }
            Err(_) => {
                last.failed = Some(Instant::now());
                Err(Error::unavailable("the database did not answer in time"))
            }
        }
    }
}

impl Pools {
    /// Whether the entries could be served.
    pub(super) fn answer(&self, entries: &[Entry]) -> StatusAnswer {
        let entries: Vec<_> = entries.iter().map(|entry| self.entry(entry)).collect();
        StatusAnswer {
            ready: entries.iter().all(|entry| entry.ready),
            exhausted: entries.iter().any(|entry| entry.exhausted),
            entries,
        }
    }

    fn entry(&self, entry: &Entry) -> EntryStatus {
        let pools: Vec<_> = entry.pools.iter().map(|name| self.pool(name)).collect();
        let ready = |pool: &&PoolStatus| pool.state == Some(PoolState::Ready);
        EntryStatus {
            ready: pools.iter().any(|pool| ready(&pool)),
            exhausted: pools.iter().filter(ready).all(|pool| pool.free == 0),
            pools,
        }
    }

    fn pool(&self, name: &str) -> PoolStatus {
        let known = self.0.get(name);
        PoolStatus {
            pool: name.to_owned(),
            state: known.map(|pool| pool.state),
            free: known.map_or(0, |pool| pool.free),
        }
    }
}
