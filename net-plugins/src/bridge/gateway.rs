//! `isGateway`: the network's gateway on the bridge, or on a link of a VLAN.

use cni::{Error, NetConf};
use ipnetwork::IpNetwork;
use nix::errno::Errno;
use rtnetlink::packet_route::link::{InfoData, InfoKind, InfoVeth};
use rtnetlink::{LinkMessageBuilder, LinkUnspec, LinkVeth};
use std::net::IpAddr;

use super::keys::Keys;
use super::{port, switch};
use crate::ipam;
use crate::link::{self, Link};
use crate::netlink::Netlink;
use crate::undo::Undo;

/// The gateway of an address for which IPAM named none.
pub(super) fn fallback(conf: &NetConf, address: IpNetwork) -> Result<IpAddr, Error> {
    // Its pools may have no gateway at all: the first address is an ordinary one then.
    if conf.ipam_type() == ipam::OURS {
        return Err(Error::invalid_config(format!(
            "isGateway: the pool of {address} has no gateway; give the pool one or leave isGateway out"
        )));
    }
    switch::first_address(address).ok_or_else(|| {
        Error::invalid_config(format!(
            "isGateway: the subnet of {address} has no first address"
        ))
    })
}

/// Puts the gateways where they belong. Returns the link of the VLAN that carries them, if there is one.
pub(super) fn ensure<'a>(
    host: &'a Netlink,
    bridge: &Link,
    keys: &Keys,
    gateways: &[IpNetwork],
    port: &Link,
    undo: &mut Undo<'a>,
) -> Result<Option<Link>, Error> {
    if gateways.is_empty() {
        return Ok(None);
    }
    let _lock = host.netns().lock()?;
    let vlan_link = match keys.vlan {
        0 => None,
        _ => Some(ensure_vlan_link(host, bridge, keys, port, undo)?),
    };
    let carrier = vlan_link.as_ref().unwrap_or(bridge);
    let own: Vec<_> = (vlan_link.iter().filter_map(|link| link.lower))
        .chain([port.index])
        .collect();
    for gateway in gateways {
        let usage = (bridge.index, own.as_slice());
        switch::ensure_address(host, carrier, *gateway, keys.force_address, usage, undo)?;
    }
    Ok(vlan_link)
}

/// A veth whose one end is a port of the bridge in the VLAN, and whose other end takes the gateway's address. Made on
/// first use, and shared by all containers of the VLAN.
fn ensure_vlan_link<'a>(
    host: &'a Netlink,
    bridge: &Link,
    keys: &Keys,
    port: &Link,
    undo: &mut Undo<'a>,
) -> Result<Link, Error> {
    let name = keys.vlan_gateway();
    let link = match link::find(host, &name)? {
        // Somebody's own, such as a VLAN device on the bridge: whether it is connected is theirs.
        Some(present) if !present.is(&InfoKind::Veth) => return Ok(present),
        Some(present) => present,
        None => make(host, bridge, &name, port, undo)?,
    };
    // Also one that was found: an ADD that is killed may leave it unfinished.
    connect(host, bridge, keys, &link)?;
    link::get(host, &name)
}

/// Makes the veth, unless somebody else was faster.
fn make<'a>(
    host: &'a Netlink,
    bridge: &Link,
    name: &str,
    port: &Link,
    undo: &mut Undo<'a>,
) -> Result<Link, Error> {
    // The peer cannot be up in the same message: it has no other end at that moment.
    let mut end = LinkMessageBuilder::<LinkUnspec>::new().name(&link::random_name()?);
    let mut message = LinkMessageBuilder::<LinkVeth>::new_with_info_kind(InfoKind::Veth)
        .name(name)
        .up();
    if bridge.mtu != 0 {
        end = end.mtu(bridge.mtu);
        message = message.mtu(bridge.mtu);
    }
    let message = message.set_info_data(InfoData::Veth(InfoVeth::Peer(end.build())));
    match link::add(host, message.build()) {
        Ok(()) => {}
        Err(failure) if failure.is(Errno::EEXIST) => return link::get(host, name),
        Err(failure) => return Err(failure.during(format!("failed to create link {name:?}"))),
    }
    let (bridge, port, doomed) = (bridge.index, port.index, name.to_owned());
    // By its name: nothing else is known of it if asking for it fails.
    undo.push(format!("delete link {name:?}"), move || {
        let Some(made) = link::find(host, &doomed)? else {
            return Ok(());
        };
        let own = [made.lower.unwrap_or_default(), port];
        switch::unless_in_use(host, bridge, &own, || link::delete(host, &made))
    });
    link::get(host, name)
}

/// Makes the veth's other end a port of the bridge in the VLAN, and sets both up. What is done already stays.
fn connect(host: &Netlink, bridge: &Link, keys: &Keys, link: &Link) -> Result<(), Error> {
    let end = other_end(host, bridge, link)?;
    if end.controller.is_none() {
        link::change(host, &end, "add to the bridge", |message| {
            message.controller(bridge.index)
        })?;
    }
    // The native VLAN comes last: with it, nothing is left of those that the port got on joining.
    if !port::is_native(host, &end, keys.vlan)? {
        if !keys.preserve_default_vlan {
            port::remove_vlans(host, &end)?;
        }
        port::set_native(host, &end, keys.vlan)?;
    }
    for part in [&end, link].into_iter().filter(|part| !part.up) {
        link::set_up(host, part)?;
    }
    Ok(())
}

/// The link of the VLAN that carries the gateways. Fails unless it leads into the VLAN; one that is somebody's own, such as
/// a VLAN device on the bridge, is theirs.
pub(super) fn connected_link(host: &Netlink, bridge: &Link, keys: &Keys) -> Result<Link, Error> {
    let link = link::get(host, &keys.vlan_gateway())?;
    if !link.is(&InfoKind::Veth) {
        return Ok(link);
    }
    let peer = link.lower.filter(|_| link.lower_netns.is_none());
    let end = peer.and_then(|index| link::find_index(host, index).transpose());
    let connected = match end.transpose()? {
        Some(end) if end.controller == Some(bridge.index) => {
            link.up && end.up && port::is_native(host, &end, keys.vlan)?
        }
        _ => false,
    };
    match connected {
        true => Ok(link),
        false => {
            let (name, bridge, vlan) = (&link.name, &bridge.name, keys.vlan);
            Err(Error::internal(format!(
                "{name} is not connected to VLAN {vlan} of bridge {bridge}"
            )))
        }
    }
}

/// The end of the veth that is, or can become, a port of the bridge.
fn other_end(host: &Netlink, bridge: &Link, link: &Link) -> Result<Link, Error> {
    let refuse = |why: String| {
        let name = &link.name;
        Error::internal(format!(
            "failed to create link {name:?}: {name:?} already exists but {why}"
        ))
    };
    let elsewhere = || refuse(format!("its other end is not in {}", host.place()));
    let index = match link.lower_netns {
        None => link.lower.ok_or_else(elsewhere)?,
        Some(_) => return Err(elsewhere()),
    };
    let end = link::find_index(host, index)?.ok_or_else(elsewhere)?;
    match end.controller {
        Some(other) if other != bridge.index => {
            let other = link::find_index(host, other)?.map_or(other.to_string(), |l| l.name);
            let name = &end.name;
            Err(refuse(format!(
                "its other end {name:?} is a port of {other:?}"
            )))
        }
        _ => Ok(end),
    }
}
