//! CHECK, after IPAM's own.

use cni::{CniResult, Error, Invocation, NetConf};
use ipnetwork::IpNetwork;
use rtnetlink::packet_route::link::InfoKind;

use super::keys::Keys;
use super::{gateway, port};
use crate::link::{self, Link};
use crate::netlink::Netlink;
use crate::owner::Owner;
use crate::spoofcheck::SpoofCheck;
use crate::{addr, expect, masquerade, sysctl};

pub(super) fn run(
    keys: &Keys,
    invocation: &Invocation,
    conf: &NetConf,
    host: &Netlink,
    container: &Netlink,
) -> Result<(), Error> {
    let result = expect::prev_result(conf, "Required prevResult missing")?;
    let bridge = check_bridge(host, keys, &result)?;
    let (index, entry) = expect::entry(&result, invocation)?;
    let link = expect::link(container, entry, "veth")?;
    let port = check_port(host, &bridge, &link, &result)?;
    check_vlans(host, &port, keys)?;
    let owner = Owner::of(invocation, conf);
    if keys.spoof_check {
        SpoofCheck::of(&owner.container_id, &owner.ifname).check(&port.name)?;
    }
    if result.ips.is_empty() {
        return Ok(());
    }
    expect::addresses(container, &link, index, &result)?;
    let addresses: Vec<_> = result.ips.iter().map(|ip| ip.address).collect();
    if let Some(backend) = keys.masquerade {
        masquerade::check(backend, &owner, &addresses)?;
    }
    match keys.is_gateway {
        true => check_gateways(host, &bridge, keys, &result),
        false => Ok(()),
    }
}

fn check_bridge(host: &Netlink, keys: &Keys, result: &CniResult) -> Result<Link, Error> {
    let name = &keys.bridge;
    let bridge = link::find(host, name)?
        .ok_or_else(|| Error::internal(format!("Bridge interface {name} not found")))?;
    if !bridge.is(&InfoKind::Bridge) {
        return Err(Error::internal(format!(
            "Bridge interface {name} is not a bridge"
        )));
    }
    if !bridge.up {
        return Err(Error::internal(format!("Bridge interface {name} is down")));
    }
    let listed = result
        .interfaces
        .iter()
        .find(|i| i.name == *name && i.sandbox.is_empty());
    let wanted = listed.map(|i| i.mac.as_str()).unwrap_or_default();
    let mac = bridge.mac_text();
    if !wanted.is_empty() && !wanted.eq_ignore_ascii_case(&mac) {
        return Err(Error::internal(format!(
            "Bridge interface {name} Mac {wanted} doesn't match: {mac}"
        )));
    }
    if keys.promiscuous != bridge.promiscuous {
        let (wanted, found) = (keys.promiscuous, bridge.promiscuous);
        return Err(Error::internal(format!(
            "Bridge interface {name} configured Promisc Mode {wanted} doesn't match: {found}"
        )));
    }
    Ok(bridge)
}

/// The container's peer on the host, which must be in the result and a port of the bridge.
fn check_port(
    host: &Netlink,
    bridge: &Link,
    container: &Link,
    result: &CniResult,
) -> Result<Link, Error> {
    let name = &bridge.name;
    let lost = || Error::internal(format!("CNI veth created for bridge {name} was not found"));
    let peer = container.lower.ok_or_else(lost)?;
    let port = link::find_index(host, peer)?.ok_or_else(lost)?;
    let is_listed = (result.interfaces.iter()).any(|i| i.sandbox.is_empty() && i.name == port.name);
    let is_port = port.controller == Some(bridge.index);
    if is_listed && is_port {
        Ok(port)
    } else {
        Err(lost())
    }
}

fn check_vlans(host: &Netlink, port: &Link, keys: &Keys) -> Result<(), Error> {
    if !keys.filters_vlans() {
        return Ok(());
    }
    let present: Vec<_> = port::vlans(host, port)?
        .iter()
        .map(|vlan| vlan.vid)
        .collect();
    let native = (keys.vlan != 0).then_some(&keys.vlan);
    match native
        .into_iter()
        .chain(&keys.trunk)
        .find(|vlan| !present.contains(vlan))
    {
        None => Ok(()),
        Some(vlan) => {
            let name = &port.name;
            Err(Error::internal(format!(
                "bridge port {name} is not in VLAN {vlan}"
            )))
        }
    }
}

fn check_gateways(
    host: &Netlink,
    bridge: &Link,
    keys: &Keys,
    result: &CniResult,
) -> Result<(), Error> {
    let carrier = match keys.vlan {
        0 => bridge.clone(),
        _ => gateway::connected_link(host, bridge, keys)?,
    };
    let name = &carrier.name;
    let present = addr::list(host, &carrier)?;
    for ip in &result.ips {
        let gateway = ip
            .gateway
            .and_then(|gw| IpNetwork::new(gw, ip.address.prefix()).ok());
        let Some(gateway) = gateway else { continue };
        if !present.iter().any(|a| a.network == gateway) {
            let text = format!("gateway address {gateway} not found on {name}");
            return Err(Error::internal(text));
        }
        let key = match gateway.is_ipv4() {
            true => "ipv4/ip_forward",
            false => "ipv6/conf/all/forwarding",
        };
        if sysctl::read(host, key)?.as_deref() != Some("1") {
            return Err(Error::internal(format!(
                "forwarding is off: /proc/sys/net/{key}"
            )));
        }
    }
    Ok(())
}
