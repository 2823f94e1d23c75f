//! The steps that tours have in common. A step that does not hold is an error.

use std::net::{IpAddr, SocketAddr};
use std::path::Path;

use anyhow::{Context, Result, ensure};
use ipam_api::Lease;
use serde_json::Value;

use super::page::Page;
use super::pod::Pod;
use super::service::{CURL, Service};
use super::{machines, web};
use crate::namespaces::Namespace;
use crate::runtime::Runtime;

/// Starts the service on a machine, and shows that it wants tokens.
///
/// # Errors
/// When the step does not hold.
pub fn serve(page: &mut Page, machine: &Namespace, binaries: &Path) -> Result<Service> {
    page.step("The service");
    page.say(
        "One process and one SQLite file; a bigger cluster runs several of them on one PostgreSQL. Beyond loopback it \
         wants tokens: one for admins, and one for nodes, which may lease and release but change nothing else.",
    );
    page.command(
        machine.name(),
        "ipam-server --listen 10.0.0.5:7070 --admin-token-file admin.token --node-token-file node.token",
    );
    let service = Service::start(machine, binaries)?;
    page.promise("it is ready: its database answers");
    expect(401, service.status_for_strangers()?)?;
    expect(403, service.status_for_nodes()?)?;
    page.promise("without a token it answers 401; a node's token cannot create a pool: 403");
    Ok(service)
}

/// Creates pools, given as what `POST /v1/pools` takes.
///
/// # Errors
/// When the step does not hold.
pub fn create_pools(page: &mut Page, service: &Service, pools: [&str; 2]) -> Result<()> {
    page.step("Two pools");
    page.say("A pool is a subnet and what comes with its addresses. A container here gets one address of each family.");
    page.command(
        "admin",
        "echo \"Authorization: Bearer $(cat admin.token)\" > auth",
    );
    for pool in pools {
        page.command("admin", &format!("{CURL}/v1/pools --json '{pool}'"));
        let created = service.create_pool(&serde_json::from_str(pool)?)?;
        ensure!(created.usage.leased == 0, "{} is not empty", created.name);
        page.promise(&format!(
            "{}: {} addresses are free",
            created.name, created.usage.free_exact
        ));
    }
    Ok(())
}

/// Sets the nodes up as an admin would, `text` saying what the main plugin does, and answers a runtime on each.
///
/// # Errors
/// When the step does not hold.
pub fn set_up_nodes<'a>(
    page: &mut Page,
    nodes: &'a [Namespace; 2],
    network: &str,
    binaries: &Path,
    text: &str,
) -> Result<[Runtime<'a>; 2]> {
    page.step("The nodes");
    page.say(&format!(
        "A node needs the plugins' binaries, a node file that names the service, and a network configuration, the same \
         on every node. {text}"
    ));
    page.command(nodes[0].name(), "cat /etc/cni/net.d/10-pods.conf");
    page.block(network);
    for node in nodes {
        machines::install(node, network)?;
    }
    page.promise("both nodes are set up");
    let network: Value = serde_json::from_str(network)?;
    let cni_path = binaries.display().to_string();
    Ok(nodes
        .each_ref()
        .map(|node| Runtime::new(node, network.clone(), &cni_path)))
}

