//! Addresses of links.

use std::net::IpAddr;

use cni::Error;
use ipnetwork::IpNetwork;
use nix::errno::Errno;
use rtnetlink::packet_route::address::{
    AddressAttribute, AddressFlags, AddressHeaderFlags, AddressMessage,
};

use crate::link::Link;
use crate::netlink::Netlink;

/// An address on a link.
#[derive(Clone, Debug)]
pub struct Address {
    /// The address with its prefix length.
    pub network: IpNetwork,
    /// Duplicate address detection has not come to an end yet.
    pub tentative: bool,
    /// Somebody else has the address.
    pub duplicate: bool,
    message: AddressMessage,
}

impl Address {
    fn of(message: AddressMessage) -> Option<Address> {
        let mut local = None;
        let mut address = None;
        let mut flags = AddressFlags::empty();
        for attribute in &message.attributes {
            match attribute {
                AddressAttribute::Local(ip) => local = Some(*ip),
                AddressAttribute::Address(ip) => address = Some(*ip),
                AddressAttribute::Flags(all) => flags = *all,
                _ => {}
            }
        }
        let tentative = AddressHeaderFlags::Tentative;
        Some(Address {
            network: IpNetwork::new(local.or(address)?, message.header.prefix_len).ok()?,
            tentative: message.header.flags.contains(tentative)
                || flags.contains(AddressFlags::Tentative),
            duplicate: flags.contains(AddressFlags::Dadfailed),
            message,
        })
    }
}

/// The addresses of a link.
pub fn list(netlink: &Netlink, link: &Link) -> Result<Vec<Address>, Error> {
    let request = netlink.handle().address().get();
    let request = request.set_link_index_filter(link.index);
    match netlink.collect(request.execute()) {
        Ok(messages) => Ok(messages.into_iter().filter_map(Address::of).collect()),
        Err(failure) => {
            let (name, place) = (&link.name, netlink.place());
            Err(failure.during(format!(
                "failed to list the addresses of {name:?} in {place}"
            )))
        }
    }
}

/// Adds an address to a link and says whether it is new there.
pub fn add(netlink: &Netlink, link: &Link, address: IpNetwork) -> Result<bool, Error> {
    add_with(netlink, link, address, AddressFlags::empty())
}

/// Adds an address to a link to which only one neighbour can ever be: nobody else can have it, so that no duplicate is
/// looked for, and no route to its subnet is made.
pub fn add_alone(netlink: &Netlink, link: &Link, address: IpNetwork) -> Result<bool, Error> {
    let flags = AddressFlags::Nodad | AddressFlags::Noprefixroute;
    add_with(netlink, link, address, flags)
}

fn add_with(
    netlink: &Netlink,
    link: &Link,
    address: IpNetwork,
    flags: AddressFlags,
) -> Result<bool, Error> {
    let request = netlink.handle().address();
    let mut request = request.add(link.index, address.ip(), address.prefix());
    if !flags.is_empty() {
        let attributes = &mut request.message_mut().attributes;
        attributes.push(AddressAttribute::Flags(flags));
    }
    match netlink.wait(request.execute()) {
        Ok(()) => Ok(true),
        Err(failure) if failure.is(Errno::EEXIST) => Ok(false),
        Err(failure) => {
            let (name, place) = (&link.name, netlink.place());
            let what = format!("failed to add IP addr {address} to {name:?} in {place}");
            Err(failure.during(what))
        }
    }
}

/// Adds an address again that was deleted, just as it was.
pub fn put_back(netlink: &Netlink, link: &Link, address: &Address) -> Result<(), Error> {
    let network = address.network;
    let mut request = (netlink.handle().address()).add(link.index, network.ip(), network.prefix());
    *request.message_mut() = address.message.clone();
    match netlink.wait(request.execute()) {
        Err(failure) if !failure.is(Errno::EEXIST) => {
            let (name, place) = (&link.name, netlink.place());
            let what = format!("failed to add IP addr {network} to {name:?} in {place}");
            Err(failure.during(what))
        }
        _ => Ok(()),
    }
}

/// Deletes an address that was listed before; one that is gone already is fine.
pub fn delete(netlink: &Netlink, link: &Link, address: &Address) -> Result<(), Error> {
    let request = netlink.handle().address().del(address.message.clone());
    match netlink.wait(request.execute()) {
        Err(failure) if !failure.is(Errno::EADDRNOTAVAIL) && !failure.is(Errno::ENODEV) => {
            let (name, place, ip) = (&link.name, netlink.place(), address.network);
            Err(failure.during(format!(
                "failed to remove IP addr {ip} from {name:?} in {place}"
            )))
        }
        _ => Ok(()),
    }
}

/// Whether two prefixes share an address.
pub fn overlap(a: IpNetwork, b: IpNetwork) -> bool {
    a.contains(b.ip()) || b.contains(a.ip())
}

/// The subnet of an address: the host's bits cleared.
pub fn subnet(address: IpNetwork) -> IpNetwork {
    IpNetwork::new(address.network(), address.prefix()).unwrap_or(address)
}

/// The address alone, with the prefix of a single host.
pub fn host(ip: IpAddr) -> IpNetwork {
    IpNetwork::from(ip)
}
