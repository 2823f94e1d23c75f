//! Frames that are put on a link as they are, for what the kernel says only of addresses of its own.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::AsRawFd;

use cni::Error;
use etherparse::err::packet::BuildVecWriteError;
use etherparse::icmpv6::NeighborAdvertisementHeader;
use etherparse::{ArpEthIpv4Packet, ArpOperation, Icmpv6Type, PacketBuilder};
use nix::errno::Errno;
use nix::ifaddrs::getifaddrs;
use nix::sys::socket::{AddressFamily, LinkAddr, MsgFlags, SockFlag, SockType, bind, send, socket};

use crate::fault;
use crate::link::Link;
use crate::mac::Mac;

const BROADCAST: [u8; 6] = [0xff; 6];
/// Of all nodes of a link (RFC 2464 §7).
const ALL_NODES_MAC: [u8; 6] = [0x33, 0x33, 0, 0, 0, 1];
const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
/// The option "target link-layer address" and its length in units of eight bytes (RFC 4861 §4.6.1).
const TARGET_LINK: [u8; 2] = [2, 1];
/// Of all neighbour discovery: what has it has crossed no router (RFC 4861 §7.1.2).
const HOP_LIMIT: u8 = 255;

/// A link of this network namespace, as frames leave through it.
pub(crate) struct Port<'a> {
    link: &'a Link,
    address: LinkAddr,
    mac: Mac,
    link_local: Option<Ipv6Addr>,
}

impl<'a> Port<'a> {
    /// None when the link is not Ethernet.
    pub(crate) fn of(link: &'a Link) -> Result<Option<Self>, Error> {
        let (mut found, mut link_local) = (None, None);
        let entries = getifaddrs().map_err(|errno| failure(link, errno))?;
        let of_link = entries.filter(|entry| entry.interface_name == link.name);
        for address in of_link.filter_map(|entry| entry.address) {
            found = found.or(address.as_link_addr().copied());
            let v6 = address.as_sockaddr_in6().map(|address| address.ip());
            link_local = link_local.or(v6.filter(Ipv6Addr::is_unicast_link_local));
        }
        Ok(found.zip(link.mac).map(|(address, mac)| Self {
            link,
            address,
            mac,
            link_local,
        }))
    }

    /// Says that what is for `address` is to be sent here. A link that is down says nothing, nor does one without a
    /// link-local address of an IPv6 one: nobody would hear it.
    pub(crate) fn announce(&self, address: IpAddr) -> Result<(), Error> {
        fault::point("frame")?;
        let frame = match (address, self.link_local) {
            (IpAddr::V4(address), _) => arp(self.mac, address),
            (IpAddr::V6(address), Some(from)) => advertisement(self.mac, from, address),
            (IpAddr::V6(_), None) => return Ok(()),
        };
        let frame = frame.map_err(|why| failure(self.link, why))?;
        match self.send(&frame) {
            Ok(()) | Err(Errno::ENETDOWN) => Ok(()),
            Err(errno) => Err(failure(self.link, errno)),
        }
    }

    fn send(&self, frame: &[u8]) -> Result<(), Errno> {
        // Of no protocol: it receives nothing.
        let socket = socket(
            AddressFamily::Packet,
            SockType::Raw,
            SockFlag::SOCK_CLOEXEC,
            None,
        )?;
        bind(socket.as_raw_fd(), &self.address)?;
        send(socket.as_raw_fd(), frame, MsgFlags::empty()).map(|_| ())
    }
}

fn failure(link: &Link, why: impl std::fmt::Display) -> Error {
    Error::io(format!("failed to announce on {:?}: {why}", link.name))
}

/// An announcement (RFC 5227 §2.3): a request for the sender's own address.
fn arp(mac: Mac, address: Ipv4Addr) -> Result<Vec<u8>, BuildVecWriteError> {
    let packet = ArpEthIpv4Packet {
        operation: ArpOperation::REQUEST,
        sender_mac: mac.bytes(),
        sender_ipv4: address.octets(),
        target_mac: [0; 6],
        target_ipv4: address.octets(),
    };
    let frame = PacketBuilder::ethernet2(mac.bytes(), BROADCAST).arp(packet.into());
    let mut bytes = Vec::new();
    frame.write_to_vec(&mut bytes)?;
    Ok(bytes)
}

/// An unsolicited advertisement (RFC 4861 §7.2.6) that takes the place of what is known of the address.
fn advertisement(
    mac: Mac,
    from: Ipv6Addr,
    address: Ipv6Addr,
) -> Result<Vec<u8>, BuildVecWriteError> {
    let header = NeighborAdvertisementHeader {
        router: false,
        solicited: false,
        r#override: true,
    };
    let frame = PacketBuilder::ethernet2(mac.bytes(), ALL_NODES_MAC)
        .ipv6(from.octets(), ALL_NODES.octets(), HOP_LIMIT)
        .icmpv6(Icmpv6Type::NeighborAdvertisement(header));
    let payload = [&address.octets()[..], &TARGET_LINK, &mac.bytes()].concat();
    let mut bytes = Vec::new();
    frame.write_to_vec(&mut bytes, &payload)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_announcement_is_a_broadcast_request_for_the_senders_own_address() {
        let mac = Mac::parse("02:00:00:00:00:09").expect("an address");
        let frame = arp(mac, Ipv4Addr::new(10, 9, 0, 5)).expect("a frame");
        let expected = [
            &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2, 0, 0, 0, 0, 9, 8, 6][..],
            &[0, 1, 8, 0, 6, 4, 0, 1],
            &[2, 0, 0, 0, 0, 9, 10, 9, 0, 5],
            &[0, 0, 0, 0, 0, 0, 10, 9, 0, 5],
        ];
        assert_eq!(frame, expected.concat());
    }
}
