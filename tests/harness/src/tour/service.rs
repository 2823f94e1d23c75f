//! The service and its admin: ipam-server on one of the machines, its tokens, and what is asked of its API.

use std::path::Path;

use crate::namespaces::Namespace;
use crate::rest::Rest;
use crate::server::{Launch, Server, token_file};
use anyhow::{Context, Result, ensure};
use ipam_api::{HistoryEntry, Lease, Page as List, Pool};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

/// Where the service listens.
pub(super) const URL: &str = "http://10.0.0.5:7070";

/// What an admin types before a path.
pub const CURL: &str = "curl -H @auth http://10.0.0.5:7070";

/// What nodes send: claim, release, gc, check and status only.
pub(super) const NODE_TOKEN: &str = "a-token-for-the-nodes";

const ADMIN_TOKEN: &str = "a-token-for-the-admins";

/// The running service and the admin's client of it.
#[derive(Debug)]
pub struct Service {
    /// The process.
    pub server: Server,
    admin: Rest,
}

impl Service {
    /// Starts the server on a machine.
    ///
    /// # Errors
    /// When it does not become ready.
    pub(super) fn start(machine: &Namespace, binaries: &Path) -> Result<Self> {
        let file = |name: &str| machine.folder().join(name);
        token_file(&file("admin.token"), ADMIN_TOKEN)?;
        token_file(&file("node.token"), NODE_TOKEN)?;
        let path = |path: &Path| path.display().to_string();
        let server = Launch::new()
            .program(binaries.join("ipam-server"))
            .inside(machine)
            .listen("10.0.0.5:7070")
            .args(["--admin-token-file".to_owned(), path(&file("admin.token"))])
            .args(["--node-token-file".to_owned(), path(&file("node.token"))])
            .token(ADMIN_TOKEN)
            .start()?;
        Ok(Self {
            server,
            admin: Rest::new(URL)?.with_token(ADMIN_TOKEN),
        })
    }

    /// Creates a pool and answers it.
    ///
    /// # Errors
    /// When there is no answer, or another than expected.
    pub(super) fn create_pool(&self, pool: &Value) -> Result<Pool> {
        let answer = self.admin.post("/v1/pools", pool)?;
        ensure!(answer.status == 201, "POST /v1/pools: {}", answer.body);
        Ok(serde_json::from_value(answer.body)?)
    }

    /// A pool with its usage.
    ///
    /// # Errors
    /// When there is no answer, or another than expected.
    pub fn pool(&self, name: &str) -> Result<Pool> {
        self.get(&format!("/v1/pools/{name}"))
    }

    /// Every lease.
    ///
    /// # Errors
    /// When there is no answer, or another than expected.
    pub fn leases(&self) -> Result<Vec<Lease>> {
        Ok(self.get::<List<Lease>>("/v1/leases?limit=100")?.items)
    }

    /// Who held an address at a time (RFC 3339).
    ///
    /// # Errors
    /// When there is no answer, or another than expected.
    pub fn holder(&self, address: &str, at: &str) -> Result<HistoryEntry> {
        let path = format!("/v1/history?vrf=default&address={address}&at={at}");
        let holders = self.get::<List<HistoryEntry>>(&path)?.items;
        holders.into_iter().next().context("nobody held it")
    }

    /// The status of a request without a token.
    ///
    /// # Errors
    /// When there is no answer, or another than expected.
    pub(super) fn status_for_strangers(&self) -> Result<u16> {
        Ok(Rest::new(URL)?.get("/v1/leases")?.status)
    }

    /// The status of a pool's creation by a node.
    ///
    /// # Errors
    /// When there is no answer, or another than expected.
    pub(super) fn status_for_nodes(&self) -> Result<u16> {
        let node = Rest::new(URL)?.with_token(NODE_TOKEN);
        let pool = json!({ "name": "mine", "subnet": "10.9.0.0/24" });
        Ok(node.post("/v1/pools", &pool)?.status)
    }

    fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T> {
        let answer = self.admin.get(path)?;
        ensure!(answer.status == 200, "GET {path}: {}", answer.body);
        Ok(serde_json::from_value(answer.body)?)
    }
}
