//! Which settings of a pool are accepted. A pool that is created and one that is changed pass the same checks, on the
//! whole of its settings; a refusal names the field and its value.

use std::net::IpAddr;

use ipam_api::{Dns, NewPool, Range};
use ipnetwork::IpNetwork;

use super::text::{check_count, check_name, check_text, is_name};
use super::{Interval, Layout, Subnet};
use crate::error::{Error, Result};
use crate::store::Addr;

/// Ranges of one pool.
const RANGES_MAX: usize = 1024;
/// Exclusions of one pool.
const EXCLUDE_MAX: usize = 4096;
/// Items of every other list and map.
const ITEMS_MAX: usize = 64;
/// Bytes of a DNS name, and of a label's key.
const DNS_NAME_MAX: usize = 253;
/// Bytes of a label's value.
const LABEL_MAX: usize = 1024;
/// A year.
const REUSE_DELAY_MAX_S: u32 = 31_536_000;
/// What a released address rests when the pool does not say.
const REUSE_DELAY_DEFAULT_S: u32 = 60;

/// Settings that passed: what of them is arithmetic, taken apart.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Checked {
    pub(crate) subnet: Subnet,
    pub(crate) gateway: Option<Addr>,
    pub(crate) ranges: Option<Vec<Interval>>,
    pub(crate) exclude: Vec<Interval>,
    pub(crate) reuse_delay_s: u32,
}

/// Refuses a vrf's name that is none.
pub(crate) fn check_vrf_name(name: &str) -> Result<()> {
    check_name("name", name)
}

/// Whether there can be a pool or vrf of this name at all: what cannot be a name is not looked up.
pub(crate) fn can_exist(name: &str) -> bool {
    is_name(name)
}

/// Checks all settings.
pub(crate) fn check(new: &NewPool) -> Result<Checked> {
    check_name("name", &new.name)?;
    if let Some(vrf) = &new.vrf {
        check_name("vrf", vrf)?;
    }
    let subnet = check_subnet(new.subnet)?;
    let gateway = check_gateway(new.gateway, subnet)?;
    let ranges = match &new.ranges {
        Some(ranges) => Some(check_ranges(ranges, subnet)?),
        None => None,
    };
    let exclude = check_exclude(&new.exclude, subnet)?;
    check_leaves_some(subnet, ranges.as_deref(), gateway)?;
    check_routes(new)?;
    check_dns(&new.dns)?;
    check_labels(new)?;
    let reuse_delay_s = new.reuse_delay_s.unwrap_or(REUSE_DELAY_DEFAULT_S);
    if reuse_delay_s > REUSE_DELAY_MAX_S {
        return Err(Error::Invalid(format!(
            "reuse_delay_s {reuse_delay_s}: at most {REUSE_DELAY_MAX_S}, a year"
        )));
    }
    Ok(Checked {
        subnet,
        gateway,
        ranges,
        exclude,
        reuse_delay_s,
    })
}

fn check_subnet(network: IpNetwork) -> Result<Subnet> {
    check_host_bits("subnet", network)?;
    check_not_mapped("subnet", network)?;
    let subnet = Subnet::of(network);
    for (first, last, reason) in nobodys() {
        let nobodys = Interval {
            first: first.into(),
            last: last.into(),
        };
        if first.is_ipv4() == subnet.is_v4() && subnet.interval().overlaps(nobodys) {
            return Err(Error::Invalid(format!(
                "subnet {subnet}: it holds addresses of {nobodys}, {reason}"
            )));
        }
    }
    Ok(subnet)
}

