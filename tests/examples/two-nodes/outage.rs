//! The outage: a container is deleted while the service is down, and its release catches up.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use harness::namespaces::Namespace;
use harness::runtime::Runtime;
use harness::tour::page::Page;
use harness::tour::pod::Pod;
use harness::tour::service::Service;
use harness::tour::steps::{expect_leases, start_pod};

/// Where a node keeps the releases that no server has taken yet.
const SPOOL: &str = "/var/lib/cni/cluster-ipam/spool";

/// How long a spooled release may take to be settled once the node's plugin runs again.
const SETTLED_WITHIN: Duration = Duration::from_secs(10);

/// A container is deleted on a node, and the release waits there.
pub(crate) fn delete_without_service(
    page: &mut Page,
    service: &mut Service,
    runtime: &mut Runtime<'_>,
    pods: &mut Vec<Pod>,
) -> Result<()> {
    page.step("A container is deleted while the service is down");
    page.say(
        "A runtime cannot remove a container whose DEL fails, so an outage of the service must not fail it. The \
         plugin writes the release to the node's disk instead, and succeeds.",
    );
    page.command("switch", "kill -9 $(pidof ipam-server)");
    service.server.kill()?;
    let pod = pods.pop().context("web-3 runs")?;
    let (name, addresses) = (pod.name.clone(), pod.addresses.clone());
    let took = pod.stop(runtime)?;
    page.promise(&format!(
        "DEL of {name} succeeded in {} ms",
        took.as_millis()
    ));
    let spooled = spooled(runtime.node())?;
    page.command("node-b", &format!("jq -c .release {SPOOL}/*.json"));
    page.block(&spooled.join("\n"));
    ensure!(spooled.len() == 1, "the spool holds {spooled:?}");
    page.promise("one release waits in node-b's spool");
    page.command("switch", "ipam-server …  (as before)");
    service.server.restart()?;
    let kept = service.leases()?;
    for address in addresses {
        let lease = kept.iter().find(|lease| lease.address.ip() == address);
        ensure!(
            lease.is_some(),
            "the lease of {address} did not survive the crash"
        );
    }
    page.promise("the service is back, and no lease was lost; those of web-3 are not yet released");
    Ok(())
}

/// The waiting release is handed over.
pub(crate) fn settle(
    page: &mut Page,
    service: &Service,
    runtime: &mut Runtime<'_>,
    pods: &mut Vec<Pod>,
) -> Result<()> {
    page.step("The spool settles it");
    page.say(
        "The next run of the plugin on that node hands the waiting releases over, after its own work is done. \
         (cluster-ipam flush does so without waiting for a next run.)",
    );
    pods.push(start_pod(page, runtime, "web-4")?);
    let end = Instant::now() + SETTLED_WITHIN;
    while !spooled(runtime.node())?.is_empty() {
        ensure!(
            Instant::now() < end,
            "the spool is not empty after {SETTLED_WITHIN:?}"
        );
        thread::sleep(Duration::from_millis(20));
    }
    expect_leases(service, pods)?;
    page.promise("the spool is empty, and the leases of web-3 are released");
    let pool = service.pool("pods-v4")?;
    ensure!(pool.usage.cooling == 1, "{:?}", pool.usage);
    page.promise(&format!(
        "its address rests for {} s before another container may get it",
        pool.reuse_delay_s
    ));
    Ok(())
}

/// The releases in a node's spool, as JSON.
fn spooled(node: &Namespace) -> Result<Vec<String>> {
    let files = node.run(&format!("find {SPOOL} -maxdepth 1 -type f"))?;
    files
        .lines()
        .map(|file| {
            let record: serde_json::Value =
                serde_json::from_str(&node.run(&format!("cat {file}"))?)?;
            Ok(record["release"].to_string())
        })
        .collect()
}
