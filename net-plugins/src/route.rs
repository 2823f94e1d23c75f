//! Routes.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use cni::Error;
use futures_util::StreamExt;
use ipnetwork::IpNetwork;
use nix::errno::Errno;
use rtnetlink::packet_core::{
    NLM_F_ACK, NLM_F_CREATE, NLM_F_REQUEST, NetlinkMessage, NetlinkPayload,
};
use rtnetlink::packet_route::RouteNetlinkMessage;
use rtnetlink::packet_route::route::{
    RouteAddress, RouteAttribute, RouteHeader, RouteMessage, RouteMetric, RouteProtocol,
    RouteScope, RouteType,
};
use rtnetlink::{Handle, RouteMessageBuilder};

use crate::link::Link;
use crate::netlink::Netlink;

const MAIN: u8 = RouteHeader::RT_TABLE_MAIN;

/// A route over a link. What is absent is the kernel's default.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// The destination.
    pub dst: IpNetwork,
    /// The next hop; none means that the destination is on the link.
    pub gw: Option<IpAddr>,
    /// The address to send from.
    pub src: Option<IpAddr>,
    /// The next hop is on the link although no subnet says so.
    pub onlink: bool,
    /// 0 global, 253 link, 254 host.
    pub scope: Option<u8>,
    /// The table.
    pub table: Option<u32>,
    /// The priority (metric).
    pub priority: Option<u32>,
    /// The protocol number: who made the route.
    pub protocol: Option<u8>,
    /// MTU in bytes.
    pub mtu: Option<u32>,
    /// The largest TCP segment to advertise, in bytes.
    pub advmss: Option<u32>,
}

impl Route {
    /// A route to `dst` through `gw`, or on the link.
    pub fn new(dst: IpNetwork, gw: Option<IpAddr>) -> Route {
        Route {
            dst,
            gw,
            src: None,
            onlink: false,
            scope: None,
            table: None,
            priority: None,
            protocol: None,
            mtu: None,
            advmss: None,
        }
    }

    /// Whether a route that was found leads where `wanted` does, in the same table and by the same next hop.
    fn leads_as(&self, wanted: &Route) -> bool {
        let table = wanted.table.unwrap_or(MAIN.into());
        let (dst, theirs) = (self.dst, wanted.dst);
        (dst.network(), dst.prefix()) == (theirs.network(), theirs.prefix())
            && self.gw == wanted.gw
            && self.table == Some(table)
    }

    fn message(&self, link: &Link) -> RouteMessage {
        let mut message = match self.dst {
            IpNetwork::V4(dst) => v4(self, dst.network(), dst.prefix()),
            IpNetwork::V6(dst) => v6(self, dst.network(), dst.prefix()),
        };
        message.attributes.push(RouteAttribute::Oif(link.index));
        if let Some(priority) = self.priority {
            message.attributes.push(RouteAttribute::Priority(priority));
        }
        let mtu = self.mtu.map(RouteMetric::Mtu);
        let advmss = self.advmss.map(RouteMetric::Advmss);
        let metrics: Vec<_> = mtu.into_iter().chain(advmss).collect();
        if !metrics.is_empty() {
            message.attributes.push(RouteAttribute::Metrics(metrics));
        }
        message
    }

    fn of(message: &RouteMessage, index: u32) -> Option<Route> {
        let header = &message.header;
        let mut dst = None;
        let mut oif = None;
        let mut route = Route::new(IpNetwork::from(IpAddr::V4(Ipv4Addr::UNSPECIFIED)), None);
        route.scope = Some(header.scope.into());
        route.protocol = Some(header.protocol.into());
        route.table = Some(header.table.into());
        for attribute in &message.attributes {
            match attribute {
                RouteAttribute::Destination(address) => dst = ip(address),
                RouteAttribute::Gateway(address) => route.gw = ip(address),
                RouteAttribute::PrefSource(address) => route.src = ip(address),
                RouteAttribute::Oif(i) => oif = Some(*i),
                // IPv6 joins routes to one destination over several links into one.
                RouteAttribute::MultiPath(hops) => {
                    let hop = hops.iter().find(|hop| hop.interface_index == index)?;
                    oif = Some(index);
                    route.gw = hop.attributes.iter().find_map(|attribute| match attribute {
                        RouteAttribute::Gateway(address) => ip(address),
                        _ => None,
                    });
                }
                RouteAttribute::Table(table) => route.table = Some(*table),
                RouteAttribute::Priority(priority) => route.priority = Some(*priority),
                RouteAttribute::Metrics(metrics) => {
                    for metric in metrics {
                        match metric {
                            RouteMetric::Mtu(mtu) => route.mtu = Some(*mtu),
                            RouteMetric::Advmss(mss) => route.advmss = Some(*mss),
                            _ => {}
                        }
                    }
                }
                _ => {}
            }
        }
        let any = match header.address_family {
            rtnetlink::packet_route::AddressFamily::Inet => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            rtnetlink::packet_route::AddressFamily::Inet6 => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
            _ => return None,
        };
        let length = header.destination_prefix_length;
        route.dst = IpNetwork::new(dst.unwrap_or(any), length).ok()?;
        (oif == Some(index) && header.kind == RouteType::Unicast).then_some(route)
    }
}

fn v4(route: &Route, dst: Ipv4Addr, length: u8) -> RouteMessage {
    let mut builder = common(RouteMessageBuilder::<Ipv4Addr>::new(), route);
    builder = builder.destination_prefix(dst, length);
    if let Some(IpAddr::V4(gw)) = route.gw {
        builder = builder.gateway(gw);
    }
    if let Some(IpAddr::V4(src)) = route.src {
        builder = builder.pref_source(src);
    }
    builder.build()
}

