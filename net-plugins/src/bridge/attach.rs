//! ADD, step by step.

use cni::{CniResult, Error, Interface, Invocation, NetConf, Route};
use ipnetwork::IpNetwork;

use super::gateway;
use super::keys::Keys;
use super::{port, switch};
use crate::ipam::{self, Ipam};
use crate::link::{self, Link};
use crate::netlink::Netlink;
use crate::owner::Owner;
use crate::spoofcheck::SpoofCheck;
use crate::undo::Undo;
use crate::veth::{self, Pair};
use crate::{announce, masquerade, sysctl};

/// Where the container's interface stands in the result's list.
const CONTAINER_ENTRY: u32 = 2;

/// An ADD under way.
pub(super) struct Attach<'a> {
    pub(super) keys: &'a Keys,
    pub(super) ipam: &'a Ipam<'a>,
    pub(super) host: &'a Netlink,
    pub(super) container: &'a Netlink,
    pub(super) owner: &'a Owner,
    pub(super) invocation: &'a Invocation,
    pub(super) conf: &'a NetConf,
}

impl<'a> Attach<'a> {
    pub(super) fn run(&self, undo: &mut Undo<'a>) -> Result<CniResult, Error> {
        let early = self.ipam.start_early(undo)?;
        let (bridge, pair) = self.make_links(undo)?;
        port::configure(self.host, &pair.host, self.keys)?;
        if self.keys.spoof_check {
            self.check_spoofing(&pair, undo)?;
        }
        let mut gateways = Vec::new();
        let mut gateway_link = None;
        let mut result = CniResult::default();
        if self.ipam.is_configured() {
            result = match early {
                Some(running) => self.ipam.take(running)?,
                None => self.ipam.add(undo)?,
            };
            self.ipam
                .silence_on_undo(self.container, &pair.container, undo);
            gateways = self.settle_gateways(&mut result)?;
            gateway_link = self.address(&bridge, &pair, &gateways, &result, undo)?;
        } else if !self.keys.leave_down {
            link::set_up(self.container, &pair.container)?;
        }
        if !self.keys.leave_down {
            port::wait_until_up(self.host, &pair.host)?;
        }
        if self.ipam.is_configured() {
            announce::now(self.container, &pair.container)?;
        }
        ipam::enable_forwarding(self.host, &gateways, undo)?;
        result.interfaces = self.interfaces(&bridge, &pair, gateway_link);
        if let Some(dns) = &self.conf.dns {
            result.dns = dns.clone();
        }
        Ok(result)
    }

    /// The bridge and the container's pair, whose host end is a port of it.
    fn make_links(&self, undo: &mut Undo<'a>) -> Result<(Link, Pair), Error> {
        // From finding the bridge to joining it nobody may take it away.
        let _lock = self.host.netns().lock()?;
        let bridge = switch::ensure(self.host, self.keys, undo)?;
        let (host, before) = (self.host, bridge.clone());
        undo.push("keep the bridge's hardware address", move || {
            let _lock = host.netns().lock()?;
            match link::find_index(host, before.index)? {
                Some(now) => switch::keep_mac(host, &before, now).map(drop),
                None => Ok(()),
            }
        });
        let wish = veth::Wish {
            ifname: &self.invocation.ifname,
            mac: self.keys.mac,
            mtu: self.keys.mtu,
            bridge: Some(bridge.index),
            owner: self.owner,
        };
        let pair = veth::create(self.host, self.container, &wish, undo)?;
        let now = link::get(self.host, &bridge.name)?;
        let bridge = switch::keep_mac(self.host, &bridge, now)?;
        Ok((bridge, pair))
    }

    fn check_spoofing(&self, pair: &Pair, undo: &mut Undo<'a>) -> Result<(), Error> {
        let Owner {
            container_id,
            ifname,
            ..
        } = self.owner;
        let mac = pair.container.mac.ok_or_else(|| {
            Error::internal(format!(
                "the container's interface {ifname:?} has no hardware address"
            ))
        })?;
        SpoofCheck::of(container_id, ifname).set_up(&pair.host.name, mac)?;
        undo.push("remove the MAC spoofing check", move || {
            SpoofCheck::of(container_id, ifname).tear_down()
        });
        Ok(())
    }

