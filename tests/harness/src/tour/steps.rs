//! The tour itself, step by step. A step that does not hold is an error.

use std::net::IpAddr;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use harness::namespaces::Namespace;
use harness::runtime::Runtime;
use ipam_api::Lease;
use serde_json::Value;

use crate::outage;
use crate::page::Page;
use crate::pod::Pod;
use crate::service::{CURL, NODE_TOKEN, Service};
use crate::wiring::{MAIN_PLUGINS, NETWORK, Wiring};

/// Runs the tour with the binaries in this folder.
pub(crate) fn run(binaries: &Path) -> Result<()> {
    let mut page = Page::new();
    let page = &mut page;
    let wiring = Wiring::lay(page)?;
    let mut service = serve(page, &wiring.switch, binaries)?;
    create_pools(page, &service)?;
    let mut runtimes = set_up_nodes(page, &wiring, binaries)?;
    let mut pods = start_pods(page, &mut runtimes)?;
    let leases = show_leases(page, &service, &pods)?;
    talk(page, &runtimes, &pods)?;
    let [_, node_b] = &mut runtimes;
    outage::delete_without_service(page, &mut service, node_b, &mut pods)?;
    outage::settle(page, &service, node_b, &mut pods)?;
    look_back(page, &service, &leases)?;
    delete_all(page, &service, &mut runtimes, pods)?;
    leave_nothing(page, service, &wiring)?;
    page.end(&format!("All {} promises were kept.", page.promises()));
    Ok(())
}

fn serve(page: &mut Page, switch: &Namespace, binaries: &Path) -> Result<Service> {
    page.step("The service");
    page.say(
        "One process and one SQLite file; a bigger cluster runs several of them on one PostgreSQL. Beyond loopback it \
         wants tokens: one for admins, and one for nodes, which may lease and release but change nothing else.",
    );
    page.command(
        "switch",
        "ipam-server --listen 10.0.0.5:7070 --admin-token-file admin.token --node-token-file node.token",
    );
    let service = Service::start(switch, binaries)?;
    page.promise("it is ready: its database answers");
    expect(401, service.status_for_strangers()?)?;
    expect(403, service.status_for_nodes()?)?;
    page.promise("without a token it answers 401; a node's token cannot create a pool: 403");
    Ok(service)
}

fn create_pools(page: &mut Page, service: &Service) -> Result<()> {
    page.step("Two pools");
    page.say("A pool is a subnet and what comes with its addresses. A container here gets one address of each family.");
    page.command(
        "admin",
        "echo \"Authorization: Bearer $(cat admin.token)\" > auth",
    );
    let pools = [
        r#"{"name": "pods-v4", "subnet": "10.1.0.0/24", "routes": [{"dst": "0.0.0.0/0"}]}"#,
        r#"{"name": "pods-v6", "subnet": "fd00:10:1::/64", "routes": [{"dst": "::/0"}]}"#,
    ];
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

fn set_up_nodes<'a>(
    page: &mut Page,
    wiring: &'a Wiring,
    binaries: &Path,
) -> Result<[Runtime<'a>; 2]> {
    page.step("The nodes");
    page.say(
        "A node needs the plugin's binary, a node file that names the service, and a network configuration, the same \
         on every node. The main plugin is upstream's bridge: it makes the link, and asks cluster-ipam for addresses.",
    );
    let network: Value = serde_json::from_str(NETWORK)?;
    page.command("node-a", "cat /etc/cni/net.d/10-pods.conf");
    page.block(NETWORK);
    let cni_path = format!("{MAIN_PLUGINS}:{}", binaries.display());
    for node in &wiring.nodes {
        Wiring::install(node, NODE_TOKEN)?;
    }
    page.promise("both nodes are set up");
    let runtime = |node| Runtime::new(node, network.clone(), &cni_path);
    Ok(wiring.nodes.each_ref().map(runtime))
}

fn start_pods(page: &mut Page, runtimes: &mut [Runtime<'_>]) -> Result<Vec<Pod>> {
    page.step("Containers");
    page.say("Each gets a network namespace, then the runtime's CNI ADD, then a web server as its process.");
    let mut pods = Vec::new();
    for (name, node) in [("web-1", 0), ("web-2", 0), ("web-3", 1)] {
        pods.push(start_pod(page, &mut runtimes[node], name)?);
    }
    Ok(pods)
}

/// Starts a container, which has to get one address of each family.
pub(crate) fn start_pod(page: &mut Page, runtime: &mut Runtime<'_>, name: &str) -> Result<Pod> {
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
    expect_leases(service, pods)?;
    page.promise("they are exactly the addresses that the containers have");
    Ok(leases)
}

/// The service's leases are the containers' addresses, no more and no fewer.
pub(crate) fn expect_leases(service: &Service, pods: &[Pod]) -> Result<()> {
    let mut leased: Vec<(String, IpAddr)> = service
        .leases()?
        .into_iter()
        .map(|lease| (lease.attachment.container_id, lease.address.ip()))
        .collect();
    let mut held: Vec<(String, IpAddr)> = pods
        .iter()
        .flat_map(|pod| {
            pod.addresses
                .iter()
                .map(|address| (pod.name.clone(), *address))
        })
        .collect();
    leased.sort();
    held.sort();
    ensure!(leased == held, "leased: {leased:?}, held: {held:?}");
    Ok(())
}

fn talk(page: &mut Page, runtimes: &[Runtime<'_>], pods: &[Pod]) -> Result<()> {
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
            let expected = format!("this is {} on {}", to.name, to.node);
            ensure!(fetched == expected, "{} → {address}: {fetched}", from.name);
            let url = format!("http://{}/", std::net::SocketAddr::new(*address, 8080));
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

fn delete_all(
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

fn leave_nothing(page: &mut Page, mut service: Service, wiring: &Wiring) -> Result<()> {
    let status = service.server.sigterm()?;
    ensure!(status.success(), "the server ended with {status}");
    page.promise("the service ended on SIGTERM, with exit code 0");
    for node in &wiring.nodes {
        let links = node.run("ip -brief link show type veth")?;
        let left = links
            .lines()
            .filter(|link| !link.starts_with("eth0@"))
            .count();
        ensure!(left == 0, "{} has links left: {links}", node.name());
        let netns = node.run("ip netns list")?;
        ensure!(
            netns.is_empty(),
            "{} has containers left: {netns}",
            node.name()
        );
    }
    for machine in wiring.nodes.iter().chain([&wiring.switch]) {
        let processes = machine.processes()?;
        ensure!(
            processes.is_empty(),
            "{}: {processes:?} still run",
            machine.name()
        );
    }
    page.promise(
        "0 links, 0 network namespaces and 0 processes of containers are left on any machine",
    );
    Ok(())
}

fn runtime_of<'a, 'b>(runtimes: &'b [Runtime<'a>], pod: &Pod) -> Result<&'b Runtime<'a>> {
    runtimes
        .iter()
        .find(|runtime| runtime.node().name() == pod.node)
        .with_context(|| format!("no runtime on {}", pod.node))
}

fn expect(expected: u16, status: u16) -> Result<()> {
    ensure!(
        status == expected,
        "the answer was {status} and not {expected}"
    );
    Ok(())
}
