//! The tour, in order.

use std::path::Path;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use harness::namespaces::Namespace;
use harness::runtime::Runtime;
use harness::tour::page::Page;
use harness::tour::pod::Pod;
use harness::tour::service::Service;
use harness::tour::steps;

use crate::bird::{self, Bird};
use crate::routes;
use crate::wiring::{NODES, Wiring};

const POOLS: [&str; 2] = [
    r#"{"name": "pods-v4", "subnet": "10.1.0.0/24", "gateway": null, "routes": [{"dst": "0.0.0.0/0"}]}"#,
    r#"{"name": "pods-v6", "subnet": "fd00:10:1::/64", "gateway": null, "routes": [{"dst": "::/0"}]}"#,
];

/// The containers' network: its configuration, the same on every node.
const NETWORK: &str = r#"{
  "cniVersion": "1.1.0",
  "name": "pods",
  "type": "routed",
  "hostPrefix": true,
  "routeProtocol": 77,
  "ipam": { "type": "cluster-ipam", "pools": ["pods-v4", "pods-v6"] }
}"#;

/// The marks of routes that may be on a machine: a link's own, the routed plugin's, and BIRD's.
const MAKERS: [&str; 3] = ["kernel", "77", routes::BIRD];

/// Runs the tour with the binaries in this folder.
pub(crate) fn run(page: &mut Page, binaries: &Path, _: &str) -> Result<()> {
    let wiring = Wiring::lay(page)?;
    let birds = speak_bgp(page, &wiring)?;
    let service = steps::serve(page, &wiring.router, binaries)?;
    steps::create_pools(page, &service, POOLS)?;
    let mut runtimes = steps::set_up_nodes(
        page,
        &wiring.nodes,
        NETWORK,
        binaries,
        "The main plugin is routed: it asks cluster-ipam for addresses, makes a link, and marks the node's route to \
         it with protocol 77. A container's address stands alone, and its next hop is its node.",
    )?;
    let mut pods = steps::start_pods(page, &mut runtimes)?;
    steps::expect_leases(&service, &pods)?;
    show_routes(page, &wiring, &pods)?;
    steps::talk(page, &runtimes, &pods)?;
    withdraw(page, &wiring, &service, &mut runtimes, &mut pods)?;
    steps::delete_all(page, &service, &mut runtimes, pods)?;
    for bird in birds {
        bird.stop()?;
    }
    steps::leave_nothing(page, service, &wiring.nodes, &wiring.router)
}

fn speak_bgp(page: &mut Page, wiring: &Wiring) -> Result<Vec<Bird>> {
    page.step("BGP");
    page.say(
        "BIRD on each node learns the kernel's routes that carry protocol 77 and tells the router; the router hands \
         them on, and tells where the service is.",
    );
    let [a, b] = &wiring.nodes;
    let configuration = bird::of_node(&NODES[0]);
    page.command(a.name(), "cat bird.conf");
    page.block(&configuration);
    let birds = vec![
        Bird::start(a, &configuration)?,
        Bird::start(b, &bird::of_node(&NODES[1]))?,
        Bird::start(&wiring.router, &bird::of_router(&NODES))?,
    ];
    bird::wait_for_sessions(&wiring.router, 4)?;
    page.promise("two sessions with each node are established, one of each family");
    for node in &wiring.nodes {
        routes::wait(node, &["10.0.0.0/24".to_owned()], true)?;
    }
    page.promise("both nodes have learned the way to the service");
    Ok(birds)
}

/// Each node has a route to each container of the other, and no route is there that nobody is known to have made.
fn show_routes(page: &mut Page, wiring: &Wiring, pods: &[Pod]) -> Result<()> {
    page.step("The routes");
    page.say(
        "On its own node the plugin made a container's route. From there BGP carries it through the fabric, where BIRD \
         puts it into the kernel. Nothing else configures a route.",
    );
    for machine in wiring.machines() {
        let elsewhere = pods.iter().filter(|pod| pod.node != machine.name());
        let told: Vec<_> = elsewhere.flat_map(destinations).collect();
        routes::wait(machine, &told, true)?;
    }
    let mut rows = Vec::new();
    for machine in wiring.machines() {
        for route in routes::list(machine)? {
            let maker = route.protocol.as_str();
            ensure!(MAKERS.contains(&maker), "{}: {route:?}", machine.name());
            let Some(pod) = (pods.iter()).find(|pod| destinations(pod).contains(&route.dst)) else {
                continue;
            };
            let made_by_bird = maker == routes::BIRD;
            ensure!(made_by_bird == (pod.node != machine.name()), "{route:?}");
            rows.push([
                machine.name().to_owned(),
                route.dst,
                pod.name.clone(),
                format!("{} {}", route.gateway, route.dev).trim().to_owned(),
                route.protocol,
            ]);
        }
    }
    page.table(["ON", "TO", "OF", "THROUGH", "PROTOCOL"], &rows);
    let wanted: usize = pods.iter().map(|pod| 3 * pod.addresses.len()).sum();
    ensure!(rows.len() == wanted, "{} routes, not {wanted}", rows.len());
    page.promise(
        "every machine has one route to each address of each container: its node's is the plugin's, the others BIRD's",
    );
    page.promise("no route on any machine was made by anybody but the kernel, the plugin and BIRD");
    Ok(())
}

/// A container goes, and the fabric forgets it.
fn withdraw(
    page: &mut Page,
    wiring: &Wiring,
    service: &Service,
    runtimes: &mut [Runtime<'_>; 2],
    pods: &mut Vec<Pod>,
) -> Result<()> {
    page.step("A container goes, and its route with it");
    let [a, b] = &wiring.nodes;
    let index = pods.iter().position(|pod| pod.name == "web-2");
    let pod = pods.remove(index.context("web-2 runs")?);
    let gone = destinations(&pod);
    show_bird(page, b, &gone[0])?;
    let took = pod.stop(&mut runtimes[0])?;
    let begin = Instant::now();
    page.promise(&format!("web-2 is deleted ({} ms)", took.as_millis()));
    for machine in [&wiring.router, b] {
        routes::wait(machine, &gone, false)?;
        page.promise(&format!(
            "{} ms later {} has no route to it",
            begin.elapsed().as_millis(),
            machine.name()
        ));
    }
    let left = routes::list(a)?;
    let stale = left.iter().find(|route| gone.contains(&route.dst));
    ensure!(stale.is_none(), "{} still has {stale:?}", a.name());
    steps::expect_leases(service, pods)?;
    page.promise("its addresses are released, and the other containers keep theirs");
    steps::talk(page, runtimes, pods)
}

/// A container's addresses as ip(8) shows routes to them.
fn destinations(pod: &Pod) -> Vec<String> {
    pod.addresses.iter().map(ToString::to_string).collect()
}

fn show_bird(page: &Page, machine: &Namespace, address: &str) -> Result<()> {
    let line = format!("show route for {address}");
    page.command(machine.name(), &format!("birdc {line}"));
    page.block(&bird::control(machine, &line)?);
    Ok(())
}
