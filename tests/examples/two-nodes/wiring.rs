//! The machines: two nodes, a switch, and the cables between them.

use anyhow::Result;
use harness::namespaces::Namespace;
use harness::tour::machines::{self, add_address};
use harness::tour::page::Page;

/// How containers are connected to their node's uplink.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Topology {
    /// The uplink is a port of the containers' bridge.
    Bridge,
    /// The node routes, and answers for its containers on the uplink.
    Routed,
}

impl Topology {
    /// The topology of an argument.
    pub(crate) fn named(name: &str) -> Self {
        match name {
            "routed" => Self::Routed,
            _ => Self::Bridge,
        }
    }

    /// The containers' network: its configuration, the same on every node.
    pub(crate) fn network(self) -> &'static str {
        match self {
            Self::Bridge => {
                r#"{
  "cniVersion": "1.1.0",
  "name": "pods",
  "type": "bridge",
  "bridge": "br0",
  "ipam": { "type": "cluster-ipam", "pools": ["pods-v4", "pods-v6"] }
}"#
            }
            Self::Routed => {
                r#"{
  "cniVersion": "1.1.0",
  "name": "pods",
  "type": "routed",
  "uplink": "eth0",
  "ipam": { "type": "cluster-ipam", "pools": ["pods-v4", "pods-v6"] }
}"#
            }
        }
    }

    /// What the main plugin does.
    pub(crate) fn about(self) -> &'static str {
        match self {
            Self::Bridge => {
                "The main plugin is bridge: it makes a link that is a port of br0, and asks cluster-ipam for addresses."
            }
            Self::Routed => {
                "The main plugin is routed: it asks cluster-ipam for addresses, makes a link and the routes to it, and \
                 lets the node answer for them on eth0."
            }
        }
    }

    fn drawing(self) -> &'static str {
        match self {
            Self::Bridge => {
                " node-a  10.0.0.11            switch  10.0.0.5           node-b  10.0.0.12\n\
                 ┌──────────────────┐       ┌───────────────────┐       ┌──────────────────┐\n\
                 │ web-1 ─┐         │       │    ipam-server    │       │         ┌─ web-3 │\n\
                 │ web-2 ─┴─ br0 ───┼───────┼─────── br0 ───────┼───────┼─── br0 ─┘        │\n\
                 └──────────────────┘       └───────────────────┘       └──────────────────┘"
            }
            Self::Routed => {
                " node-a  10.0.0.11            switch  10.0.0.5           node-b  10.0.0.12\n\
                 ┌──────────────────┐       ┌───────────────────┐       ┌──────────────────┐\n\
                 │ web-1 ── veth    │       │    ipam-server    │       │    veth ── web-3 │\n\
                 │ web-2 ── veth    │       │                   │       │                  │\n\
                 │           eth0 ──┼───────┼─────── br0 ───────┼───────┼── eth0           │\n\
                 └──────────────────┘       └───────────────────┘       └──────────────────┘"
            }
        }
    }
}

/// The machines of the tour. The tour's own network namespace is one more: the admin's, 10.0.0.2.
pub(crate) struct Wiring {
    pub(crate) nodes: [Namespace; 2],
    pub(crate) switch: Namespace,
}

impl Wiring {
    /// Makes the machines and lays the cables.
    pub(crate) fn lay(page: &mut Page, topology: Topology) -> Result<Self> {
        page.step("Two nodes and a switch");
        page.say(
            "Each machine is a network, a mount and a UTS namespace: it has its own links, hostname, machine id, \
             /etc/cni and /var/lib/cni. The switch's bridge is the wire; it also holds the containers' gateway \
             addresses and the service.",
        );
        page.block(topology.drawing());
        let switch = Namespace::new("switch")?;
        switch.run("ip link add br0 type bridge")?;
        switch.run("ip link set br0 up")?;
        for address in ["10.0.0.5/24", "10.1.0.1/24", "fd00:10:1::1/64"] {
            add_address(&switch, "br0", address)?;
        }
        let nodes = [
            node("node-a", "10.0.0.11/24", &switch, topology)?,
            node("node-b", "10.0.0.12/24", &switch, topology)?,
        ];
        machines::connect_admin(&switch)?;
        switch.run("ip link set admin master br0")?;
        for node in &nodes {
            machines::introduce(page, node)?;
        }
        Ok(Self { nodes, switch })
    }
}

fn node(name: &str, address: &str, switch: &Namespace, topology: Topology) -> Result<Namespace> {
    let node = Namespace::new(name)?;
    node.connect("eth0", switch, name)?;
    switch.run(&format!("ip link set {name} master br0"))?;
    match topology {
        // Containers are neighbours of those on the other node.
        Topology::Bridge => {
            node.run("ip link add br0 type bridge")?;
            node.run("ip link set eth0 master br0")?;
            node.run("ip link set br0 up")?;
            add_address(&node, "br0", address)?;
        }
        // The pools are on the wire, whichever node a container is on.
        Topology::Routed => {
            add_address(&node, "eth0", address)?;
            node.run("ip route add 10.1.0.0/24 dev eth0")?;
            node.run("ip route add fd00:10:1::/64 dev eth0")?;
        }
    }
    Ok(node)
}
