//! What can go wrong, in words of the domain. `http/error.rs` maps each to a status and a code.

use std::fmt::Write;
use std::net::IpAddr;

use ipam_api::Attachment;

/// The result of everything that touches the store.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// A situation that a caller can act on, with the names of the things involved.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A field of the request is wrong; the text names it and its value.
    #[error("{0}")]
    Invalid(String),
    /// There is no vrf of this name.
    #[error("there is no vrf {0:?}; create it first with POST /v1/vrfs")]
    VrfNotFound(String),
    /// There is no pool of this name.
    #[error("there is no pool {0:?}")]
    PoolNotFound(String),
    /// There is no lease of this id (any more).
    #[error("there is no lease {0:?}")]
    LeaseNotFound(String),
    /// There is no node of this name.
    #[error("there is no node {name:?} in cluster {cluster:?}")]
    NodeNotFound {
        /// The cluster.
        cluster: String,
        /// The node.
        name: String,
    },
    /// No pool of an entry can lease an address now.
    #[error("entries[{entry}]: {detail}")]
    PoolExhausted {
        /// The entry's index in the claim.
        entry: usize,
        /// Which pools, their size, leased and cooling addresses, or why they lease nothing new.
        detail: String,
        /// Seconds until the next cooling address is free, when only cooling ones are left.
        retry_after_s: Option<u64>,
    },
    /// A wanted address is held by another attachment.
    #[error("wanted address {address} of pool {pool:?} is held by {holder}")]
    AddressTaken {
        /// The address.
        address: IpAddr,
        /// The pool.
        pool: String,
        /// Who holds it.
        holder: String,
    },
    /// The attachment holds leases that do not satisfy the claim.
    #[error(
        "attachment {attachment} holds {held}, which does not satisfy this claim; release it first"
    )]
    AttachmentDiffers {
        /// The attachment.
        attachment: Box<Attachment>,
        /// What it holds.
        held: String,
    },
    /// A release of this attachment, issued later than this claim, was served already.
    #[error("a release of attachment {0} that was issued after this claim was served already")]
    Superseded(Box<Attachment>),
    /// Two machines use one node name; or one that is to be forgotten goes on using it.
    #[error("node {node:?} of cluster {cluster:?}: {detail}")]
    NodeNameConflict {
        /// The cluster.
        cluster: String,
        /// The node.
        node: String,
        /// What was seen.
        detail: String,
    },
    /// The pool, or a part of it that would go, holds leases.
    #[error(
        "pool {pool:?}: {total} lease(s) stand in the way, the first: {first}; exclude the addresses or drain the pool, and try again when they are released"
    )]
    PoolInUse {
        /// The pool.
        pool: String,
        /// How many.
        total: u64,
        /// The first few addresses and their holders.
        first: String,
    },
    /// Ranges or subnets collide.
    #[error("{0}")]
    RangesOverlap(String),
    /// `If-Match` names another version than the present one.
    #[error("pool {pool:?} has changed since: it is at version {present}, If-Match names {asked}")]
    Stale {
        /// The pool.
        pool: String,
        /// Its version.
        present: i64,
        /// The version that the request named.
        asked: String,
    },
    /// Something of that name exists and differs.
    #[error("{0} exists already, with other settings")]
    AlreadyExists(String),
    /// The database is away, or there is too much to do; worth another try.
    #[error("{reason}")]
    Unavailable {
        /// In plain words.
        reason: String,
        /// What it came from; logged, never answered.
        source: Option<sqlx::Error>,
    },
    /// The database refused a statement. Only inside the store: `store/retry.rs` tells what it means before it gets out.
    #[error("the database failed")]
    Database(#[from] sqlx::Error),
    /// Anything else; logged, never answered.
    #[error("internal error")]
    Internal(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl Error {
    /// Something that is worth another try, without a cause below it.
    pub fn unavailable(reason: impl Into<String>) -> Self {
        Self::Unavailable {
            reason: reason.into(),
            source: None,
        }
    }

    /// Something that must not happen: told to the log, not to the client.
    pub fn internal(cause: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self::Internal(cause.into())
    }

    /// The answer to each of a batch of `count` that failed as a whole. Its cause stays with the first: once in the log is
    /// enough.
    pub(crate) fn for_each_of<T>(self, count: usize) -> Vec<Result<T>> {
        let again = || match &self {
            Self::Unavailable { reason, .. } => Self::unavailable(reason.clone()),
            other => Self::internal(other.to_string()),
        };
        let others: Vec<_> = (1..count).map(|_| Err(again())).collect();
        let first = (count > 0).then_some(Err(self));
        first.into_iter().chain(others).collect()
    }
}

/// An error with everything that it came from, but for what its own words tell already.
pub fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut below = error.source();
    while let Some(cause) = below {
        let words = cause.to_string();
        if !text.ends_with(&words) {
            // Writing to a string does not fail.
            let _ = write!(text, ": {words}");
        }
        below = cause.source();
    }
    text
}
