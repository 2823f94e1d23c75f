//! Two nodes on one wire and a server: what the tests here run containers on.

use std::collections::BTreeMap;
use std::net::IpAddr;

use harness::binaries;
use harness::namespaces::Namespace;
use harness::rest::Rest;
use harness::runtime::Runtime;
use harness::server::Server;
use serde_json::{Value, json};

/// The folder of the main plugins that the tests delegate from: Debian's.
pub(crate) const MAIN_PLUGINS: &str = "/usr/lib/cni";

/// Two nodes whose bridges are joined by a cable, and a server that both reach over its unix socket.
pub(crate) struct Cluster {
    pub(crate) server: Server,
    pub(crate) nodes: [Namespace; 2],
}

impl Cluster {
    /// Starts a server with the pools `v4` (10.1.0.0/24) and `v6` (fd00:1::/64), and makes the nodes.
    pub(crate) fn new() -> Self {
        Self::around(Server::sqlite().expect("the server starts"))
    }

    /// The same with this server.
    pub(crate) fn around(server: Server) -> Self {
        for (name, subnet) in [("v4", "10.1.0.0/24"), ("v6", "fd00:1::/64")] {
            create_pool(server.rest(), &json!({ "name": name, "subnet": subnet }));
        }
        let nodes = ["node-a", "node-b"].map(|name| Namespace::new(name).expect("a namespace"));
        let [a, b] = &nodes;
        a.connect("eth0", b, "eth0").expect("a cable");
        for (number, node) in nodes.iter().enumerate() {
            // An address of its own: else it follows the lowest port's, and upstream's CHECK of an older container fails
            // when a new one changes it.
            let bridge = format!("ip link add br0 address 02:00:00:00:00:0{number} type bridge");
            node.run(&bridge).expect("a bridge");
            node.run("ip link set eth0 master br0").expect("a port");
            node.run("ip link set br0 up").expect("up");
        }
        Self { server, nodes }
    }

    /// The `ipam` part of a network's configuration.
    pub(crate) fn ipam(&self, pools: &[&str]) -> Value {
        json!({ "type": "cluster-ipam", "server": self.server.socket_url(), "pools": pools })
    }

    /// Every leased address and the container that holds it, as `NODE/CONTAINER`.
    pub(crate) fn leases(&self) -> BTreeMap<IpAddr, String> {
        leases(self.server.rest())
    }

    /// Nothing is leased and no link is left on a node.
    #[track_caller]
    pub(crate) fn assert_empty(&self) {
        assert_eq!(self.leases(), BTreeMap::new(), "nothing is leased");
        for node in &self.nodes {
            let links = node.run("ip -brief link show type veth").expect("runs");
            assert_eq!(links.lines().count(), 1, "the uplink alone: {links}");
        }
    }
}

/// A network whose main plugin is called bridge.
pub(crate) fn bridge(cni_version: &str, ipam: &Value) -> Value {
    json!({
        "cniVersion": cni_version, "name": "pods", "type": "bridge", "bridge": "br0", "ipam": ipam
    })
}

/// A runtime on each node, on a network of Debian's bridge with this `ipam`.
pub(crate) fn runtimes<'a>(nodes: &'a [Namespace; 2], ipam: &Value) -> [Runtime<'a>; 2] {
    runtimes_of(nodes, &bridge("1.0.0", ipam), &cni_path())
}

/// A runtime on each node, on this network.
pub(crate) fn runtimes_of<'a>(
    nodes: &'a [Namespace; 2],
    network: &Value,
    cni_path: &str,
) -> [Runtime<'a>; 2] {
    nodes
        .each_ref()
        .map(|node| Runtime::new(node, network.clone(), cni_path))
}

/// Hands what waits in a node's spool to the server.
#[track_caller]
pub(crate) fn flush(node: &Namespace) {
    let plugin = binaries::path("cluster-ipam");
    let output = node.command(plugin).arg("flush").output().expect("runs");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "flush on {}: {said}", node.name());
}

/// Where plugins are looked for: Debian's main plugins beat ours.
pub(crate) fn cni_path() -> String {
    let ours = binaries::folder().expect("the binaries build");
    format!("{MAIN_PLUGINS}:{}", ours.display())
}

/// Where plugins are looked for: ours beat Debian's.
pub(crate) fn our_cni_path() -> String {
    let ours = binaries::folder().expect("the binaries build");
    format!("{}:{MAIN_PLUGINS}", ours.display())
}

#[track_caller]
pub(crate) fn create_pool(rest: &Rest, pool: &Value) {
    rest.post("/v1/pools", pool).expect("an answer").expect(201);
}

/// Every leased address and the container that holds it, as `NODE/CONTAINER`.
pub(crate) fn leases(rest: &Rest) -> BTreeMap<IpAddr, String> {
    let list = rest
        .get("/v1/leases?limit=1000")
        .expect("an answer")
        .expect(200);
    let leases: Vec<ipam_api::Lease> =
        serde_json::from_value(list["items"].clone()).expect("leases");
    leases
        .into_iter()
        .map(|lease| {
            let holder = format!(
                "{}/{}",
                lease.attachment.node, lease.attachment.container_id
            );
            (lease.address.ip(), holder)
        })
        .collect()
}

/// The addresses of an ADD's result.
#[track_caller]
pub(crate) fn addresses(result: &Value) -> Vec<IpAddr> {
    let ips = result["ips"].as_array().expect("ips");
    ips.iter()
        .map(|ip| {
            let text = ip["address"].as_str().expect("an address");
            let (address, _) = text.split_once('/').expect("a prefix length");
            address.parse().expect("an address")
        })
        .collect()
}