    /// Everything that has to do with addresses. Returns the link that carries a VLAN's gateway, if there is one.
    fn address(
        &self,
        bridge: &Link,
        pair: &Pair,
        gateways: &[IpNetwork],
        result: &CniResult,
        undo: &mut Undo<'a>,
    ) -> Result<Option<Link>, Error> {
        self.prepare(&pair.container)?;
        ipam::configure(
            self.container,
            &pair.container,
            CONTAINER_ENTRY,
            result,
            undo,
        )?;
        let gateway_link =
            gateway::ensure(self.host, bridge, self.keys, gateways, &pair.host, undo)?;
        if let Some(backend) = self.keys.masquerade {
            let addresses: Vec<_> = result.ips.iter().map(|ip| ip.address).collect();
            let owner = self.owner;
            masquerade::set_up(backend, owner, &addresses)?;
            undo.push("remove masquerading", move || masquerade::tear_down(owner));
        }
        Ok(gateway_link)
    }

    /// Fills in what IPAM left open about gateways, and returns the addresses for the bridge.
    fn settle_gateways(&self, result: &mut CniResult) -> Result<Vec<IpNetwork>, Error> {
        let mut gateways = Vec::new();
        for ip in &mut result.ips {
            ip.interface = Some(CONTAINER_ENTRY);
            if !self.keys.is_gateway {
                continue;
            }
            let gateway = match ip.gateway {
                Some(gateway) => gateway,
                None => gateway::fallback(self.conf, ip.address)?,
            };
            ip.gateway = Some(gateway);
            let address = IpNetwork::new(gateway, ip.address.prefix());
            gateways.extend(address);
        }
        if self.keys.is_default_gateway {
            for v4 in [true, false] {
                add_default_route(result, v4);
            }
        }
        Ok(gateways)
    }

    /// Settings of the container's interface that must be there before its addresses.
    fn prepare(&self, interface: &Link) -> Result<(), Error> {
        let name = &interface.name;
        let detect = if self.keys.detect_duplicates {
            "1"
        } else {
            "0"
        };
        let key = |setting: &str| format!("ipv6/conf/{name}/{setting}");
        sysctl::write(self.container, &key("accept_dad"), detect)?;
        if self.keys.detect_duplicates {
            sysctl::write(self.container, &key("enhanced_dad"), "1")?;
        }
        announce::enable(self.container, interface)
    }

    fn interfaces(&self, bridge: &Link, pair: &Pair, gateway: Option<Link>) -> Vec<Interface> {
        let of = |link: &Link, sandbox: &str| Interface {
            name: link.name.clone(),
            mac: link.mac_text(),
            mtu: Some(link.mtu),
            sandbox: sandbox.to_owned(),
            ..Interface::default()
        };
        let mut interfaces = vec![
            of(bridge, ""),
            of(&pair.host, ""),
            of(&pair.container, &self.invocation.netns),
        ];
        interfaces.extend(gateway.map(|link| of(&link, "")));
        interfaces
    }
}

/// A default route through the family's gateway, unless IPAM has one. One of IPAM's without next hop gets it.
fn add_default_route(result: &mut CniResult, v4: bool) {
    let Some(gateway) = ipam::gateway(result, v4) else {
        return;
    };
    let is_default = |route: &&mut Route| route.dst.prefix() == 0 && route.dst.is_ipv4() == v4;
    match result.routes.iter_mut().find(is_default) {
        Some(route) => route.gw = route.gw.or(Some(gateway)),
        None => {
            let any = if v4 { "0.0.0.0/0" } else { "::/0" };
            let dst = any.parse().ok();
            let route = dst.map(|dst| Route::new(dst, Some(gateway)));
            result.routes.extend(route);
        }
    }
}
