//! A container's ADD and DEL: our bridge with cluster-ipam, and with host-local, against upstream's with host-local.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use rtnetlink::LinkMessageBuilder;
use rtnetlink::packet_route::link::LinkMessage;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::lab::{Lab, PEERS};
use crate::node::{Node, Order, Sandbox, ip};
use crate::plugin::{Container, Plugin, address};
use crate::row::{Goal, Peer, Row};
use crate::samples::Samples;
use crate::service::Service;

pub(crate) const ROWS: &[&str] = &[
    "bridge-add",
    "bridge-add-masq",
    "bridge-del",
    "bridge-del-masq",
    "bridge-host-local-add",
    "bridge-host-local-add-masq",
    "bridge-host-local-del",
    "bridge-host-local-del-masq",
];

/// The bridge that the bare pairs are ports of.
const BARE: &str = "bare0";

/// Work for a node: adding and deleting containers on each network in turn, and bare pairs beside them.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Turn {
    /// The networks, each with the path of its plugins.
    networks: Vec<(Value, String)>,
    samples: usize,
    folder: PathBuf,
}

/// Medians of a network, in milliseconds.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct Times {
    add: f64,
    del: f64,
}

pub(crate) fn run(lab: &Lab) -> Result<Vec<Row>> {
    let service = Service::start(lab)?;
    service.create_pool("bridge", "10.60.0.0/16", &json!({}))?;
    let mut node = Node::new("bench-node")?;
    let mut rows = Vec::new();
    for masquerade in [false, true] {
        eprintln!("ADD and DEL of bridge, ipMasq {masquerade}");
        let binaries = lab.binaries_path()?;
        let turn = Turn {
            networks: vec![
                (ours(&service, masquerade), binaries.to_owned()),
                (
                    host_local("mixed", 62, masquerade),
                    format!("{binaries}:{PEERS}"),
                ),
                (host_local("upstream", 61, masquerade), PEERS.to_owned()),
            ],
            samples: lab.amount(15, 120),
            folder: lab.folder.path().join("bridge"),
        };
        node.order(&Order::Bridge(turn))?;
        let (times, bare): (Vec<Times>, f64) = node.answer()?;
        let [ours, mixed, peer] = times[..] else {
            anyhow::bail!("three networks have three times");
        };
        rows.extend(compare(masquerade, ours, peer, bare));
        rows.extend(compare_plugins(masquerade, mixed, peer));
    }
    rows.sort_by_key(|row| ROWS.iter().position(|id| *id == row.id));
    let leased = service.pool("bridge")?.usage.leased;
    ensure!(leased == 0, "{leased} leases are left");
    service.check_books()?;
    Ok(rows)
}

fn compare(masquerade: bool, ours: Times, peer: Times, bare: f64) -> [Row; 2] {
    let (ids, with, goal) = match masquerade {
        false => (["bridge-add", "bridge-del"], "", 0.35),
        true => (["bridge-add-masq", "bridge-del-masq"], " with ipMasq", 0.15),
    };
    let row = |id, verb, ours, peer, note| Row {
        id,
        what: format!("{verb} of bridge and its IPAM plugin{with}"),
        unit: "ms",
        ours,
        peer: Some(Peer {
            name: "upstream",
            value: peer,
        }),
        goal: Goal::TimesOrLess(goal),
        note,
    };
    let note = format!(
        "{:.1} against {:.1} ms, each less {bare:.1} ms for the deletion of a veth alone",
        ours.del, peer.del
    );
    [
        row(ids[0], "ADD", ours.add, peer.add, String::new()),
        row(ids[1], "DEL", ours.del - bare, peer.del - bare, note),
    ]
}

/// The main plugin alone, both with host-local.
fn compare_plugins(masquerade: bool, mixed: Times, peer: Times) -> [Row; 2] {
    let (ids, with) = match masquerade {
        false => (["bridge-host-local-add", "bridge-host-local-del"], ""),
        true => (
            ["bridge-host-local-add-masq", "bridge-host-local-del-masq"],
            " with ipMasq",
        ),
    };
    let row = |id, verb, ours, peer| Row {
        id,
        what: format!("{verb} of our bridge with host-local{with}"),
        unit: "ms",
        ours,
        peer: Some(Peer {
            name: "upstream",
            value: peer,
        }),
        goal: Goal::TimesOrLess(1.0),
        note: String::new(),
    };
    [
        row(ids[0], "ADD", mixed.add, peer.add),
        row(ids[1], "DEL", mixed.del, peer.del),
    ]
}