/// Addresses that no container can have.
fn nobodys() -> [(IpAddr, IpAddr, &'static str); 5] {
    let v4 = |octets: [u8; 4]| IpAddr::from(octets);
    let unspecified = IpAddr::from([0u16; 8]);
    [
        (
            v4([0, 0, 0, 0]),
            v4([0, 255, 255, 255]),
            "which stand for \"this host\"",
        ),
        (
            v4([224, 0, 0, 0]),
            v4([239, 255, 255, 255]),
            "which are multicast groups",
        ),
        (
            v4([255; 4]),
            v4([255; 4]),
            "which is the limited broadcast address",
        ),
        (
            unspecified,
            IpAddr::from([0, 0, 0, 0, 0xffff, 0xffff, 0xffff, 0xffff]),
            "which are unspecified, loopback and IPv4 in IPv6",
        ),
        (
            IpAddr::from([0xff00, 0, 0, 0, 0, 0, 0, 0]),
            IpAddr::from([0xffffu16; 8]),
            "which are multicast groups",
        ),
    ]
}

/// The gateway of a pool: as given, or the subnet's first usable address when the field is left out.
fn check_gateway(gateway: Option<Option<IpAddr>>, subnet: Subnet) -> Result<Option<Addr>> {
    let given = match gateway {
        None => return Ok(subnet.default_gateway()),
        Some(None) => return Ok(None),
        Some(Some(given)) => given,
    };
    let address = check_address("gateway", given, subnet)?;
    let named = [
        (subnet.own_address(), subnet.own_address_name()),
        (subnet.broadcast(), "broadcast address"),
    ];
    for (taken, name) in named {
        if taken == Some(address) {
            return Err(Error::Invalid(format!(
                "gateway {given}: it is the {name} of subnet {subnet}"
            )));
        }
    }
    if !subnet.contains(address) && !is_link_local(given) {
        return Err(Error::Invalid(format!(
            "gateway {given}: it is neither in subnet {subnet} nor link-local"
        )));
    }
    Ok(Some(address))
}

fn is_link_local(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => v4.is_link_local(),
        IpAddr::V6(v6) => v6.is_unicast_link_local(),
    }
}

fn check_ranges(ranges: &[Range], subnet: Subnet) -> Result<Vec<Interval>> {
    check_count("ranges", ranges.len(), RANGES_MAX)?;
    if ranges.is_empty() {
        return Err(Error::Invalid(
            "ranges []: leave it out (or null) to lease all of the subnet; a pool that shall lease nothing is set to state \
             \"disabled\""
                .to_owned(),
        ));
    }
    let mut found = Vec::with_capacity(ranges.len());
    for (index, range) in ranges.iter().enumerate() {
        found.push(check_range(index, range, subnet)?);
    }
    check_apart(&found)?;
    Ok(found)
}

fn check_range(index: usize, range: &Range, subnet: Subnet) -> Result<Interval> {
    let ends = [("first", range.first), ("last", range.last)];
    for (end, given) in ends {
        let field = format!("ranges[{index}].{end}");
        let address = check_address(&field, given, subnet)?;
        if !subnet.contains(address) {
            return Err(Error::Invalid(format!(
                "{field} {given}: it is outside subnet {subnet}"
            )));
        }
    }
    if range.first > range.last {
        return Err(Error::Invalid(format!(
            "ranges[{index}]: first {} is after last {}",
            range.first, range.last
        )));
    }
    // These are the subnet's ends, so that a range holds one only as its own end.
    let (own, broadcast) = (subnet.own_address(), subnet.broadcast());
    for (end, given) in ends {
        let name = match Some(Addr::from(given)) {
            address if address == own => subnet.own_address_name(),
            address if address == broadcast => "broadcast address",
            _ => continue,
        };
        return Err(Error::Invalid(format!(
            "ranges[{index}].{end} {given}: it is the {name} of subnet {subnet}, which is never leased"
        )));
    }
    Ok(Interval {
        first: range.first.into(),
        last: range.last.into(),
    })
}

/// Ranges of one request do not overlap: one of the two is most likely a slip.
fn check_apart(ranges: &[Interval]) -> Result<()> {
    let mut sorted: Vec<_> = ranges.iter().enumerate().collect();
    sorted.sort_by_key(|(_, range)| range.first);
    for pair in sorted.windows(2) {
        let ((one, first), (other, second)) = (pair[0], pair[1]);
        if first.overlaps(*second) {
            return Err(Error::Invalid(format!(
                "ranges[{other}] {second} overlaps ranges[{one}] {first}"
            )));
        }
    }
    Ok(())
}

/// A pool without ranges that gives its only address to the gateway is a slip.
fn check_leaves_some(
    subnet: Subnet,
    ranges: Option<&[Interval]>,
    gateway: Option<Addr>,
) -> Result<()> {
    match gateway {
        Some(gateway)
            if Layout::of(subnet, ranges, &[], Some(gateway))
                .ranges
                .is_empty() =>
        {
            Err(Error::Invalid(format!(
                "gateway {gateway}: it is the only address of subnet {subnet}, so that none is left to lease"
            )))
        }
        _ => Ok(()),
    }
}

