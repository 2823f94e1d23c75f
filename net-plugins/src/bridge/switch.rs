//! The bridge itself, which all containers of the network share.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use cni::Error;
use ipnetwork::IpNetwork;
use nix::errno::Errno;
use rtnetlink::LinkBridge;
use rtnetlink::packet_route::link::InfoKind;

use super::keys::Keys;
use crate::link::{self, Link};
use crate::netlink::Netlink;
use crate::undo::Undo;
use crate::{addr, sysctl, undo};

/// The bridge, made when it is absent, as the configuration wants it. The caller holds the host's lock.
pub(super) fn ensure<'a>(
    host: &'a Netlink,
    keys: &'a Keys,
    undo: &mut Undo<'a>,
) -> Result<Link, Error> {
    let bridge = match link::find(host, &keys.bridge)? {
        Some(present) => present,
        None => make(host, keys, undo)?,
    };
    refuse_others(&bridge)?;
    let (index, before) = (bridge.index, bridge.clone());
    if keys.promiscuous && !bridge.promiscuous {
        set_promiscuous(host, &bridge, true)?;
        let back = before.clone();
        undo.push("end promiscuous mode", move || {
            unless_in_use(host, index, &[], || set_promiscuous(host, &back, false))
        });
    }
    // No container may make itself the host's router.
    let key = format!("ipv6/conf/{}/accept_ra", bridge.name);
    if let Some(value) = sysctl::exchange(host, &key, "0")? {
        undo.push(format!("set {key} back to {value}"), move || {
            unless_in_use(host, index, &[], || sysctl::write(host, &key, &value))
        });
    }
    if !bridge.up {
        link::set_up(host, &bridge)?;
        undo.push("set the bridge down again", move || {
            unless_in_use(host, index, &[], || {
                link::change(host, &before, "set down", |message| message.down())
            })
        });
    }
    Ok(bridge)
}

/// Makes the bridge, unless somebody else was faster.
fn make<'a>(host: &'a Netlink, keys: &'a Keys, undo: &mut Undo<'a>) -> Result<Link, Error> {
    let name = &keys.bridge;
    let is_new = create(host, keys)?;
    if is_new {
        undo.push(format!("delete bridge {name:?}"), move || {
            delete_unless_used(host, name)
        });
    }
    let bridge = link::get(host, name)?;
    if is_new {
        // Not in the message that makes it: then the bridge would have no link-local address before a port is up.
        pin(host, &bridge)?;
    }
    Ok(bridge)
}

/// Makes the bridge; false when somebody else was faster.
fn create(host: &Netlink, keys: &Keys) -> Result<bool, Error> {
    let mut message = LinkBridge::new(&keys.bridge);
    if keys.mtu != 0 {
        message = message.mtu(keys.mtu);
    }
    if keys.filters_vlans() {
        message = message.vlan_filtering(true);
    }
    match link::add(host, message.build()) {
        Ok(()) => Ok(true),
        Err(failure) if failure.is(Errno::EEXIST) => Ok(false),
        Err(failure) => {
            let name = &keys.bridge;
            Err(failure.during(format!(
                "failed to create bridge {name:?}: could not add {name:?}"
            )))
        }
    }
}

fn refuse_others(link: &Link) -> Result<(), Error> {
    if link.is(&InfoKind::Bridge) {
        return Ok(());
    }
    let name = &link.name;
    Err(Error::internal(format!(
        "failed to create bridge {name:?}: {name:?} already exists but is not a bridge"
    )))
}

fn set_promiscuous(host: &Netlink, bridge: &Link, on: bool) -> Result<(), Error> {
    link::change(host, bridge, "set promiscuous mode of", |message| {
        message.promiscuous(on)
    })
}

/// Takes back what all containers of the bridge share, unless others than the one with the ports `own` are attached. An
/// uplink, which leads nowhere on this host, relies on nothing. Other ADDs join under the host's lock.
pub(super) fn unless_in_use(
    host: &Netlink,
    bridge: u32,
    own: &[u32],
    take_back: impl FnOnce() -> Result<(), Error>,
) -> Result<(), Error> {
    let _lock = host.netns().lock()?;
    let leads_elsewhere = |port: &Link| port.is(&InfoKind::Veth) && port.lower_netns.is_some();
    let ports = ports(host, bridge)?;
    match (ports.iter()).any(|port| leads_elsewhere(port) && !own.contains(&port.index)) {
        true => Ok(()),
        false => take_back(),
    }
}