fn ours(service: &Service, masquerade: bool) -> Value {
    network(
        "ours",
        masquerade,
        &json!({
            "type": "cluster-ipam", "server": service.server.socket_url(), "pools": ["bridge"]
        }),
    )
}

fn host_local(name: &str, number: u8, masquerade: bool) -> Value {
    let subnet = format!("10.{number}.0.0/16");
    network(
        name,
        masquerade,
        &json!({ "type": "host-local", "ranges": [[{ "subnet": subnet }]] }),
    )
}

fn network(name: &str, masquerade: bool, ipam: &Value) -> Value {
    json!({
        "cniVersion": "1.0.0", "name": name, "type": "bridge", "bridge": format!("{name}0"),
        "isGateway": true, "ipMasq": masquerade, "ipam": ipam
    })
}

impl Turn {
    /// On the node.
    pub(crate) fn take(self) -> Result<(Vec<Times>, f64)> {
        let plugins = self.networks.into_iter();
        let plugins = plugins.map(|(network, path)| Plugin::new(network, &path, &self.folder));
        let plugins = plugins.collect::<Result<Vec<_>>>()?;
        // Each network has a container that stays, as on a node at work: what all share is there already.
        let mut residents = Vec::new();
        for (network, plugin) in plugins.iter().enumerate() {
            let sandbox = Sandbox::new(&format!("resident-{network}"))?;
            plugin.call("ADD", &sandbox.container())?;
            residents.push(sandbox);
        }
        let mut add = vec![Samples::EMPTY; plugins.len()];
        let mut del = add.clone();
        let mut bare = Samples::EMPTY;
        for number in 0..=self.samples {
            for (network, plugin) in plugins.iter().enumerate() {
                let (added, deleted) =
                    come_and_go(plugin, &format!("c{network}-{number}"), &residents)?;
                // The first ones make the bridges, and find cold caches.
                if number > 0 {
                    add[network].push_time(added);
                    del[network].push_time(deleted);
                }
            }
            bare.push_time(delete_bare_pair(&format!("bare-{number}"))?);
        }
        for (plugin, resident) in plugins.iter().zip(&residents) {
            plugin.call("DEL", &resident.container())?;
        }
        let times = add.iter().zip(&del).map(|(add, del)| Times {
            add: add.median(),
            del: del.median(),
        });
        Ok((times.collect(), bare.median()))
    }
}

/// One container: how long its ADD and its DEL took. After DEL nothing of it is left beside the residents.
fn come_and_go(plugin: &Plugin, id: &str, residents: &[Sandbox]) -> Result<(Duration, Duration)> {
    let sandbox = Sandbox::new(id)?;
    let (added, result) = plugin.call("ADD", &sandbox.container())?;
    address(&result)?;
    let known = Container {
        result: Some(&result),
        ..sandbox.container()
    };
    let (deleted, _) = plugin.call("DEL", &known)?;
    sandbox.ensure_bare()?;
    let left = ip(&["-brief", "link", "show", "type", "veth"])?;
    ensure!(
        left.lines().count() == residents.len(),
        "DEL left a link on the host: {left}"
    );
    Ok((added, deleted))
}

/// How long the kernel takes to delete a pair that is set up as a plugin does it.
fn delete_bare_pair(id: &str) -> Result<Duration> {
    let sandbox = Sandbox::new(id)?;
    if ip(&["link", "show", BARE]).is_err() {
        ip(&["link", "add", BARE, "type", "bridge"])?;
        ip(&["link", "set", BARE, "up"])?;
    }
    ip(&[
        "link",
        "add",
        id,
        "type",
        "veth",
        "peer",
        "name",
        "eth0",
        "netns",
        &sandbox.name,
    ])?;
    ip(&["link", "set", id, "up", "master", BARE])?;
    ip(&["-netns", id, "link", "set", "eth0", "up"])?;
    ip(&[
        "-netns",
        id,
        "address",
        "add",
        "10.63.0.2/16",
        "dev",
        "eth0",
    ])?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let (connection, handle, _) = rtnetlink::new_connection()?;
        tokio::spawn(connection);
        let link: LinkMessage = LinkMessageBuilder::<rtnetlink::LinkUnspec>::new()
            .name(id)
            .build();
        let begin = Instant::now();
        handle
            .link()
            .del_with_message(link)
            .execute()
            .await
            .context("RTM_DELLINK")?;
        Ok(begin.elapsed())
    })
}
