//! The accounting of DESIGN §2.11, checked against the rows themselves: free + leased + cooling + quarantined + reserved =
//! size, for every pool, and nothing is in two places.

mod pool;
#[cfg(test)]
mod tests;
mod walk;

use std::collections::HashMap;

use super::clock::Clock;
use super::database::Database;
use super::retry::{finish, once};
use super::rows::{HeldRow, LeaseQuery, PoolRow};
use super::statements::Statements;
use crate::error::Result;

/// Pools that are read at a time.
const POOLS_PAGE: i64 = 100;
/// Leases and free rows that are read at a time.
const ROWS_PAGE: i64 = 5_000;
/// Findings that are told.
const FINDINGS_MAX: usize = 1_000;

/// What is wrong, in words.
#[derive(Default)]
struct Findings {
    told: Vec<String>,
    untold: usize,
}

impl Findings {
    fn add(&mut self, finding: impl FnOnce() -> String) {
        if self.told.len() < FINDINGS_MAX {
            self.told.push(finding());
        } else {
            self.untold += 1;
        }
    }

    fn into_words(mut self) -> Vec<String> {
        if self.untold > 0 {
            self.told.push(format!("and {} more", self.untold));
        }
        self.told
    }
}

/// One snapshot of everything; as long as it takes.
pub(super) async fn audit<D: Database>(db: &D) -> Result<Vec<String>> {
    once(async {
        let mut tx = db.read().await?;
        let outcome = all(&mut tx, db.clock()).await;
        finish::<D, _>(tx, outcome).await
    })
    .await
}

async fn all<T: Statements>(tx: &mut T, clock: &Clock) -> Result<Vec<String>> {
    let mut findings = Findings::default();
    let mut pools = HashMap::new();
    let mut after = String::new();
    loop {
        let page = tx.list_pools(None, &after, POOLS_PAGE).await?;
        let is_last = (page.len() as i64) < POOLS_PAGE;
        for pool in page {
            pool::audit(tx, clock, &pool, &mut findings).await?;
            after.clone_from(&pool.name);
            pools.insert(pool.id, pool);
        }
        if is_last {
            break;
        }
    }
    audit_leases(tx, &pools, &mut findings).await?;
    Ok(findings.into_words())
}

/// Each lease is of a pool that is there, in its vrf and in its subnet.
async fn audit_leases<T: Statements>(
    tx: &mut T,
    pools: &HashMap<i64, PoolRow>,
    findings: &mut Findings,
) -> Result<()> {
    let mut query = LeaseQuery {
        limit: ROWS_PAGE,
        ..LeaseQuery::default()
    };
    loop {
        let page = tx.list_leases(&query).await?;
        for held in &page {
            audit_lease(held, pools, findings);
        }
        match page.last() {
            Some(last) if page.len() as i64 == ROWS_PAGE => {
                query.after = Some((last.lease.vrf_id, last.lease.address));
            }
            _ => return Ok(()),
        }
    }
}

fn audit_lease(held: &HeldRow, pools: &HashMap<i64, PoolRow>, findings: &mut Findings) {
    let HeldRow { lease, attachment } = held;
    let (address, key) = (lease.address, attachment.key());
    let Some(pool) = pools.get(&lease.pool_id) else {
        findings.add(|| {
            format!(
                "lease {address} of {key}: pool id {} is not there",
                lease.pool_id
            )
        });
        return;
    };
    if pool.vrf_id != lease.vrf_id {
        findings.add(|| {
            format!(
                "lease {address} of {key}: vrf id {} is not its pool's",
                lease.vrf_id
            )
        });
    }
    if !pool.subnet().contains(address) {
        findings.add(|| {
            format!(
                "lease {address} of {key}: outside {} of pool {:?}",
                pool.subnet(),
                pool.name
            )
        });
    }
    if attachment.released_at.is_some() {
        findings.add(|| {
            format!("lease {address} of {key}: its attachment counts as released, so that it would be pruned")
        });
    }
}
