//! The exact fit: as many pods as there are addresses, on ten nodes at once, and all of them gone again.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::cpu;
use crate::lab::Lab;
use crate::node::{self, Node, Order};
use crate::plugin::{self, Container, Plugin};
use crate::row::{Goal, Row};
use crate::samples::Samples;
use crate::service::Service;
use crate::throughput::postmaster;

pub(crate) const ROWS: &[&str] = &["drain", "drain-left"];

const NODES: usize = 10;
const PODS_PER_NODE: usize = 100;
const POOL: &str = "exact";

/// A node's part: its pods come, all at once, or go.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Share {
    network: Value,
    cni_path: String,
    folder: PathBuf,
    step: Step,
}

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
enum Step {
    /// The pods' namespaces are made, as a runtime does it before ADD.
    Prepare,
    Add,
    Del,
}

/// What came of it.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Outcome {
    /// What those got that were served.
    addresses: Vec<String>,
    /// What the plugins that failed said.
    failures: Vec<String>,
    /// The plugins' processor time, in seconds.
    cpu_s: f64,
}

/// One verb for all pods.
struct Wave {
    took: Duration,
    addresses: Vec<String>,
    failures: usize,
    /// The part of the processor time that server and database used.
    share: f64,
}

pub(crate) fn run(lab: &Lab) -> Result<Vec<Row>> {
    let service = Service::start(lab)?;
    // The gateway is outside the range: 1,000 addresses, from 10.9.1.0 on.
    let range = json!({ "ranges": [{ "first": "10.9.1.0", "last": "10.9.4.231" }] });
    service.create_pool(POOL, "10.9.0.0/16", &range)?;
    let nodes = (0..NODES).map(|number| Node::new(&format!("node-{number}")));
    let mut nodes = nodes.collect::<Result<Vec<_>>>()?;
    wave(lab, &service, &mut nodes, Step::Prepare)?;
    let [mut took, mut gone, mut share] = [const { Samples::EMPTY }; 3];
    let (mut failures, mut free) = (0, 0);
    let rounds = lab.amount(1, 5);
    for round in 1..=rounds {
        eprintln!("1,000 pods for 1,000 addresses, round {round} of {rounds}");
        let come = wave(lab, &service, &mut nodes, Step::Add)?;
        took.push(come.took.as_secs_f64());
        share.push(come.share);
        failures += come.failures;
        let usage = service.pool(POOL)?.usage;
        free += usage.free;
        let distinct: BTreeSet<_> = come.addresses.iter().collect();
        ensure!(
            distinct.len() == come.addresses.len() && distinct.len() as u64 == usage.leased,
            "{} pods got {} addresses, and {} are leased",
            come.addresses.len(),
            distinct.len(),
            usage.leased
        );
        let go = wave(lab, &service, &mut nodes, Step::Del)?;
        failures += go.failures;
        gone.push(go.took.as_secs_f64());
        let leased = service.pool(POOL)?.usage.leased;
        ensure!(leased == 0, "{leased} leases are left");
        service.check_books()?;
    }
    let share = format!(
        "{:.0} % of the processor time is the service's; their DELs take {:.2} s",
        share.median() * 100.0,
        gone.median()
    );
    let row = |id, what: &str, unit, ours, goal, note| Row {
        id,
        what: what.to_owned(),
        unit,
        ours,
        peer: None,
        goal: Goal::OrLess(goal),
        note,
    };
    #[expect(clippy::cast_precision_loss, reason = "at most some thousands")]
    let left = failures as f64 + free as f64;
    Ok(vec![
        // The fastest figure that a peer has published.
        row(
            "drain",
            "1,000 pods for 1,000 addresses, 10 nodes at once",
            "s",
            took.median(),
            207.0,
            share,
        ),
        row(
            "drain-left",
            "failed pods and addresses left free, all rounds",
            "",
            left,
            0.0,
            String::new(),
        ),
    ])
}

fn wave(lab: &Lab, service: &Service, nodes: &mut [Node], step: Step) -> Result<Wave> {
    let server = service.server.pid().context("the server runs")?;
    let used = || -> Result<Duration> { Ok(cpu::of_family(postmaster(lab)?)? + cpu::of(server)?) };
    let before = used()?;
    let begin = Instant::now();
    for (number, node) in nodes.iter_mut().enumerate() {
        node.order(&Order::Drain(Share {
            network: network(service),
            cni_path: lab.binaries_path()?.to_owned(),
            folder: lab.folder.path().join(format!("drain-{number}")),
            step,
        }))?;
    }
    let outcomes = nodes.iter_mut().map(Node::answer::<Outcome>);
    let mut outcomes = outcomes.collect::<Result<Vec<_>>>()?;
    let took = begin.elapsed();
    let ours = (used()? - before).as_secs_f64();
    let plugins: f64 = outcomes.iter().map(|outcome| outcome.cpu_s).sum();
    let failures: Vec<_> = outcomes
        .iter()
        .flat_map(|outcome| &outcome.failures)
        .collect();
    if let Some(first) = failures.first() {
        eprintln!(
            "{} of 1,000 {step:?}s failed, the first: {first}",
            failures.len()
        );
    }
    let failures = failures.len();
    let addresses = outcomes
        .iter_mut()
        .flat_map(|outcome| outcome.addresses.drain(..))
        .collect();
    Ok(Wave {
        took,
        addresses,
        failures,
        share: ours / (ours + plugins),
    })
}

fn network(service: &Service) -> Value {
    json!({
        "cniVersion": "1.0.0", "name": "pods", "type": "bridge", "bridge": "br0", "isGateway": true,
        "ipam": {
            "type": "cluster-ipam", "server": service.server.socket_url(), "pools": [POOL], "timeout": "60s"
        }
    })
}

impl Share {
    /// On the node.
    pub(crate) fn take(self) -> Result<Outcome> {
        let before = cpu::of_children()?;
        let names = (0..PODS_PER_NODE).map(|number| format!("pod-{number}"));
        let (addresses, failures) = match self.step {
            Step::Prepare => {
                names
                    .map(|name| node::add_netns(&name))
                    .collect::<Result<Vec<_>>>()?;
                (Vec::new(), Vec::new())
            }
            Step::Add => self.at_once("ADD", names)?,
            Step::Del => self.at_once("DEL", names)?,
        };
        let cpu_s = (cpu::of_children()? - before).as_secs_f64();
        Ok(Outcome {
            addresses,
            failures,
            cpu_s,
        })
    }

    /// Starts a verb for every pod, then waits for all of them; answers the addresses of those that got one, and what those
    /// that failed said.
    fn at_once(
        self,
        verb: &str,
        pods: impl Iterator<Item = String>,
    ) -> Result<(Vec<String>, Vec<String>)> {
        let main = Plugin::new(self.network, &self.cni_path, &self.folder)?;
        let calls = pods.map(|id| {
            let netns = node::netns(&id);
            main.start(
                verb,
                &Container {
                    id: &id,
                    netns: &netns,
                    result: None,
                },
            )
        });
        let calls = calls.collect::<Result<Vec<_>>>()?;
        let (mut addresses, mut failures) = (Vec::new(), Vec::new());
        for call in calls {
            match call.finish() {
                // A DEL has none.
                Ok((_, result)) => addresses.extend(plugin::address(&result).map(str::to_owned)),
                Err(error) => failures.push(format!("{error:#}")),
            }
        }
        Ok((addresses, failures))
    }
}