fn check_exclude(exclude: &[IpNetwork], subnet: Subnet) -> Result<Vec<Interval>> {
    check_count("exclude", exclude.len(), EXCLUDE_MAX)?;
    let mut found = Vec::with_capacity(exclude.len());
    for (index, network) in exclude.iter().enumerate() {
        let field = format!("exclude[{index}]");
        check_host_bits(&field, *network)?;
        let excluded = Subnet::of(*network);
        check_not_mapped(&field, *network)?;
        if network.is_ipv4() != subnet.is_v4() {
            return Err(other_family(&field, *network, subnet));
        }
        if !(subnet.contains(excluded.first) && subnet.contains(excluded.last)) {
            return Err(Error::Invalid(format!(
                "{field} {network}: it is outside subnet {subnet}"
            )));
        }
        found.push(excluded.interval());
    }
    Ok(found)
}

fn check_routes(new: &NewPool) -> Result<()> {
    check_count("routes", new.routes.len(), ITEMS_MAX)?;
    for (index, route) in new.routes.iter().enumerate() {
        let field = format!("routes[{index}].dst");
        check_host_bits(&field, route.dst)?;
        check_not_mapped(&field, route.dst)?;
        let Some(gw) = route.gw else { continue };
        let field = format!("routes[{index}].gw");
        check_not_mapped(&field, gw.into())?;
        if gw.is_ipv4() != route.dst.is_ipv4() {
            return Err(Error::Invalid(format!(
                "{field} {gw}: it is of another family than dst {}",
                route.dst
            )));
        }
    }
    Ok(())
}

fn check_dns(dns: &Dns) -> Result<()> {
    check_count("dns.nameservers", dns.nameservers.len(), ITEMS_MAX)?;
    for (index, server) in dns.nameservers.iter().enumerate() {
        let field = format!("dns.nameservers[{index}]");
        check_text(&field, server, DNS_NAME_MAX)?;
        let Ok(address) = server.parse::<IpAddr>() else {
            return Err(Error::Invalid(format!(
                "{field} {server:?}: it is not an address"
            )));
        };
        check_not_mapped(&field, address.into())?;
    }
    check_text("dns.domain", &dns.domain, DNS_NAME_MAX)?;
    for (name, list) in [("search", &dns.search), ("options", &dns.options)] {
        check_count(&format!("dns.{name}"), list.len(), ITEMS_MAX)?;
        for (index, item) in list.iter().enumerate() {
            check_text(&format!("dns.{name}[{index}]"), item, DNS_NAME_MAX)?;
        }
    }
    Ok(())
}

fn check_labels(new: &NewPool) -> Result<()> {
    check_count("labels", new.labels.len(), ITEMS_MAX)?;
    for (key, value) in &new.labels {
        check_text("labels: key", key, DNS_NAME_MAX)?;
        check_text(&format!("labels[{key:?}]"), value, LABEL_MAX)?;
    }
    Ok(())
}

fn other_family(field: &str, given: impl std::fmt::Display, subnet: Subnet) -> Error {
    Error::Invalid(format!(
        "{field} {given}: it is of another family than subnet {subnet}"
    ))
}

/// An address of the subnet's family.
fn check_address(field: &str, given: IpAddr, subnet: Subnet) -> Result<Addr> {
    check_not_mapped(field, given.into())?;
    if given.is_ipv4() != subnet.is_v4() {
        return Err(other_family(field, given, subnet));
    }
    Ok(given.into())
}

fn check_host_bits(field: &str, network: IpNetwork) -> Result<()> {
    if network.ip() == network.network() {
        return Ok(());
    }
    Err(Error::Invalid(format!(
        "{field} {network}: host bits are set; the network is {}/{}",
        network.network(),
        network.prefix()
    )))
}

/// IPv4-mapped IPv6 addresses would be the same addresses as IPv4's in a second spelling.
fn check_not_mapped(field: &str, network: IpNetwork) -> Result<()> {
    let IpNetwork::V6(v6) = network else {
        return Ok(());
    };
    let mapped = Interval {
        first: Addr(0xffff_0000_0000),
        last: Addr(0xffff_ffff_ffff),
    };
    let given = Interval {
        first: Addr(v6.network().into()),
        last: Addr(v6.broadcast().into()),
    };
    // A route to a larger network, such as the default, holds them without being about them.
    if v6.prefix() <= 80 || !given.overlaps(mapped) {
        return Ok(());
    }
    Err(Error::Invalid(format!(
        "{field} {network}: IPv4-mapped IPv6 addresses are refused; write them as IPv4"
    )))
}

#[cfg(test)]
mod tests;
