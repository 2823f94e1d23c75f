//! Errors on the wire: RFC 9457 problem details with a stable `code`.

use serde::{Deserialize, Serialize};

/// The closed list of error codes that clients match on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Code {
    /// Malformed, an unknown field, or an address outside every pool.
    InvalidRequest,
    /// No such vrf.
    VrfNotFound,
    /// No such pool.
    PoolNotFound,
    /// No such lease.
    LeaseNotFound,
    /// No such node.
    NodeNotFound,
    /// Every pool of an entry is exhausted (or leases nothing new).
    PoolExhausted,
    /// A wanted address is held by another.
    AddressTaken,
    /// The attachment holds leases that do not satisfy this claim.
    AttachmentDiffers,
    /// The claim is older than a release that was served.
    Superseded,
    /// Another service answered than the one that the client is pinned to.
    WrongService,
    /// Two machines use one node name; or one that is to be forgotten goes on using it.
    NodeNameConflict,
    /// The pool, or a range of it, holds leases.
    PoolInUse,
    /// The ranges or subnets collide with another pool's.
    RangesOverlap,
    /// `If-Match` names another version.
    Stale,
    /// Something of that name exists already, and differs.
    AlreadyExists,
    /// No, or an unknown, token.
    Unauthenticated,
    /// The token does not allow this.
    Forbidden,
    /// No such route.
    NotFound,
    /// The database is away or the queue is full; try again.
    Unavailable,
    /// Anything else; details are in the server's log.
    #[serde(other)]
    Internal,
}

/// The body of every error, `application/problem+json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Problem {
    /// `about:blank`: the code says it all.
    #[serde(rename = "type", default = "about_blank")]
    pub kind: String,
    /// The HTTP status' words.
    #[serde(default)]
    pub title: String,
    /// The HTTP status.
    pub status: u16,
    /// What happened, with the names of the things involved.
    pub detail: String,
    /// What clients match on.
    pub code: Code,
    /// The request's id, as in the server's log.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
}

fn about_blank() -> String {
    "about:blank".to_owned()
}
