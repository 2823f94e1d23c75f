//! Address spaces and pools.

use std::collections::BTreeMap;
use std::net::IpAddr;

use ipnetwork::IpNetwork;
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use crate::{Lease, present};

/// An address space: an address means one thing in it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Vrf {
    /// Its name; `default` always exists.
    pub name: String,
}

/// An interval of addresses, both ends included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Range {
    /// The lowest address.
    pub first: IpAddr,
    /// The highest address.
    pub last: IpAddr,
}

/// A route that comes with an address.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Route {
    /// The destination.
    pub dst: IpNetwork,
    /// The next hop; without one the runtime's main plugin uses the gateway.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gw: Option<IpAddr>,
}

/// Resolver settings that come with an address, in CNI's shape.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Dns {
    /// Name servers, in order of preference.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub nameservers: Vec<String>,
    /// The local domain.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub domain: String,
    /// Search domains.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub search: Vec<String>,
    /// Resolver options.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub options: Vec<String>,
}

impl Dns {
    /// Whether nothing is set.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// Whether a pool leases new addresses. Leases that are held live on in every state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PoolState {
    /// Leases new addresses.
    #[default]
    Ready,
    /// Leases nothing new, so that it runs empty.
    Draining,
    /// Leases nothing new until it is made ready again.
    Disabled,
}

/// `POST /v1/pools`. Only `name` and `subnet` are required.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewPool {
    /// The pool's name, unique in the service.
    pub name: String,
    /// The subnet, without host bits.
    pub subnet: IpNetwork,
    /// The address space; `default` when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vrf: Option<String>,
    /// What may be leased; when left out all of the subnet but the gateway and the addresses that are never leased.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ranges: Option<Vec<Range>>,
    /// Addresses and subnets inside the ranges that are not leased.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub exclude: Vec<IpNetwork>,
    /// Left out: the subnet's first usable address. Null: none.
    #[serde(
        default,
        deserialize_with = "present",
        skip_serializing_if = "Option::is_none"
    )]
    pub gateway: Option<Option<IpAddr>>,
    /// Routes that come with each address.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub routes: Vec<Route>,
    /// Resolver settings that come with each address.
    #[serde(default, skip_serializing_if = "Dns::is_empty")]
    pub dns: Dns,
    /// Seconds that a released address rests before a dynamic claim may get it; 60 when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reuse_delay_s: Option<u32>,
    /// Whether it leases new addresses.
    #[serde(default)]
    pub state: PoolState,
    /// Free-form notes of the admin's.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
}

/// `PATCH /v1/pools/{pool}`: what is left out stays; lists and maps are replaced whole.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PoolPatch {
    /// Null: all of the subnet, as at creation without ranges.
    #[serde(deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub ranges: Option<Option<Vec<Range>>>,
    /// The new exclusions.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exclude: Option<Vec<IpNetwork>>,
    /// Null: none.
    #[serde(deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub gateway: Option<Option<IpAddr>>,
    /// The new routes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub routes: Option<Vec<Route>>,
    /// The new resolver settings.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dns: Option<Dns>,
    /// The new delay in seconds; addresses that rest already keep theirs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reuse_delay_s: Option<u32>,
    /// The new state.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub state: Option<PoolState>,
    /// The new labels.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub labels: Option<BTreeMap<String, String>>,
}

/// How full a pool is: `free + leased + cooling + quarantined + reserved = size`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    /// The addresses inside the ranges, saturated at 2^53−1.
    pub size: u64,
    /// The same, exact, as a decimal string.
    pub size_exact: String,
    /// Addresses held by attachments.
    pub leased: u64,
    /// Released, but not yet leasable by a dynamic claim.
    pub cooling: u64,
    /// Withheld because the holder is suspected gone.
    pub quarantined: u64,
    /// Inside the ranges but excluded, or the gateway; saturated at 2^53−1.
    pub reserved: u64,
    /// Leasable now, saturated at 2^53−1.
    pub free: u64,
    /// The same, exact, as a decimal string.
    pub free_exact: String,
}

/// A pool as it is answered.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Pool {
    /// The pool's name.
    pub name: String,
    /// The address space.
    pub vrf: String,
    /// The subnet.
    pub subnet: IpNetwork,
    /// What may be leased.
    pub ranges: Vec<Range>,
    /// What of the ranges is not leased.
    pub exclude: Vec<IpNetwork>,
    /// The gateway, if there is one.
    pub gateway: Option<IpAddr>,
    /// Routes that come with each address.
    pub routes: Vec<Route>,
    /// Resolver settings that come with each address.
    pub dns: Dns,
    /// Seconds that a released address rests.
    pub reuse_delay_s: u32,
    /// Whether it leases new addresses.
    pub state: PoolState,
    /// Free-form notes of the admin's.
    pub labels: BTreeMap<String, String>,
    /// How full it is.
    pub usage: Usage,
    /// When it was created.
    #[serde(with = "time::serde::rfc3339")]
    pub created_at: OffsetDateTime,
    /// When it was last changed.
    #[serde(with = "time::serde::rfc3339")]
    pub updated_at: OffsetDateTime,
}

/// The answer to a change of a pool with `?dry_run=true`: what would happen; nothing was changed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DryRun {
    /// Whether the change would be carried out.
    pub possible: bool,
    /// The pool as it would be afterwards; absent for a delete.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pool: Option<Pool>,
    /// How many leases stand in the way.
    pub leases_in_the_way_total: u64,
    /// The first of them, at most 100.
    pub leases_in_the_way: Vec<Lease>,
}
