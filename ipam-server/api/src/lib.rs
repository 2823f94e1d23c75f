//! The wire contract of ipam-server (`/v1`), shared by the server and its clients.
//!
//! One struct per concept, also used as the domain type inside the server. Requests refuse unknown fields, and so do the
//! parts that answers share with them; a client that has to outlive servers reads the fields that it needs, as the plugin
//! does. Times are RFC 3339 in UTC.

mod claim;
mod history;
mod lease;
mod node;
mod pool;
mod problem;
mod release;

pub use claim::{Attachment, Claim, Entry, Pod};
pub use history::{HistoryEntry, PoolChange};
pub use lease::{Lease, Leases};
pub use node::{ForgetDryRun, Node};
pub use pool::{Dns, DryRun, NewPool, Pool, PoolPatch, PoolState, Range, Route, Usage, Vrf};
pub use problem::{Code, Problem};
pub use release::{
    CheckAnswer, CheckRequest, EntryStatus, GcRequest, PoolStatus, Release, ReleaseRequest,
    Released, StatusAnswer, StatusRequest, ValidAttachment,
};

use serde::{Deserialize, Serialize};

/// The header that every answer carries: the id of the service (of its database) that gave it.
pub const SERVICE_ID_HEADER: &str = "ipam-service-id";

/// The cluster of a node for which none is named.
pub const DEFAULT_CLUSTER: &str = "default";

/// One page of a list: `next_cursor` is absent on the last page.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq)]
pub struct Page<T> {
    /// The items of this page, in the list's order.
    pub items: Vec<T>,
    /// Give this back as `?cursor=` for the next page.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_cursor: Option<String>,
}

/// A field of a PATCH that tells "left out" from "set to null".
///
/// Use with `#[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]`.
pub(crate) fn present<'de, T, D>(deserializer: D) -> Result<Option<Option<T>>, D::Error>
where
    T: Deserialize<'de>,
    D: serde::Deserializer<'de>,
{
    Option::<T>::deserialize(deserializer).map(Some)
}