/// Starts containers web-1 and web-2 on the first node, and web-3 on the second.
///
/// # Errors
/// When the step does not hold.
pub fn start_pods(page: &mut Page, runtimes: &mut [Runtime<'_>; 2]) -> Result<Vec<Pod>> {
    page.step("Containers");
    page.say("Each gets a network namespace, then the runtime's CNI ADD, then a web server as its process.");
    let [a, b] = runtimes;
    Ok(vec![
        start_pod(page, a, "web-1")?,
        start_pod(page, a, "web-2")?,
        start_pod(page, b, "web-3")?,
    ])
}

/// Starts a container, which has to get one address of each family.
///
/// # Errors
/// When the step does not hold.
pub fn start_pod(page: &mut Page, runtime: &mut Runtime<'_>, name: &str) -> Result<Pod> {
    let pod = Pod::start(runtime, name)?;
    let [v4, v6] = pod.addresses[..] else {
        anyhow::bail!("{name} got {:?} and not one of each family", pod.addresses);
    };
    ensure!(v4.is_ipv4() && v6.is_ipv6(), "{name} got {v4} and {v6}");
    page.promise(&format!(
        "{name} on {} has {v4} and {v6} ({} ms)",
        pod.node,
        pod.took.as_millis()
    ));
    Ok(pod)
}

/// The service's leases are the containers' addresses, no more and no fewer.
///
/// # Errors
/// When they are not.
pub fn expect_leases(service: &Service, pods: &[Pod]) -> Result<()> {
    let holder = |lease: Lease| (lease.attachment.container_id, lease.address.ip());
    let mut leased: Vec<(String, IpAddr)> = service.leases()?.into_iter().map(holder).collect();
    let of = |pod: &Pod| {
        (pod.addresses
            .iter()
            .map(|address| (pod.name.clone(), *address)))
        .collect()
    };
    let mut held: Vec<(String, IpAddr)> = pods.iter().flat_map::<Vec<_>, _>(of).collect();
    leased.sort();
    held.sort();
    ensure!(leased == held, "leased: {leased:?}, held: {held:?}");
    Ok(())
}

/// Every container fetches a page from every other one, over both families.
///
/// # Errors
/// When a page is not that of the right container.
pub fn talk(page: &mut Page, runtimes: &[Runtime<'_>], pods: &[Pod]) -> Result<()> {
    page.step("They talk");
    page.say("Each container fetches a page from each other one, over IPv4 and over IPv6, across the nodes.");
    let mut rows = Vec::new();
    for (from, to) in pods
        .iter()
        .flat_map(|from| pods.iter().map(move |to| (from, to)))
    {
        if from.name == to.name {
            continue;
        }
        let runtime = runtime_of(runtimes, from)?;
        for address in &to.addresses {
            let fetched = from.fetch(runtime, *address)?;
            let expected = web::page(&to.name, &to.node);
            ensure!(fetched == expected, "{} → {address}: {fetched}", from.name);
            let url = format!("http://{}/", SocketAddr::new(*address, web::PORT));
            rows.push([format!("{} on {}", from.name, from.node), url, fetched]);
        }
    }
    page.table(["FROM", "FETCHES", "AND GETS"], &rows);
    page.promise(&format!(
        "{} pages arrived, each from the right container",
        rows.len()
    ));
    Ok(())
}

fn runtime_of<'a, 'b>(runtimes: &'b [Runtime<'a>], pod: &Pod) -> Result<&'b Runtime<'a>> {
    runtimes
        .iter()
        .find(|runtime| runtime.node().name() == pod.node)
        .with_context(|| format!("no runtime on {}", pod.node))
}

/// Deletes the containers, after which nothing is leased.
///
/// # Errors
/// When the step does not hold.
pub fn delete_all(
    page: &mut Page,
    service: &Service,
    runtimes: &mut [Runtime<'_>],
    pods: Vec<Pod>,
) -> Result<()> {
    page.step("Everything is deleted");
    for pod in pods {
        let name = pod.name.clone();
        let runtime = runtimes
            .iter_mut()
            .find(|runtime| runtime.node().name() == pod.node)
            .with_context(|| format!("no runtime on {}", pod.node))?;
        let took = pod.stop(runtime)?;
        page.promise(&format!("{name} is deleted ({} ms)", took.as_millis()));
    }
    let leases = service.leases()?;
    ensure!(leases.is_empty(), "leases are left: {leases:?}");
    let mut rows = Vec::new();
    for name in ["pods-v4", "pods-v6"] {
        let usage = service.pool(name)?.usage;
        ensure!(usage.leased == 0, "{name}: {usage:?}");
        let resting = usage.cooling.to_string();
        rows.push([
            name.to_owned(),
            "0".to_owned(),
            resting,
            usage.free_exact,
            usage.size_exact,
        ]);
    }
    page.table(["POOL", "LEASED", "COOLING", "FREE", "SIZE"], &rows);
    page.promise("0 leases");
    Ok(())
}

/// Ends the service. The nodes have the links that they began with, and nothing runs on any machine.
///
/// # Errors
/// When something is left.
pub fn leave_nothing(
    page: &mut Page,
    mut service: Service,
    nodes: &[Namespace],
    machine: &Namespace,
) -> Result<()> {
    let status = service.server.sigterm()?;
    ensure!(status.success(), "the server ended with {status}");
    page.promise("the service ended on SIGTERM, with exit code 0");
    for node in nodes {
        let links = node.run("ip -brief link show type veth")?;
        let left = links
            .lines()
            .filter(|link| !link.starts_with("eth0@"))
            .count();
        let name = node.name();
        ensure!(left == 0, "{name} has links left: {links}");
        let answered = node.run("ip neigh show proxy")?;
        ensure!(answered.is_empty(), "{name} still answers for {answered}");
        let netns = node.run("ip netns list")?;
        ensure!(netns.is_empty(), "{name} has containers left: {netns}");
    }
    for machine in nodes.iter().chain([machine]) {
        let processes = machine.processes()?;
        let name = machine.name();
        ensure!(processes.is_empty(), "{name}: {processes:?} still run");
    }
    page.promise(
        "0 links, 0 network namespaces and 0 processes of containers are left on any machine",
    );
    Ok(())
}

fn expect(expected: u16, status: u16) -> Result<()> {
    ensure!(
        status == expected,
        "the answer was {status} and not {expected}"
    );
    Ok(())
}
