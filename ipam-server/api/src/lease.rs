//! What a client gets: one address held by one attachment.

use std::net::IpAddr;

use ipnetwork::IpNetwork;
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use crate::{Attachment, Dns, Pod, Route};

/// One address held by one attachment, and what comes with it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Lease {
    /// Never used for another lease, also not for the same attachment's next one.
    pub id: String,
    /// The address space.
    pub vrf: String,
    /// The pool that the address is from.
    pub pool: String,
    /// The address with the pool's prefix length.
    pub address: IpNetwork,
    /// The pool's gateway, if it has one.
    #[serde(default)]
    pub gateway: Option<IpAddr>,
    /// The pool's routes.
    #[serde(default)]
    pub routes: Vec<Route>,
    /// The pool's DNS settings.
    #[serde(default)]
    pub dns: Dns,
    /// Who holds it.
    pub attachment: Attachment,
    /// The pod's identity, as far as it was told.
    #[serde(default)]
    pub pod: Pod,
    /// Reserved for identities that outlive containers.
    #[serde(default)]
    pub owner: Option<String>,
    /// When it was leased.
    #[serde(with = "time::serde::rfc3339")]
    pub created_at: OffsetDateTime,
    /// Set while its holder is suspected gone (its machine has rebooted since): it is freed at this time, unless a claim or
    /// a check gives a sign of life.
    #[serde(
        default,
        with = "time::serde::rfc3339::option",
        skip_serializing_if = "Option::is_none"
    )]
    pub quarantined_until: Option<OffsetDateTime>,
}

/// The answer to a claim: one lease per entry, in the entries' order.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Leases {
    /// The leases.
    pub leases: Vec<Lease>,
}
