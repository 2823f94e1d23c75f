//! ADD, step by step. The address comes first; then the veth, and routes on both of its sides.

use cni::{CniResult, Error, Interface, Invocation, NetConf};
use ipnetwork::IpNetwork;

use super::keys::Keys;
use super::plan::{self, Planned};
use crate::ipam::{self, Ipam, SCOPE_LINK};
use crate::link::{self, Link};
use crate::netlink::Netlink;
use crate::owner::Owner;
use crate::route::{self, Route};
use crate::undo::Undo;
use crate::veth::{self, Pair};
use crate::{addr, announce, masquerade, neighbour};

/// An ADD under way.
pub(super) struct Attach<'a> {
    pub(super) keys: &'a Keys,
    pub(super) ipam: &'a Ipam<'a>,
    pub(super) host: &'a Netlink,
    pub(super) container: &'a Netlink,
    pub(super) uplink: Option<&'a Link>,
    pub(super) owner: &'a Owner,
    pub(super) invocation: &'a Invocation,
    pub(super) conf: &'a NetConf,
}

impl<'a> Attach<'a> {
    pub(super) fn run(&self, undo: &mut Undo<'a>) -> Result<CniResult, Error> {
        let mut result = self.ipam.add(undo)?;
        let subnets: Vec<_> = result.ips.iter().map(|ip| ip.address).collect();
        let plan = plan::make(&mut result, self.keys);
        let wish = veth::Wish {
            ifname: &self.invocation.ifname,
            mac: None,
            mtu: self.keys.mtu,
            bridge: None,
            owner: self.owner,
        };
        let pair = veth::create(self.host, self.container, &wish, undo)?;
        self.configure_container(&pair.container, &plan, &result, undo)?;
        for planned in &plan {
            self.configure_host(&pair.host, planned)?;
        }
        if let Some(backend) = self.keys.masquerade {
            let owner = self.owner;
            masquerade::set_up(backend, owner, &subnets)?;
            undo.push("remove masquerading", move || masquerade::tear_down(owner));
        }
        // Last: from here on the neighbours of the uplink send what is for the container.
        if let Some(uplink) = self.uplink {
            self.answer(uplink, &plan, undo)?;
        }
        ipam::enable_forwarding(self.host, &subnets, undo)?;
        result.interfaces = self.interfaces(&pair);
        if let Some(dns) = &self.conf.dns {
            result.dns = dns.clone();
        }
        Ok(result)
    }

    /// Everything goes through the host, also to neighbours in the subnet.
    fn configure_container(
        &self,
        interface: &Link,
        plan: &[Planned],
        result: &CniResult,
        undo: &mut Undo<'a>,
    ) -> Result<(), Error> {
        let container = self.container;
        ipam::enable_ipv6(container, interface, result, undo)?;
        for planned in plan {
            addr::add_alone(container, interface, planned.address)?;
        }
        link::set_up(container, interface)?;
        let addresses: Vec<_> = plan.iter().map(|planned| planned.address).collect();
        if addresses.iter().any(IpNetwork::is_ipv6) {
            ipam::settle(container, interface, |address| addresses.contains(&address))?;
        }
        for planned in plan {
            let src = Some(planned.address.ip());
            let to_host = Route {
                src,
                scope: Some(SCOPE_LINK),
                ..Route::new(addr::host(planned.next_hop), None)
            };
            // Several addresses may have one next hop.
            route::ensure(container, interface, &to_host)?;
            let to_subnet = Route {
                src,
                ..Route::new(planned.subnet, Some(planned.next_hop))
            };
            if planned.subnet != addr::host(planned.address.ip()) {
                route::ensure(container, interface, &to_subnet)?;
            }
        }
        for wanted in &result.routes {
            let route = ipam::programmed(wanted, result)?;
            // IPAM may say once more what is there already.
            route::ensure(container, interface, &route)?;
        }
        Ok(())
    }

    fn configure_host(&self, end: &Link, planned: &Planned) -> Result<(), Error> {
        addr::add_alone(self.host, end, addr::host(planned.next_hop))?;
        route::ensure(self.host, end, &to_container(planned.address, self.keys))
    }

    /// Answers for the addresses on the uplink.
    fn answer(&self, uplink: &Link, plan: &[Planned], undo: &mut Undo<'a>) -> Result<(), Error> {
        let host = self.host;
        let addresses = || plan.iter().map(|planned| planned.address.ip());
        for ip in addresses() {
            if neighbour::answer_for(host, uplink, ip)? {
                undo.push(format!("stop answering for {ip}"), move || {
                    neighbour::stop_answering_for(host, ip)
                });
            }
        }
        // They may have been on another host a minute ago.
        announce::answered_for(uplink, addresses())?;
        addresses().try_for_each(|ip| neighbour::enable(host, uplink, ip.is_ipv4(), undo))
    }

    fn interfaces(&self, pair: &Pair) -> Vec<Interface> {
        let of = |link: &Link, sandbox: &str| Interface {
            name: link.name.clone(),
            mac: link.mac_text(),
            mtu: Some(link.mtu),
            sandbox: sandbox.to_owned(),
            ..Interface::default()
        };
        vec![
            of(&pair.host, ""),
            of(&pair.container, &self.invocation.netns),
        ]
    }
}

/// The host's route to one container.
pub(super) fn to_container(address: IpNetwork, keys: &Keys) -> Route {
    Route {
        scope: Some(SCOPE_LINK),
        protocol: keys.protocol,
        table: keys.table,
        priority: keys.metric,
        ..Route::new(addr::host(address.ip()), None)
    }
}
