//! Giving back (CNI DEL, GC), and asking without changing anything (CNI CHECK, STATUS).

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::claim::default_cluster;
use crate::{Attachment, Entry, Lease, PoolState};

/// One attachment that is released, with the order of its verb.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Release {
    /// The cluster.
    #[serde(default = "default_cluster")]
    pub cluster: String,
    /// The node.
    pub node: String,
    /// The network.
    pub network: String,
    /// The container.
    pub container_id: String,
    /// The interface.
    pub ifname: String,
    /// The boot in which the DEL was issued. An earlier boot than the lease's successor frees only leases of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub boot_id: Option<String>,
    /// When the DEL was issued (`CLOCK_BOOTTIME` nanoseconds); without it the order of arrival counts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub issued: Option<i64>,
    /// An ADD that gives up names its own `issued` here: only what that very claim created is freed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub claim_issued: Option<i64>,
}

impl Release {
    /// The attachment that is released.
    pub fn attachment(&self) -> Attachment {
        Attachment {
            cluster: self.cluster.clone(),
            node: self.node.clone(),
            network: self.network.clone(),
            container_id: self.container_id.clone(),
            ifname: self.ifname.clone(),
        }
    }
}

/// `POST /v1/release`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReleaseRequest {
    /// What is released; unknown ones succeed.
    pub attachments: Vec<Release>,
    /// The boot that the sender is in now: records of another boot are earlier ones and free only leases of that boot.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub boot_id: Option<String>,
}

/// The answer to a release or a GC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Released {
    /// How many leases were freed.
    pub released: u64,
}

/// An attachment that the runtime still knows (`cni.dev/valid-attachments`).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ValidAttachment {
    /// The container.
    pub container_id: String,
    /// The interface.
    pub ifname: String,
}

/// `POST /v1/gc`: free what this node holds on this network but for `valid`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GcRequest {
    /// The cluster.
    #[serde(default = "default_cluster")]
    pub cluster: String,
    /// The node; nothing of another is touched.
    pub node: String,
    /// The network; nothing of another is touched.
    pub network: String,
    /// The machine's id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub machine_id: Option<String>,
    /// The boot in which the GC was issued.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub boot_id: Option<String>,
    /// When it was issued: leases claimed later stay.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub issued: Option<i64>,
    /// What is still valid. Required: a missing list is never taken as an empty one.
    pub valid: Vec<ValidAttachment>,
}

/// `POST /v1/check`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CheckRequest {
    /// Who should hold the addresses.
    pub attachment: Attachment,
    /// What it should hold.
    pub addresses: Vec<IpAddr>,
}

/// The answer to a check.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CheckAnswer {
    /// Whether each asked address is held by the attachment, and at least one lease is.
    pub ok: bool,
    /// The asked addresses that it does not hold.
    pub missing: Vec<IpAddr>,
    /// What it does hold.
    pub leases: Vec<Lease>,
}

/// `POST /v1/status`: could these entries be served?
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StatusRequest {
    /// The entries of a claim.
    pub entries: Vec<Entry>,
}

/// The answer, at most one second old.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StatusAnswer {
    /// Whether each entry has a pool that is ready.
    pub ready: bool,
    /// Whether some entry has no ready pool with an address free now.
    pub exhausted: bool,
    /// Each entry by itself, in order.
    pub entries: Vec<EntryStatus>,
}

/// One entry's part of a status.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EntryStatus {
    /// Whether one of the pools is ready.
    pub ready: bool,
    /// Whether none of the ready pools has an address free now.
    pub exhausted: bool,
    /// Its pools, in order.
    pub pools: Vec<PoolStatus>,
}

/// One pool's part of a status.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PoolStatus {
    /// The pool's name.
    pub pool: String,
    /// Its state; absent when there is no such pool.
    pub state: Option<PoolState>,
    /// Its free addresses, saturated at 2^53−1.
    pub free: u64,
}
