//! What the container gets, worked out from IPAM's answer before anything is done.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use cni::CniResult;
use ipnetwork::IpNetwork;

use super::keys::Keys;
use crate::addr;
use crate::ipam::SCOPE_LINK;

/// Where the container's interface stands in the result's list.
pub(super) const CONTAINER_ENTRY: u32 = 1;

/// The next hop when the pool's gateway cannot be it: an address that means the same on every link.
const LINK_LOCAL: [IpAddr; 2] = [
    IpAddr::V4(Ipv4Addr::new(169, 254, 1, 1)),
    IpAddr::V6(Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1)),
];

/// One address of the container.
pub(super) struct Planned {
    /// As it is put on the interface.
    pub(super) address: IpNetwork,
    /// The subnet that IPAM says it belongs to.
    pub(super) subnet: IpNetwork,
    /// The host, as the container sees it.
    pub(super) next_hop: IpAddr,
}

/// Works out the addresses, and rewrites the result to what the container really gets. The gateway stays the one that
/// IPAM named: its CHECK looks for it.
pub(super) fn make(result: &mut CniResult, keys: &Keys) -> Vec<Planned> {
    let mut plan = Vec::new();
    let mut replaced = Vec::new();
    for ip in &mut result.ips {
        let next_hop = next_hop(ip.address, ip.gateway, keys);
        if let Some(gateway) = ip.gateway.filter(|gateway| *gateway != next_hop) {
            replaced.push((gateway, next_hop));
        }
        let planned = Planned {
            address: match keys.host_prefix {
                true => addr::host(ip.address.ip()),
                false => ip.address,
            },
            subnet: addr::subnet(ip.address),
            next_hop,
        };
        ip.interface = Some(CONTAINER_ENTRY);
        ip.address = planned.address;
        ip.gateway = ip.gateway.or(Some(next_hop));
        plan.push(planned);
    }
    for route in &mut result.routes {
        let stands_for = |(gateway, _): &&(IpAddr, IpAddr)| match route.gw {
            Some(gw) => gw == *gateway,
            None => gateway.is_ipv4() == route.dst.is_ipv4(),
        };
        let on_link = route
            .scope
            .is_some_and(|scope| scope >= u32::from(SCOPE_LINK));
        if let Some((_, next_hop)) = replaced.iter().find(stands_for).filter(|_| !on_link) {
            route.gw = Some(*next_hop);
        }
    }
    plan
}

/// The pool's gateway becomes an address of the host, as with upstream's ptp. With an uplink it must not: it is a router
/// there, which the host has to reach. Nor can it be when there is none, or when it is the container's own address.
pub(super) fn next_hop(address: IpNetwork, gateway: Option<IpAddr>, keys: &Keys) -> IpAddr {
    let [v4, v6] = LINK_LOCAL;
    let usable = gateway.filter(|gateway| keys.uplink.is_empty() && *gateway != address.ip());
    usable.unwrap_or(if address.is_ipv4() { v4 } else { v6 })
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test may fail by panicking")]
    use cni::{Ip, Route};

    use super::*;

    fn planned(gateway: Option<&str>, keys: &Keys) -> (CniResult, Vec<Planned>) {
        let mut result = CniResult {
            ips: vec![Ip {
                interface: None,
                address: "10.9.0.5/24".parse().unwrap(),
                gateway: gateway.map(|g| g.parse().unwrap()),
            }],
            routes: vec![Route::new(
                "0.0.0.0/0".parse().unwrap(),
                gateway.map(|g| g.parse().unwrap()),
            )],
            ..CniResult::default()
        };
        let plan = make(&mut result, keys);
        (result, plan)
    }

    fn keys(uplink: &str, host_prefix: bool) -> Keys {
        Keys {
            masquerade: None,
            mtu: 0,
            host_prefix,
            uplink: uplink.into(),
            protocol: None,
            table: None,
            metric: None,
        }
    }

    #[test]
    fn the_pools_gateway_is_the_next_hop_unless_it_is_a_router_of_the_uplink() {
        let (result, plan) = planned(Some("10.9.0.1"), &keys("", false));
        assert_eq!(plan[0].next_hop.to_string(), "10.9.0.1");
        assert_eq!(result.ips[0].address.to_string(), "10.9.0.5/24");
        for (gateway, keys) in [
            (Some("10.9.0.1"), keys("up0", true)),
            (None, keys("", true)),
            (Some("10.9.0.5"), keys("", true)),
        ] {
            let (result, plan) = planned(gateway, &keys);
            assert_eq!(plan[0].next_hop.to_string(), "169.254.1.1");
            assert_eq!(plan[0].subnet.to_string(), "10.9.0.0/24");
            assert_eq!(result.ips[0].address.to_string(), "10.9.0.5/32");
            let told = result.ips[0].gateway.unwrap().to_string();
            assert_eq!(told, gateway.unwrap_or("169.254.1.1"));
            let rewritten = gateway.map(|_| plan[0].next_hop);
            assert_eq!(result.routes[0].gw, rewritten);
        }
    }
}
