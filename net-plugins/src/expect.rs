//! CHECK: what every plugin expects of the container's interface, from `prevResult`.

use cni::{CniResult, Error, Interface, Invocation, NetConf};

use crate::link::{self, Link};
use crate::netlink::Netlink;
use crate::netns::Netns;
use crate::route::Route;
use crate::{addr, ipam, route};

/// `prevResult`, which CHECK needs. `prefix` begins the error's text.
pub fn prev_result(conf: &NetConf, missing: &str) -> Result<CniResult, Error> {
    conf.read_prev_result()?
        .ok_or_else(|| Error::invalid_config(missing))
}

/// The host and the container. Opened before IPAM is asked: to some services a CHECK is a sign of life.
pub fn container(invocation: &Invocation) -> Result<(Netlink, Netlink), Error> {
    let netns = Netns::open(&invocation.netns)?;
    let host = Netlink::host()?;
    host.netns().refuse_same(&netns)?;
    let container = host.enter(netns)?;
    Ok((host, container))
}

/// The container's interface in the result, and its place in the list.
pub fn entry<'a>(
    result: &'a CniResult,
    invocation: &Invocation,
) -> Result<(u32, &'a Interface), Error> {
    let netns = &invocation.netns;
    let mut entries = (0_u32..).zip(&result.interfaces);
    let named = entries.find(|(_, i)| i.name == invocation.ifname && !i.sandbox.is_empty());
    let (index, interface) = named.ok_or_else(|| {
        let ifname = &invocation.ifname;
        Error::internal(format!(
            "prevResult has no interface {ifname:?} in a container"
        ))
    })?;
    if interface.sandbox == *netns {
        return Ok((index, interface));
    }
    let sandbox = &interface.sandbox;
    Err(Error::internal(format!(
        "Sandbox in prevResult {sandbox} doesn't match configured netns: {netns}"
    )))
}

/// The container's link, which must be of `kind` and have the hardware address of `entry`.
pub fn link(container: &Netlink, entry: &Interface, kind: &str) -> Result<Link, Error> {
    let name = &entry.name;
    let link = link::find(container, name)?
        .ok_or_else(|| Error::internal(format!("Container interface {name} not found")))?;
    if link.kind != kind {
        let found = &link.kind;
        return Err(Error::internal(format!(
            "Error: Container interface {name} not of type {kind} but {found:?}"
        )));
    }
    let mac = link.mac_text();
    if !entry.mac.is_empty() && !entry.mac.eq_ignore_ascii_case(&mac) {
        let wanted = &entry.mac;
        return Err(Error::internal(format!(
            "Interface {name} Mac {wanted} doesn't match container Mac: {mac}"
        )));
    }
    Ok(link)
}

/// The interface has its addresses, each with a route to its subnet, and the routes.
pub fn addresses(
    container: &Netlink,
    link: &Link,
    index: u32,
    result: &CniResult,
) -> Result<(), Error> {
    let name = &link.name;
    let present = addr::list(container, link)?;
    let routes = route::list(container, link)?;
    for ip in result
        .ips
        .iter()
        .filter(|ip| ip.interface.is_none_or(|i| i == index))
    {
        let address = ip.address;
        if !present.iter().any(|a| a.network == address) {
            let text = format!("Failed to match addr {address} on interface {name}");
            return Err(Error::internal(text));
        }
        let subnet = addr::subnet(address);
        let is_single = address.ip() == subnet.ip() && subnet == addr::host(address.ip());
        if !is_single && !routes.iter().any(|route| route.dst == subnet) {
            let text =
                format!("Failed to find Gateway {subnet}: interface {name} has no route to it");
            return Err(Error::internal(text));
        }
    }
    for wanted in &result.routes {
        let expected = ipam::programmed(wanted, result)?;
        if !routes.iter().any(|found| is_like(found, &expected)) {
            let dst = wanted.dst;
            let gw = wanted.gw.map(|gw| format!(" GW:{gw}")).unwrap_or_default();
            let text = format!("Expected Route {{Dst:{dst}{gw}}} not found in routing table");
            return Err(Error::internal(text));
        }
    }
    Ok(())
}

/// A later plugin of the chain may have changed a default route's next hop.
fn is_like(found: &Route, expected: &Route) -> bool {
    let is_default = expected.dst.prefix() == 0;
    found.dst == addr::subnet(expected.dst)
        && (is_default || expected.gw.is_none() || found.gw == expected.gw)
        && expected
            .table
            .is_none_or(|table| found.table == Some(table))
}
