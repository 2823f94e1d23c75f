//! CHECK, after IPAM's own.

use cni::{CniResult, Error, Invocation, NetConf};

use super::attach::to_container;
use super::keys::Keys;
use super::plan;
use crate::link::{self, Link};
use crate::netlink::Netlink;
use crate::owner::Owner;
use crate::{addr, expect, masquerade, neighbour, route, sysctl};

pub(super) fn run(
    keys: &Keys,
    invocation: &Invocation,
    conf: &NetConf,
    host: &Netlink,
    container: &Netlink,
) -> Result<(), Error> {
    let result = expect::prev_result(conf, "ptp: Required prevResult missing")?;
    let (index, entry) = expect::entry(&result, invocation)?;
    let link = expect::link(container, entry, "veth")?;
    expect::addresses(container, &link, index, &result)?;
    let peer = link
        .lower
        .and_then(|peer| link::find_index(host, peer).transpose());
    let end = peer.transpose()?.ok_or_else(|| {
        let name = &link.name;
        Error::internal(format!("the host's end of {name} was not found"))
    })?;
    check_host(host, &end, keys, &result)?;
    check_answers(host, keys, &result)?;
    let addresses: Vec<_> = result.ips.iter().map(|ip| ip.address).collect();
    match keys.masquerade {
        Some(backend) => masquerade::check(backend, &Owner::of(invocation, conf), &addresses),
        None => Ok(()),
    }
}

fn check_host(host: &Netlink, end: &Link, keys: &Keys, result: &CniResult) -> Result<(), Error> {
    let name = &end.name;
    if !end.up {
        return Err(Error::internal(format!(
            "the host's interface {name} is down"
        )));
    }
    let present = addr::list(host, end)?;
    let routes = route::list(host, end)?;
    for ip in &result.ips {
        let wanted = to_container(ip.address, keys);
        let dst = wanted.dst;
        let is_it = |found: &route::Route| {
            found.dst == dst && wanted.table.is_none_or(|table| found.table == Some(table))
        };
        let Some(found) = routes.iter().find(|found| is_it(found)) else {
            return Err(Error::internal(format!(
                "the host has no route to {dst} over {name}"
            )));
        };
        // A routing daemon picks routes by them.
        let is_as = |wanted: Option<u32>, found| wanted.is_none() || wanted == found;
        if !is_as(
            wanted.protocol.map(u32::from),
            found.protocol.map(u32::from),
        ) || !is_as(wanted.priority, found.priority)
        {
            return Err(Error::internal(format!(
                "the host's route to {dst} over {name} has another protocol or metric than the configuration"
            )));
        }
        let next_hop = addr::host(plan::next_hop(ip.address, ip.gateway, keys));
        if !present.iter().any(|a| a.network == next_hop) {
            let text = format!("gateway address {next_hop} not found on {name}");
            return Err(Error::internal(text));
        }
        let key = match ip.address.is_ipv4() {
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

fn check_answers(host: &Netlink, keys: &Keys, result: &CniResult) -> Result<(), Error> {
    if keys.uplink.is_empty() {
        return Ok(());
    }
    let uplink = link::get(host, &keys.uplink)?;
    let entries = neighbour::entries(host)?;
    for ip in &result.ips {
        let address = ip.address.ip();
        if !entries
            .iter()
            .any(|e| e.address == address && e.link == uplink.index)
        {
            let name = &uplink.name;
            return Err(Error::internal(format!(
                "the host does not answer for {address} on {name}"
            )));
        }
    }
    Ok(())
}
