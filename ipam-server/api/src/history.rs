//! The past: who held an address, and how a pool was changed.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use crate::{Attachment, Pod};

/// One lease's whole life.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct HistoryEntry {
    /// The lease's id.
    pub lease_id: String,
    /// The address space.
    pub vrf: String,
    /// The pool that the address was from.
    pub pool: String,
    /// The address.
    pub address: IpAddr,
    /// Who held it.
    pub attachment: Attachment,
    /// The pod's identity, as far as it was told.
    pub pod: Pod,
    /// Reserved for identities that outlive containers.
    pub owner: Option<String>,
    /// When it was leased.
    #[serde(with = "time::serde::rfc3339")]
    pub created_at: OffsetDateTime,
    /// When it was released; null for the present holder.
    #[serde(with = "time::serde::rfc3339::option")]
    pub released_at: Option<OffsetDateTime>,
    /// What ended it: `release`, `gc`, `admin`, `replaced` (by a claim of a later boot), `reclaim` (its boot was over) or
    /// `forgotten` (its node was); null for the present holder.
    pub reason: Option<String>,
}

/// One change of a pool.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PoolChange {
    /// The pool's name.
    pub pool: String,
    /// When it was changed.
    #[serde(with = "time::serde::rfc3339")]
    pub at: OffsetDateTime,
    /// `create`, `change` or `delete`.
    pub action: String,
    /// The pool's settings after the change (before it, for a delete).
    pub settings: serde_json::Value,
}