fn v6(route: &Route, dst: Ipv6Addr, length: u8) -> RouteMessage {
    let mut builder = common(RouteMessageBuilder::<Ipv6Addr>::new(), route);
    builder = builder.destination_prefix(dst, length);
    if let Some(IpAddr::V6(gw)) = route.gw {
        builder = builder.gateway(gw);
    }
    if let Some(IpAddr::V6(src)) = route.src {
        builder = builder.pref_source(src);
    }
    builder.build()
}

fn common<T>(mut builder: RouteMessageBuilder<T>, route: &Route) -> RouteMessageBuilder<T> {
    // Upstream's plugins make routes of protocol "boot", as `ip route add` does.
    let protocol = route
        .protocol
        .map_or(RouteProtocol::Boot, RouteProtocol::from);
    builder = builder.protocol(protocol);
    if let Some(scope) = route.scope {
        builder = builder.scope(RouteScope::from(scope));
    }
    if let Some(table) = route.table {
        builder = builder.table_id(table);
    }
    if route.onlink {
        builder = builder.onlink();
    }
    builder
}

fn ip(address: &RouteAddress) -> Option<IpAddr> {
    match address {
        RouteAddress::Inet(ip) => Some(IpAddr::V4(*ip)),
        RouteAddress::Inet6(ip) => Some(IpAddr::V6(*ip)),
        _ => None,
    }
}

/// Adds a route over `link`, unless it is there. One to the same destination over another link does not stand for it: a
/// container may be on one network twice.
pub fn ensure(netlink: &Netlink, link: &Link, route: &Route) -> Result<(), Error> {
    let request = netlink.handle().route().add(route.message(link));
    match netlink.wait(request.execute()) {
        Ok(()) => Ok(()),
        Err(failure) if failure.is(Errno::EEXIST) => {
            let routes = list(netlink, link)?;
            match routes.iter().any(|found| found.leads_as(route)) {
                true => Ok(()),
                false => add(netlink, link, route),
            }
        }
        Err(failure) => Err(failure.during(describe(netlink, link, route, "add"))),
    }
}

/// Adds a route over `link`; one that is there already is an error. One to the same destination over another link is
/// not: upstream's plugins add a second default route beside it when a container is on one network twice.
pub fn add(netlink: &Netlink, link: &Link, route: &Route) -> Result<(), Error> {
    let message = RouteNetlinkMessage::NewRoute(route.message(link));
    let mut request = NetlinkMessage::from(message);
    // The library's own request always says NLM_F_EXCL, which refuses the second one.
    request.header.flags = NLM_F_REQUEST | NLM_F_ACK | NLM_F_CREATE;
    (netlink.wait(send(netlink.handle().clone(), request)))
        .map_err(|failure| failure.during(describe(netlink, link, route, "add")))
}

async fn send(
    mut handle: Handle,
    request: NetlinkMessage<RouteNetlinkMessage>,
) -> Result<(), rtnetlink::Error> {
    let mut answers = handle.request(request)?;
    while let Some(answer) = answers.next().await {
        if let NetlinkPayload::Error(error) = answer.payload {
            return Err(rtnetlink::Error::NetlinkError(error));
        }
    }
    Ok(())
}

/// Deletes a route; one that is gone already is fine.
pub fn delete(netlink: &Netlink, link: &Link, route: &Route) -> Result<(), Error> {
    let request = netlink.handle().route().del(route.message(link));
    match netlink.wait(request.execute()) {
        Err(failure) if !failure.is(Errno::ESRCH) && !failure.is(Errno::ENODEV) => {
            Err(failure.during(describe(netlink, link, route, "delete")))
        }
        _ => Ok(()),
    }
}

fn describe(netlink: &Netlink, link: &Link, route: &Route, verb: &str) -> String {
    let Route { dst, gw, .. } = route;
    let via = gw.map(|gw| format!(" via {gw}")).unwrap_or_default();
    let (name, place) = (&link.name, netlink.place());
    format!("failed to {verb} route {dst}{via} dev {name:?} in {place}")
}

/// The unicast routes over `link`, of every table.
pub fn list(netlink: &Netlink, link: &Link) -> Result<Vec<Route>, Error> {
    let (v4, v6) = (
        RouteMessageBuilder::<Ipv4Addr>::new().build(),
        RouteMessageBuilder::<Ipv6Addr>::new().build(),
    );
    let mut routes = Vec::new();
    for family in [v4, v6] {
        let request = netlink.handle().route().get(family);
        let messages = netlink.collect(request.execute()).map_err(|failure| {
            let place = netlink.place();
            failure.during(format!("failed to list the routes in {place}"))
        })?;
        routes.extend(messages.iter().filter_map(|m| Route::of(m, link.index)));
    }
    Ok(routes)
}

/// The name of a link with a default route, IPv4's before IPv6's.
pub fn default_link(netlink: &Netlink) -> Result<Option<u32>, Error> {
    let (v4, v6) = (
        RouteMessageBuilder::<Ipv4Addr>::new().build(),
        RouteMessageBuilder::<Ipv6Addr>::new().build(),
    );
    for family in [v4, v6] {
        let request = netlink.handle().route().get(family);
        let messages = netlink.collect(request.execute()).map_err(|failure| {
            let place = netlink.place();
            failure.during(format!("failed to list the routes in {place}"))
        })?;
        let main = (messages.iter()).filter(|m| {
            m.header.destination_prefix_length == 0
                && m.header.kind == RouteType::Unicast
                && m.header.table == MAIN
        });
        let oif = |m: &RouteMessage| {
            m.attributes.iter().find_map(|a| match a {
                RouteAttribute::Oif(index) => Some(*index),
                _ => None,
            })
        };
        if let Some(index) = main.filter_map(oif).next() {
            return Ok(Some(index));
        }
    }
    Ok(None)
}
