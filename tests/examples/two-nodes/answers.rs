//! How containers of a routed network are found: their node answers for them on its uplink.

use std::collections::BTreeSet;
use std::net::IpAddr;

use anyhow::{Result, ensure};
use harness::namespaces::Namespace;
use harness::tour::page::Page;
use harness::tour::pod::Pod;

/// Each node answers for its own containers and has routes to no others.
pub(crate) fn show(page: &mut Page, nodes: &[Namespace], pods: &[Pod]) -> Result<()> {
    page.step("How they are found");
    page.say(
        "To the other node and to the switch the whole pool is on the wire: who looks for a container's address asks \
         (ARP, or neighbour discovery), and the container's node answers. It has a route to each container of its own; \
         about the others it knows one route, to the pool.",
    );
    for node in nodes {
        let name = node.name();
        let own: BTreeSet<IpAddr> = (pods.iter().filter(|pod| pod.node == name))
            .flat_map(|pod| pod.addresses.iter().copied())
            .collect();
        let answered = node.run("ip neigh show proxy")?;
        page.command(name, "ip neigh show proxy");
        page.block(&answered);
        let found = addresses(&answered);
        ensure!(found == own, "{name} answers for {found:?}, has {own:?}");
        let routes = node.run("ip route")? + &node.run("ip -6 route")?;
        let found = addresses(&routes);
        ensure!(found == own, "{name} has routes to {found:?}, has {own:?}");
        page.promise(&format!(
            "{name} answers for the {} addresses of its containers, and has a route to each of them and to no other",
            own.len()
        ));
    }
    Ok(())
}

/// The single addresses that lines begin with.
fn addresses(lines: &str) -> BTreeSet<IpAddr> {
    let first = lines
        .lines()
        .filter_map(|line| line.split_whitespace().next());
    first.filter_map(|word| word.parse().ok()).collect()
}
