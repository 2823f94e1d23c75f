//! An ipam-server on the lab's PostgreSQL, the claims that fill it, and the check of its books.

use std::net::SocketAddr;

use anyhow::{Context, Result, ensure};
use harness::server::{Launch, Server};
use ipam_api::{Page, Pool};
use serde_json::{Value, json};

use crate::lab::{self, Lab};
use crate::load::{self, Plan};

/// Clients that fill a pool.
const FILLERS: usize = 256;

/// A running service with a database of its own.
pub(crate) struct Service {
    pub(crate) server: Server,
    pub(crate) address: SocketAddr,
}

impl Service {
    pub(crate) fn start(lab: &Lab) -> Result<Self> {
        let server = Launch::new()
            .program(lab.binaries.join("ipam-server"))
            .database(&lab.postgres.database())
            .start()?;
        let address = server.url().trim_start_matches("http://").parse()?;
        Ok(Self { server, address })
    }

    /// Creates a pool whose released addresses are free at once.
    pub(crate) fn create_pool(&self, name: &str, subnet: &str, more: &Value) -> Result<()> {
        let mut pool = json!({ "name": name, "subnet": subnet, "reuse_delay_s": 0 });
        if let (Some(pool), Some(more)) = (pool.as_object_mut(), more.as_object()) {
            pool.extend(more.clone());
        }
        let answer = self.server.rest().post("/v1/pools", &pool)?;
        ensure!(answer.status == 201, "POST /v1/pools: {}", answer.body);
        Ok(())
    }

    /// Claims until the pool has `held` leases.
    pub(crate) fn fill(&self, pool: &str, held: u64) -> Result<()> {
        let before = self.pool(pool)?.usage.leased;
        if held > before {
            load::claims(self.address, pool, FILLERS, Plan::Count(held - before))?;
        }
        let after = self.pool(pool)?.usage.leased;
        ensure!(after == held, "{pool} has {after} leases instead of {held}");
        Ok(())
    }

    pub(crate) fn pool(&self, name: &str) -> Result<Pool> {
        let answer = self.server.rest().get(&format!("/v1/pools/{name}"))?;
        ensure!(answer.status == 200, "GET pool: {}", answer.body);
        Ok(serde_json::from_value(answer.body)?)
    }

    /// No address is leased twice, and every address of every pool is accounted for.
    pub(crate) fn check_books(&self) -> Result<()> {
        let statement = "select count(*) - count(distinct (vrf_id, address)) from lease";
        let twice = lab::ask(self.server.database_url(), statement)?;
        ensure!(twice == "0", "{twice} addresses are leased twice");
        let answer = self.server.rest().get("/v1/pools?limit=1000")?;
        let pools: Page<Pool> = serde_json::from_value(answer.body)?;
        ensure!(!pools.items.is_empty(), "no pool is left");
        for pool in pools.items {
            let usage = &pool.usage;
            let counted = usage.leased + usage.cooling + usage.quarantined + usage.reserved;
            let (free, size): (u128, u128) = (usage.free_exact.parse()?, usage.size_exact.parse()?);
            ensure!(
                free + u128::from(counted) == size,
                "{}: {usage:?}",
                pool.name
            );
            let statement = format!(
                "select count(*) from lease join pool on pool.id = pool_id where name = '{}'",
                pool.name
            );
            let rows: u64 = lab::ask(self.server.database_url(), &statement)?.parse()?;
            ensure!(
                rows == usage.leased,
                "{}: {rows} leases, {usage:?}",
                pool.name
            );
        }
        Ok(())
    }

    /// The memory that the server occupies now, in MiB.
    pub(crate) fn memory_mib(&self) -> Result<f64> {
        let pid = self.server.pid().context("the server runs")?;
        let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kib: f64 = line
            .and_then(|line| line.trim().strip_suffix(" kB"))
            .context("a process has a VmRSS")?
            .trim()
            .parse()?;
        Ok(kib / 1024.0)
    }
}
