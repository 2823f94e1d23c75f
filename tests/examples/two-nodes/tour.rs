//! The tour, in order.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use harness::tour::page::Page;
use harness::tour::pod::Pod;
use harness::tour::service::{CURL, Service};
use harness::tour::steps;
use ipam_api::Lease;

use crate::wiring::{Topology, Wiring};
use crate::{answers, outage};

const POOLS: [&str; 2] = [
    r#"{"name": "pods-v4", "subnet": "10.1.0.0/24", "routes": [{"dst": "0.0.0.0/0"}]}"#,
    r#"{"name": "pods-v6", "subnet": "fd00:10:1::/64", "routes": [{"dst": "::/0"}]}"#,
];

/// Runs the tour with the binaries in this folder, on nodes of the topology of this name.
pub(crate) fn run(page: &mut Page, binaries: &Path, kind: &str) -> Result<()> {
    let topology = Topology::named(kind);
    let wiring = Wiring::lay(page, topology)?;
    let mut service = steps::serve(page, &wiring.switch, binaries)?;
    steps::create_pools(page, &service, POOLS)?;
    let mut runtimes = steps::set_up_nodes(
        page,
        &wiring.nodes,
        topology.network(),
        binaries,
        topology.about(),
    )?;
    let mut pods = steps::start_pods(page, &mut runtimes)?;
    let leases = show_leases(page, &service, &pods)?;
    if topology == Topology::Routed {
        answers::show(page, &wiring.nodes, &pods)?;
    }
    steps::talk(page, &runtimes, &pods)?;
    let [_, node_b] = &mut runtimes;
    outage::delete_without_service(page, &mut service, node_b, &mut pods)?;
    outage::settle(page, &service, node_b, &mut pods)?;
    look_back(page, &service, &leases)?;
    steps::delete_all(page, &service, &mut runtimes, pods)?;
    steps::leave_nothing(page, service, &wiring.nodes, &wiring.switch)
}

fn show_leases(page: &mut Page, service: &Service, pods: &[Pod]) -> Result<Vec<Lease>> {
    page.step("The leases");
    page.command("admin", &format!("{CURL}/v1/leases"));
    let leases = service.leases()?;
    let rows: Vec<_> = leases
        .iter()
        .map(|lease| {
            [
                lease.address.to_string(),
                lease.pool.clone(),
                lease.attachment.node.clone(),
                lease.attachment.network.clone(),
                lease.attachment.container_id.clone(),
                lease.attachment.ifname.clone(),
            ]
        })
        .collect();
    page.table(
        [
            "ADDRESS",
            "POOL",
            "NODE",
            "NETWORK",
            "CONTAINER",
            "INTERFACE",
        ],
        &rows,
    );
    steps::expect_leases(service, pods)?;
    page.promise("they are exactly the addresses that the containers have");
    Ok(leases)
}

fn look_back(page: &mut Page, service: &Service, leases: &[Lease]) -> Result<()> {
    page.step("Who had this address?");
    let lease = leases
        .iter()
        .find(|lease| lease.attachment.container_id == "web-3")
        .context("web-3 had a lease")?;
    let address = lease.address.ip().to_string();
    let at = serde_json::to_value(lease)?["created_at"]
        .as_str()
        .context("a lease has a time")?
        .to_owned();
    page.command(
        "admin",
        &format!("{CURL}'/v1/history?vrf=default&address={address}&at={at}'"),
    );
    let holder = service.holder(&address, &at)?;
    ensure!(holder.attachment == lease.attachment, "{holder:?}");
    page.promise(&format!(
        "then it was {} on {}; the lease ended by {}",
        holder.attachment.container_id,
        holder.attachment.node,
        holder.reason.as_deref().context("the lease has ended")?
    ));
    Ok(())
}
