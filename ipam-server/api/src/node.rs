//! Machines that run plugins.

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use crate::Lease;

/// A node, as far as its plugins have told, and what it holds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Node {
    /// The cluster.
    pub cluster: String,
    /// The name.
    pub name: String,
    /// The machine that uses the name (`/etc/machine-id`).
    pub machine_id: Option<String>,
    /// The boot that it is in.
    pub boot_id: Option<String>,
    /// When the name was first seen.
    #[serde(with = "time::serde::rfc3339")]
    pub created_at: OffsetDateTime,
    /// When the boot was first seen.
    #[serde(with = "time::serde::rfc3339::option")]
    pub boot_seen_at: Option<OffsetDateTime>,
    /// When the youngest of its leases was made.
    #[serde(with = "time::serde::rfc3339::option")]
    pub last_claim_at: Option<OffsetDateTime>,
    /// Since when two machines are known to use the name at once: nothing is freed for a reboot or by a GC until the node
    /// is forgotten.
    #[serde(default, with = "time::serde::rfc3339::option")]
    pub disputed_at: Option<OffsetDateTime>,
    /// How many leases it holds, the quarantined ones included.
    pub leases: u64,
    /// How many of them are of a boot that it has left, and are freed soon.
    pub quarantined: u64,
}

/// What forgetting a node would do.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ForgetDryRun {
    /// How many leases it would free.
    pub leases_freed_total: u64,
    /// The first of them, at most 100.
    pub leases_freed: Vec<Lease>,
}
