//! What DEL and GC remove besides the link: the addresses that the host answers for.

use std::net::IpAddr;

use cni::{Error, NetConf};
use ipnetwork::IpNetwork;

use crate::link::{self, Link};
use crate::netlink::Netlink;
use crate::owner::Owner;
use crate::{addr, garbage, neighbour, route, undo};

/// The owner's addresses: those of the host's routes over its veth, or else what `prevResult` says. Once the veth is gone
/// nothing else tells them: when they cannot be listed, nothing may be removed.
pub(super) fn addresses(
    host: &Netlink,
    owner: &Owner,
    conf: &NetConf,
) -> Result<Vec<IpAddr>, Error> {
    let mut routed = Vec::new();
    for link in garbage::host_ends(host, owner)? {
        let routes = route::list(host, &link)?;
        let single = routes.iter().filter(|route| is_single(route.dst));
        routed.extend(single.map(|route| route.dst.ip()));
    }
    if !routed.is_empty() {
        return Ok(routed);
    }
    let result = conf.read_prev_result().ok().flatten().unwrap_or_default();
    Ok(result.ips.iter().map(|ip| ip.address.ip()).collect())
}

fn is_single(network: IpNetwork) -> bool {
    network == addr::host(network.ip())
}

/// Stops answering for those of the addresses to which no route leads any more: another container of this host may have
/// one of them by now. Routes to the container of `leaving` do not count.
pub(super) fn stop_answering(
    host: &Netlink,
    addresses: &[IpAddr],
    leaving: Option<&Owner>,
) -> Result<(), Error> {
    if addresses.is_empty() {
        return Ok(());
    }
    let entries = neighbour::entries(host)?;
    let mut mine = entries
        .iter()
        .filter(|entry| addresses.contains(&entry.address))
        .peekable();
    if mine.peek().is_none() {
        return Ok(());
    }
    let served = served(host, leaving)?;
    let gone = mine.filter(|entry| !served.contains(&entry.address));
    undo::all(gone.map(|entry| neighbour::delete(host, entry)))
}

/// Stops answering for every address to which no route leads any more.
pub(super) fn collect(host: &Netlink) -> Result<(), Error> {
    let entries = neighbour::entries(host)?;
    let addresses: Vec<_> = entries.iter().map(|entry| entry.address).collect();
    stop_answering(host, &addresses, None)
}

/// The addresses of all containers of this host but the one that leaves.
fn served(host: &Netlink, leaving: Option<&Owner>) -> Result<Vec<IpAddr>, Error> {
    let links = link::list(host)?;
    let mark = leaving.map(Owner::mark);
    let stays = |link: &Link| {
        mark.as_ref()
            .is_none_or(|mark| !link.alias.starts_with(mark))
    };
    let veths = links
        .iter()
        .filter(|link| link.kind == "veth" && stays(link));
    let mut served = Vec::new();
    for link in veths {
        let routes = route::list(host, link)?;
        served.extend(
            routes
                .iter()
                .filter(|r| is_single(r.dst))
                .map(|r| r.dst.ip()),
        );
    }
    Ok(served)
}
