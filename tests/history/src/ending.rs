//! What the database holds when all is over.

use std::collections::BTreeSet;
use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use ipam_api::{Attachment, Usage};
use time::OffsetDateTime;

/// The active leases, the history and the pools' accounts.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Ending {
    /// Every lease that ever was.
    pub lives: Vec<Life>,
    /// Every pool.
    pub pools: Vec<Pool>,
    /// Whether the database's clock was moved meanwhile: then its times tell the order of things, and not how long they
    /// took.
    pub clock_moved: bool,
    /// Nodes, by cluster and name, of which everything was freed by hand at the end.
    pub forgotten: BTreeSet<(String, String)>,
}

/// A lease, from its making to its release.
#[derive(Clone, Debug, PartialEq)]
pub struct Life {
    /// The lease's id.
    pub lease: String,
    /// The address space.
    pub vrf: String,
    /// The pool.
    pub pool: String,
    /// The address.
    pub address: IpAddr,
    /// Who holds or held it.
    pub attachment: Attachment,
    /// By the database's clock.
    pub created: OffsetDateTime,
    /// By the database's clock, and why (`release`, `gc`, `replaced`, `reclaim`, `forgotten`); none while it is held.
    pub released: Option<(OffsetDateTime, String)>,
}

/// A pool's settings and what it says of itself.
#[derive(Clone, Debug, PartialEq)]
pub struct Pool {
    /// Its name.
    pub name: String,
    /// How many addresses it was made with.
    pub size: u64,
    /// How many of them it was made never to lease.
    pub reserved: u64,
    /// How long an address rests.
    pub reuse_delay: Duration,
    /// What it says.
    pub usage: Usage,
}

impl fmt::Display for Life {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            lease,
            vrf,
            pool,
            address,
            attachment,
            created,
            released,
        } = self;
        write!(
            f,
            "lease {lease} of {address} (vrf {vrf}, pool {pool}) by {attachment}, made {created}"
        )?;
        match released {
            Some((at, reason)) => write!(f, ", released {at} ({reason})"),
            None => f.write_str(", held"),
        }
    }
}