fn ports(host: &Netlink, bridge: u32) -> Result<Vec<Link>, Error> {
    let mut links = link::list(host)?;
    links.retain(|link| link.controller == Some(bridge));
    Ok(links)
}

fn delete_unless_used(host: &Netlink, name: &str) -> Result<(), Error> {
    let _lock = host.netns().lock()?;
    match link::find(host, name)? {
        Some(bridge) if ports(host, bridge.index)?.is_empty() => link::delete(host, &bridge),
        _ => Ok(()),
    }
}

/// The first address of a subnet: its gateway when nobody names another.
pub(super) fn first_address(network: IpNetwork) -> Option<IpAddr> {
    let next = match network.network() {
        IpAddr::V4(ip) => IpAddr::V4(Ipv4Addr::from(u32::from(ip).checked_add(1)?)),
        IpAddr::V6(ip) => IpAddr::V6(Ipv6Addr::from(u128::from(ip).checked_add(1)?)),
    };
    Some(next)
}

/// Puts a gateway's address on the bridge, or on the VLAN's link.
///
/// A second IPv4 address, or an IPv6 one that overlaps, is a conflict: with `force` it is replaced. It is taken back only
/// while no container is attached but that with the ports `own`. The caller holds the host's lock.
pub(super) fn ensure_address<'a>(
    host: &'a Netlink,
    carrier: &Link,
    address: IpNetwork,
    force: bool,
    (bridge, own): (u32, &[u32]),
    undo: &mut Undo<'a>,
) -> Result<(), Error> {
    let present = addr::list(host, carrier)?;
    if present.iter().any(|a| a.network == address) {
        return Ok(());
    }
    let conflicts = |other: &addr::Address| {
        let (a, b) = (other.network, address);
        a.is_ipv4() == b.is_ipv4() && (b.is_ipv4() || addr::overlap(a, b))
    };
    for old in present.into_iter().filter(conflicts) {
        if !force {
            let name = &carrier.name;
            return Err(Error::internal(format!(
                "failed to set bridge addr: {name:?} already has an IP address different from {address}"
            )));
        }
        addr::delete(host, carrier, &old)?;
        let back = carrier.clone();
        undo.push(
            format!("put {} back on the bridge", old.network),
            move || addr::put_back(host, &back, &old),
        );
    }
    if addr::add(host, carrier, address)? {
        let (back, own) = (carrier.clone(), own.to_vec());
        undo.push(format!("take {address} off the bridge"), move || {
            unless_in_use(host, bridge, &own, || remove(host, &back, address))
        });
    }
    pin(host, carrier)
}

fn remove(host: &Netlink, carrier: &Link, address: IpNetwork) -> Result<(), Error> {
    let present = addr::list(host, carrier)?;
    let ours = present.iter().filter(|a| a.network == address);
    undo::all(ours.map(|a| addr::delete(host, carrier, a)))
}

/// Gives the bridge, as it is now, the hardware address back that it had before a port joined. One that nobody has pinned
/// takes that of its first port, and of whichever has the lowest later on. One that had none is left to that.
pub(super) fn keep_mac(host: &Netlink, before: &Link, now: Link) -> Result<Link, Error> {
    if before.mac.is_none() {
        return Ok(now);
    }
    if now.mac != before.mac {
        pin(host, before)?;
    }
    Ok(Link {
        mac: before.mac,
        ..now
    })
}

/// Makes the bridge keep its hardware address: neighbours remember the gateway by it.
fn pin(host: &Netlink, bridge: &Link) -> Result<(), Error> {
    let Some(mac) = bridge.mac else {
        return Ok(());
    };
    link::change(host, bridge, "set the hardware address of", |message| {
        message.address(mac.bytes().to_vec())
    })
}
