//! Telling the neighbours about a new address, so that they forget the hardware address of its previous holder.

use std::net::IpAddr;

use cni::Error;

use crate::frame::Port;
use crate::link::{self, Link};
use crate::netlink::Netlink;
use crate::sysctl;

/// Lets the kernel announce the interface's addresses when it comes up, and whenever [`now`] is called: IPv4 by
/// gratuitous ARP, IPv6 by unsolicited neighbour advertisement.
pub fn enable(container: &Netlink, interface: &Link) -> Result<(), Error> {
    let name = &interface.name;
    sysctl::write(container, &format!("ipv4/conf/{name}/arp_notify"), "1")?;
    sysctl::write(container, &format!("ipv6/conf/{name}/ndisc_notify"), "1")
}

/// Announces the addresses now: what the kernel sent when the interface came up may have been lost, because a bridge
/// forwards nothing from a port until it has noticed the carrier.
///
/// Setting a hardware address makes the kernel announce, also when it is the one that the interface has already.
pub fn now(container: &Netlink, interface: &Link) -> Result<(), Error> {
    let Some(mac) = interface.mac else {
        return Ok(());
    };
    link::change(container, interface, "announce", |message| {
        message.address(mac.bytes().to_vec())
    })
}

/// Announces on the link that the host answers there for these addresses, which are not its own: the kernel answers for
/// them, but announces only its own.
pub fn answered_for(link: &Link, addresses: impl Iterator<Item = IpAddr>) -> Result<(), Error> {
    let Some(port) = Port::of(link)? else {
        return Ok(());
    };
    for address in addresses {
        port.announce(address)?;
    }
    Ok(())
}
