//! `ipMasq`: packets from a container to places outside its subnet leave with the node's own address.
//!
//! Rules are found again by their owner's mark, never by an address: a late DEL must not touch what the next holder of
//! the address has. Tables, chains and comments are upstream's, so that either can clean up after the other.

mod iptables;
mod nftables;

use std::collections::HashSet;

use cni::{Error, ValidAttachment};
use ipnetwork::IpNetwork;

use crate::owner::Owner;
use crate::undo;

/// What makes the rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Backend {
    /// nf_tables over netlink: the default.
    #[default]
    Nftables,
    /// The `iptables` programs, for a host whose other rules are theirs.
    Iptables,
}

impl Backend {
    /// The value of `ipMasqBackend`; absent or empty is the default.
    pub fn parse(text: Option<&str>) -> Result<Backend, Error> {
        match text.unwrap_or_default() {
            "" | "nftables" => Ok(Backend::Nftables),
            "iptables" => Ok(Backend::Iptables),
            other => Err(Error::internal(format!("unknown ipmasq backend {other:?}"))),
        }
    }
}

/// Masquerades the owner's addresses. What the owner had before is replaced.
pub fn set_up(backend: Backend, owner: &Owner, addresses: &[IpNetwork]) -> Result<(), Error> {
    match backend {
        Backend::Nftables => nftables::set_up(owner, addresses),
        Backend::Iptables => iptables::set_up(owner, addresses),
    }
}

/// Removes the owner's rules, whichever backend made them.
pub fn tear_down(owner: &Owner) -> Result<(), Error> {
    let nftables = nftables::tear_down(owner);
    undo::all([nftables, iptables::tear_down(owner)])
}

/// Fails unless every address of the owner is masqueraded.
pub fn check(backend: Backend, owner: &Owner, addresses: &[IpNetwork]) -> Result<(), Error> {
    match backend {
        Backend::Nftables => nftables::check(owner, addresses),
        Backend::Iptables => iptables::check(owner, addresses),
    }
}

/// Removes the rules of the network's attachments that are not valid any more.
pub fn collect(network: &str, valid: &[ValidAttachment]) -> Result<(), Error> {
    let nftables = nftables::collect(network, &marks(network, valid));
    let containers: HashSet<_> = valid.iter().map(|a| a.container_id.as_str()).collect();
    undo::all([nftables, iptables::collect(network, &containers)])
}

/// The marks of the valid attachments of a network.
pub fn marks(network: &str, valid: &[ValidAttachment]) -> HashSet<String> {
    let owner = |attachment: &ValidAttachment| Owner {
        network: network.to_owned(),
        container_id: attachment.container_id.clone(),
        ifname: attachment.ifname.clone(),
    };
    valid.iter().map(|a| owner(a).mark()).collect()
}
