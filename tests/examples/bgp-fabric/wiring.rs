//! The machines: two nodes and a router, with a wire of its own to each node.

use anyhow::Result;
use harness::namespaces::Namespace;
use harness::tour::machines::{self, add_address, connect_admin};
use harness::tour::page::Page;

const DRAWING: &str = "\
 node-a  AS 65001              router  AS 65000              node-b  AS 65002
┌──────────────────┐          ┌─────────────────┐          ┌──────────────────┐
│ web-1 ── veth    │          │   ipam-server   │          │    veth ── web-3 │
│ web-2 ── veth    │ 10.0.1.0 │    10.0.0.5     │ 10.0.2.0 │                  │
│  bird     eth0 ──┼──────────┼─ to-a bird to-b ┼──────────┼── eth0     bird  │
└──────────────────┘          └─────────────────┘          └──────────────────┘";

/// A node's place in the fabric.
pub(crate) struct Node {
    name: &'static str,
    /// The router's link to it.
    port: &'static str,
    /// Its wire's network, of which the router is 1 and the node 2: the beginnings of a /24 and of a /64.
    pub(crate) v4: &'static str,
    pub(crate) v6: &'static str,
    /// The number of its autonomous system.
    pub(crate) asn: u32,
}

pub(crate) const NODES: [Node; 2] = [
    Node {
        name: "node-a",
        port: "to-a",
        v4: "10.0.1",
        v6: "fd00:0:1",
        asn: 65001,
    },
    Node {
        name: "node-b",
        port: "to-b",
        v4: "10.0.2",
        v6: "fd00:0:2",
        asn: 65002,
    },
];

/// The machines of the tour. The tour's own network namespace is one more: the admin's, 10.0.0.2.
pub(crate) struct Wiring {
    pub(crate) nodes: [Namespace; 2],
    pub(crate) router: Namespace,
}

impl Wiring {
    /// Makes the machines and lays the cables.
    pub(crate) fn lay(page: &mut Page) -> Result<Self> {
        page.step("Two nodes and a router");
        page.say(
            "Each machine is a network, a mount and a UTS namespace: it has its own links, hostname, machine id, \
             /etc/cni and /var/lib/cni. The nodes share no wire: what goes from one to the other is routed. So far no \
             machine knows more than its own wires.",
        );
        page.block(DRAWING);
        let router = Namespace::new("router")?;
        for family in ["ipv4/ip_forward", "ipv6/conf/all/forwarding"] {
            machines::write(&router, &format!("/proc/sys/net/{family}"), "1")?;
        }
        connect_admin(&router)?;
        add_address(&router, "admin", "10.0.0.5/24")?;
        let [a, b] = NODES;
        let nodes = [connect(&a, &router)?, connect(&b, &router)?];
        for node in &nodes {
            machines::introduce(page, node)?;
        }
        Ok(Self { nodes, router })
    }

    /// All of them.
    pub(crate) fn machines(&self) -> impl Iterator<Item = &Namespace> {
        self.nodes.iter().chain([&self.router])
    }
}

fn connect(place: &Node, router: &Namespace) -> Result<Namespace> {
    let Node { v4, v6, port, .. } = place;
    let node = Namespace::new(place.name)?;
    node.connect("eth0", router, port)?;
    for (machine, link, number) in [(router, *port, 1), (&node, "eth0", 2)] {
        add_address(machine, link, &format!("{v4}.{number}/24"))?;
        add_address(machine, link, &format!("{v6}::{number}/64"))?;
    }
    Ok(node)
}
