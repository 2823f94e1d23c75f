//! An ipam-server on the lab's PostgreSQL or out of a file, the claims that fill it, and the check of its books.

use std::net::SocketAddr;

use anyhow::{Context, Result, ensure};
use harness::server::{Launch, Server};
use ipam_api::Pool;
use ipam_server::store::Store;
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
        Self::launch(lab, Launch::new().database(&lab.postgres.database()))
    }

    /// Out of an SQLite file.
    pub(crate) fn start_on_file(lab: &Lab) -> Result<Self> {
        Self::launch(lab, Launch::new())
    }

    fn launch(lab: &Lab, launch: Launch<'_>) -> Result<Self> {
        let server = launch.program(lab.binaries.join("ipam-server")).start()?;
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

    /// No address is leased twice, and every address of every pool is in one state and counted in it, by the rows
    /// themselves.
    pub(crate) fn check_books(&self) -> Result<()> {
        let url = self.server.database_url();
        let statement = "select count(*) - count(distinct (vrf_id, address)) from lease";
        let twice = lab::ask(url, statement)?;
        ensure!(twice == "0", "{twice} addresses are leased twice");
        let pools = lab::ask(url, "select count(*) from pool")?;
        ensure!(pools != "0", "no pool is left");
        audit(url)
    }

    /// The same of a file, which a running server keeps to itself: stops it first.
    pub(crate) fn stop_and_check_books(mut self) -> Result<()> {
        let ended = self.server.sigterm()?;
        ensure!(ended.success(), "the server ended with {ended}");
        audit(self.server.database_url())
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

fn audit(url: &str) -> Result<()> {
    let found = tokio::runtime::Runtime::new()?.block_on(async {
        let store = Store::open_unchanged(url).await?;
        let found = store.audit().await;
        store.close().await;
        found
    })?;
    ensure!(found.is_empty(), "the books are wrong: {found:#?}");
    Ok(())
}
