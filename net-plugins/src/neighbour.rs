//! Answering for containers: the host says on a link "send it to me" for addresses that it routes elsewhere (proxy ARP
//! and proxy NDP, one entry per address).

use std::net::IpAddr;

use cni::Error;
use nix::errno::Errno;
use rtnetlink::packet_route::AddressFamily;
use rtnetlink::packet_route::neighbour::{
    NeighbourAddress, NeighbourAttribute, NeighbourFlags, NeighbourMessage,
};
use rtnetlink::packet_route::route::RouteProtocol;

use crate::link::Link;
use crate::netlink::{Failure, Netlink};
use crate::sysctl;
use crate::undo::Undo;

/// The mark on the entries of these plugins ("protocol" in `ip neigh`): an administrator's own are not touched.
const PROTOCOL: u8 = 202;

/// Lets the host answer for `address` on `link`; says whether that is new.
pub fn answer_for(host: &Netlink, link: &Link, address: IpAddr) -> Result<bool, Error> {
    let mut request = (host.handle().neighbours())
        .add(link.index, address)
        .flags(NeighbourFlags::Proxy);
    let mark = NeighbourAttribute::Protocol(RouteProtocol::from(PROTOCOL));
    request.message_mut().attributes.push(mark);
    match acknowledged(host.wait(request.execute())) {
        Ok(()) => Ok(true),
        Err(failure) if failure.is(Errno::EEXIST) => Ok(false),
        Err(failure) => {
            let name = &link.name;
            Err(failure.during(format!("failed to answer for {address} on {name:?}")))
        }
    }
}

/// Settings of the link without which it does not answer, or only after a second. All containers of the host rely on
/// them, so that hardly anything may fail after them.
pub fn enable<'a>(
    host: &'a Netlink,
    link: &Link,
    v4: bool,
    undo: &mut Undo<'a>,
) -> Result<(), Error> {
    let name = &link.name;
    let family = if v4 { "ipv4" } else { "ipv6" };
    if !v4 {
        sysctl::change(host, &format!("ipv6/conf/{name}/proxy_ndp"), "1", undo)?;
    }
    let key = format!("{family}/neigh/{name}/proxy_delay");
    sysctl::change(host, &key, "0", undo)
}

/// Stops answering for `address` on any link.
pub fn stop_answering_for(host: &Netlink, address: IpAddr) -> Result<(), Error> {
    for entry in entries(host)? {
        if entry.address == address {
            delete(host, &entry)?;
        }
    }
    Ok(())
}

/// An entry of these plugins.
pub struct Entry {
    /// The address that is answered for.
    pub address: IpAddr,
    /// The link on which it is answered for.
    pub link: u32,
    message: NeighbourMessage,
}

/// The entries that these plugins made.
pub fn entries(host: &Netlink) -> Result<Vec<Entry>, Error> {
    let mut found = Vec::new();
    for family in [AddressFamily::Inet, AddressFamily::Inet6] {
        let request = host.handle().neighbours().get().proxies();
        let request = request.set_address_family(family);
        let messages = host.collect(request.execute()).map_err(|failure| {
            failure.during("failed to list the addresses that the host answers for")
        })?;
        found.extend(messages.into_iter().filter_map(entry));
    }
    Ok(found)
}

fn entry(message: NeighbourMessage) -> Option<Entry> {
    let mut address = None;
    let mut ours = false;
    for attribute in &message.attributes {
        match attribute {
            NeighbourAttribute::Destination(NeighbourAddress::Inet(ip)) => {
                address = Some(IpAddr::V4(*ip));
            }
            NeighbourAttribute::Destination(NeighbourAddress::Inet6(ip)) => {
                address = Some(IpAddr::V6(*ip));
            }
            NeighbourAttribute::Protocol(protocol) => ours = u8::from(*protocol) == PROTOCOL,
            _ => {}
        }
    }
    let address = address.filter(|_| ours)?;
    let link = message.header.ifindex;
    Some(Entry {
        address,
        link,
        message,
    })
}

/// Deletes an entry; one that is gone already is fine.
pub fn delete(host: &Netlink, entry: &Entry) -> Result<(), Error> {
    let request = host.handle().neighbours().del(entry.message.clone());
    match acknowledged(host.wait(request.execute())) {
        Err(failure) if !failure.is(Errno::ENOENT) && !failure.is(Errno::ENODEV) => {
            let address = entry.address;
            Err(failure.during(format!("failed to stop answering for {address}")))
        }
        _ => Ok(()),
    }
}

/// The library takes the acknowledgement of these requests for a refusal with number 0.
fn acknowledged(outcome: Result<(), Failure>) -> Result<(), Failure> {
    match outcome {
        Err(Failure::Errno(0)) => Ok(()),
        other => other,
    }
}
