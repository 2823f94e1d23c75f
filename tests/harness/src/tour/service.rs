//! The service and its admin: ipam-server on the switch, its tokens, and what is asked of its API.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use harness::namespaces::Namespace;
use harness::rest::Rest;
use harness::server::{Launch, Server, token_file};
use ipam_api::{HistoryEntry, Lease, Page as List, Pool};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

/// Where the service listens.
pub(crate) const URL: &str = "http://10.0.0.5:7070";

/// What an admin types before a path.
pub(crate) const CURL: &str = "curl -H @auth http://10.0.0.5:7070";

/// What nodes send: claim, release, gc, check and status only.
pub(crate) const NODE_TOKEN: &str = "a-token-for-the-nodes";

const ADMIN_TOKEN: &str = "a-token-for-the-admins";

/// The running service and the admin's client of it.
pub(crate) struct Service {
    pub(crate) server: Server,
    admin: Rest,
}

impl Service {
    /// Starts the server on the switch.
    pub(crate) fn start(switch: &Namespace, binaries: &Path) -> Result<Self> {
        let file = |name: &str| switch.folder().join(name);
        token_file(&file("admin.token"), ADMIN_TOKEN)?;
        token_file(&file("node.token"), NODE_TOKEN)?;
        let path = |path: &Path| path.display().to_string();
        let server = Launch::new()
            .program(binaries.join("ipam-server"))
            .inside(switch)
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
    pub(crate) fn create_pool(&self, pool: &Value) -> Result<Pool> {
        let answer = self.admin.post("/v1/pools", pool)?;
        ensure!(answer.status == 201, "POST /v1/pools: {}", answer.body);
        Ok(serde_json::from_value(answer.body)?)
    }

    /// A pool with its usage.
    pub(crate) fn pool(&self, name: &str) -> Result<Pool> {
        self.get(&format!("/v1/pools/{name}"))
    }

    /// Every lease.
    pub(crate) fn leases(&self) -> Result<Vec<Lease>> {
        Ok(self.get::<List<Lease>>("/v1/leases?limit=100")?.items)
    }

    /// Who held an address at a time (RFC 3339).
    pub(crate) fn holder(&self, address: &str, at: &str) -> Result<HistoryEntry> {
        let path = format!("/v1/history?vrf=default&address={address}&at={at}");
        let holders = self.get::<List<HistoryEntry>>(&path)?.items;
        holders.into_iter().next().context("nobody held it")
    }

    /// The status of a request without a token.
    pub(crate) fn status_for_strangers(&self) -> Result<u16> {
        Ok(Rest::new(URL)?.get("/v1/leases")?.status)
    }

    /// The status of a pool's creation by a node.
    pub(crate) fn status_for_nodes(&self) -> Result<u16> {
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
