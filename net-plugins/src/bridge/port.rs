//! A bridge's port: the host's end of a container's veth.

use std::thread;
use std::time::Duration;

use cni::Error;
use rtnetlink::packet_route::AddressFamily;
use rtnetlink::packet_route::link::{
    AfSpecBridge, BridgeVlanInfo, BridgeVlanInfoFlags, LinkAttribute, LinkExtentMask,
};
use rtnetlink::{LinkBridgePort, LinkBridgeVlan};

use super::keys::Keys;
use crate::fault;
use crate::link::{self, Link};
use crate::netlink::Netlink;

/// How long a port may take to come up, altogether.
const PATIENCE: Duration = Duration::from_millis(2550);
const LONGEST_NAP: Duration = Duration::from_millis(500);

/// Settings of the port. Taking the port away takes them back.
pub(super) fn configure(host: &Netlink, port: &Link, keys: &Keys) -> Result<(), Error> {
    if keys.hairpin || keys.isolated {
        let mut message = LinkBridgePort::new(port.index);
        if keys.hairpin {
            message = message.hairpin(true);
        }
        if keys.isolated {
            message = message.isolated(true);
        }
        let request = host.handle().link().set_port(message.build());
        host.wait(request.execute()).map_err(|failure| {
            failure.during(format!(
                "failed to set the port {:?} of the bridge",
                port.name
            ))
        })?;
    }
    if keys.filters_vlans() {
        if !keys.preserve_default_vlan {
            remove_vlans(host, port)?;
        }
        add_vlans(host, port, keys)?;
    }
    Ok(())
}

fn add_vlans(host: &Netlink, port: &Link, keys: &Keys) -> Result<(), Error> {
    let native = if keys.vlan == 0 { 1 } else { keys.vlan };
    set_native(host, port, native)?;
    for vlan in keys.trunk.iter().filter(|vlan| **vlan != native) {
        add_vlan(host, port, *vlan, BridgeVlanInfoFlags::empty())?;
    }
    Ok(())
}

/// Frames without a tag belong to this VLAN, in both directions.
pub(super) fn set_native(host: &Netlink, port: &Link, vlan: u16) -> Result<(), Error> {
    add_vlan(host, port, vlan, native_flags())
}

/// Whether frames without a tag belong to this VLAN already.
pub(super) fn is_native(host: &Netlink, port: &Link, vlan: u16) -> Result<bool, Error> {
    let present = vlans(host, port)?;
    Ok((present.iter()).any(|info| info.vid == vlan && info.flags.contains(native_flags())))
}

fn native_flags() -> BridgeVlanInfoFlags {
    BridgeVlanInfoFlags::Pvid | BridgeVlanInfoFlags::Untagged
}

fn add_vlan(
    host: &Netlink,
    port: &Link,
    vlan: u16,
    flags: BridgeVlanInfoFlags,
) -> Result<(), Error> {
    let message = LinkBridgeVlan::new(port.index).vlan(vlan, flags).build();
    let request = host.handle().link().set(message);
    host.wait(request.execute()).map_err(|failure| {
        failure.during(format!(
            "failed to set up VLAN {vlan} on port {:?}",
            port.name
        ))
    })
}

/// Removes the VLANs that a port got on joining.
pub(super) fn remove_vlans(host: &Netlink, port: &Link) -> Result<(), Error> {
    for BridgeVlanInfo { vid, .. } in vlans(host, port)? {
        let message = LinkBridgeVlan::new(port.index).vlan(vid, BridgeVlanInfoFlags::empty());
        let request = host.handle().link().del_with_message(message.build());
        host.wait(request.execute()).map_err(|failure| {
            failure.during(format!(
                "failed to remove VLAN {vid} from port {:?}",
                port.name
            ))
        })?;
    }
    Ok(())
}

/// The VLANs of a port.
pub(super) fn vlans(host: &Netlink, port: &Link) -> Result<Vec<BridgeVlanInfo>, Error> {
    // Only a listing of all ports tells their VLANs.
    let request = host.handle().link().get();
    let request = request.set_filter_mask(AddressFamily::Bridge, vec![LinkExtentMask::Brvlan]);
    let messages = host.collect(request.execute()).map_err(|failure| {
        failure.during(format!("failed to list the VLANs of port {:?}", port.name))
    })?;
    let mine = messages
        .into_iter()
        .filter(|m| m.header.index == port.index);
    let specs = mine.flat_map(|m| m.attributes).filter_map(|a| match a {
        LinkAttribute::AfSpecBridge(specs) => Some(specs),
        _ => None,
    });
    let vlan = |spec| match spec {
        AfSpecBridge::VlanInfo(info) => Some(info),
        _ => None,
    };
    Ok(specs.flatten().filter_map(vlan).collect())
}

/// Waits until the port forwards.
pub(super) fn wait_until_up(host: &Netlink, port: &Link) -> Result<(), Error> {
    let mut waited = Duration::ZERO;
    let mut nap = Duration::from_micros(200);
    loop {
        let now = link::get(host, &port.name)?;
        if now.operational {
            return Ok(());
        }
        if waited >= PATIENCE {
            let state = now.state;
            return Err(Error::internal(format!(
                "bridge port in error state: {state}"
            )));
        }
        thread::sleep(nap);
        waited += nap;
        nap = (nap * 2).min(LONGEST_NAP);
        fault::again();
    }
}
