//! A subnet, and which of its addresses have a meaning of their own.

use std::fmt;
use std::net::IpAddr;

use ipnetwork::IpNetwork;

use super::Interval;
use crate::store::Addr;

/// A subnet of either family, without host bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Subnet {
    pub(crate) first: Addr,
    pub(crate) last: Addr,
    pub(crate) prefix: u8,
}

impl Subnet {
    /// The subnet that the network is, its host bits dropped.
    pub(crate) fn of(network: IpNetwork) -> Self {
        Self {
            first: network.network().into(),
            last: network.broadcast().into(),
            prefix: network.prefix(),
        }
    }

    /// All its addresses.
    pub(crate) fn interval(self) -> Interval {
        Interval {
            first: self.first,
            last: self.last,
        }
    }

    /// Whether the address is in it.
    pub(crate) fn contains(self, address: Addr) -> bool {
        self.interval().contains(address)
    }

    /// Whether it is an IPv4 subnet.
    pub(crate) fn is_v4(self) -> bool {
        self.first.is_v4()
    }

    /// The address that stands for the subnet itself: IPv4's network address, IPv6's subnet-router anycast address (RFC
    /// 4291 §2.6.1). A /31, /32, /127 or /128 has none (RFC 3021, RFC 6164).
    pub(crate) fn own_address(self) -> Option<Addr> {
        (self.prefix <= self.longest() - 2).then_some(self.first)
    }

    /// IPv4's broadcast address; a /31 and a /32 have none.
    pub(crate) fn broadcast(self) -> Option<Addr> {
        (self.is_v4() && self.prefix <= 30).then_some(self.last)
    }

    /// What the own address is called.
    pub(crate) fn own_address_name(self) -> &'static str {
        if self.is_v4() {
            "network address"
        } else {
            "subnet-router anycast address"
        }
    }

    /// The addresses that are never leased, as a set.
    pub(crate) fn never_leased(self) -> Vec<Interval> {
        [self.own_address(), self.broadcast()]
            .into_iter()
            .flatten()
            .map(Interval::one)
            .collect()
    }

    /// The gateway of a pool that names none: the first usable address. A subnet that has no address to spare (/31, /32,
    /// /127, /128) has no default gateway.
    pub(crate) fn default_gateway(self) -> Option<Addr> {
        self.own_address().map(Addr::next)
    }

    fn longest(self) -> u8 {
        if self.is_v4() { 32 } else { 128 }
    }
}

impl fmt::Display for Subnet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", IpAddr::from(self.first), self.prefix)
    }
}
