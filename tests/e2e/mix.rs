//! Ours and Debian's main plugins, each with `cluster-ipam`, and ours with Debian's IPAM plugins; more of those, `dhcp` among
//! them, are tested in `net-plugins`.

use std::collections::BTreeSet;
use std::net::IpAddr;

use harness::namespaces::Namespace;
use harness::require;
use harness::runtime::Runtime;
use harness::server::Server;
use serde_json::{Value, json};

use crate::cluster::{MAIN_PLUGINS, addresses, cni_path, create_pool, leases, our_cni_path};
use crate::pods::ready;
use crate::undone::{assert_shown, shown};

/// One node with what main plugins attach to, and a server.
pub(crate) struct Host {
    pub(crate) server: Server,
    pub(crate) node: Namespace,
    links: BTreeSet<String>,
}

impl Host {
    /// Starts a server without pools, and makes the node, with a bridge `br0` and an uplink `up0` that leads nowhere.
    pub(crate) fn new() -> Self {
        let server = Server::sqlite().expect("the server starts");
        let node = Namespace::new("node").expect("a namespace");
        // An address of its own: else upstream's CHECK of an older container fails when the bridge takes a port's.
        for line in [
            "ip link add br0 address 02:00:00:00:00:01 type bridge",
            "ip link set br0 up",
            "ip link add up0 type veth peer name up1",
            "ip link set up0 up",
            "ip link set up1 up",
        ] {
            node.run(line).expect("a link");
        }
        let links = links(&node.run("ip -brief link").expect("runs"));
        Self {
            server,
            node,
            links,
        }
    }

    pub(crate) fn pool(&self, pool: &Value) {
        create_pool(self.server.rest(), pool);
    }

    /// The addresses that are leased to this interface of a container.
    pub(crate) fn leased(&self, container: &str, ifname: &str) -> BTreeSet<IpAddr> {
        let path = format!("/v1/leases?container_id={container}");
        let list = self.server.rest().get(&path).expect("an answer");
        let leases: Vec<ipam_api::Lease> =
            serde_json::from_value(list.expect(200)["items"].clone()).expect("leases");
        leases
            .iter()
            .filter(|lease| lease.attachment.ifname == ifname)
            .map(|lease| lease.address.ip())
            .collect()
    }

    /// The addresses that an interface of a container has, but for those that the kernel makes up.
    pub(crate) fn addresses(&self, container: &str, ifname: &str) -> BTreeSet<IpAddr> {
        let line = format!("ip -json addr show dev {ifname} scope global");
        let shown = self.node.run_in(container, &line).expect("an interface");
        let shown: Value = serde_json::from_str(&shown).expect("JSON");
        // Entries that the filter left empty are `{}`.
        let infos = shown.as_array().expect("interfaces").iter();
        infos
            .flat_map(|link| link["addr_info"].as_array().cloned().unwrap_or_default())
            .filter_map(|info| info["local"].as_str()?.parse().ok())
            .collect()
    }

    pub(crate) fn ping(&self, container: &str, address: IpAddr) {
        let ping = format!("busybox ping -c 1 -W 5 {address}");
        self.node.run_in(container, &ping).expect("an answer");
    }

    /// The links of a container's network.
    pub(crate) fn links_in(&self, container: &str) -> BTreeSet<String> {
        let shown = self.node.run_in(container, "ip -brief link");
        links(&shown.expect("runs"))
    }

    /// Nothing is leased, the node has the links that it was made with, and every address is accounted for.
    #[track_caller]
    pub(crate) fn assert_empty(&self) {
        assert!(leases(self.server.rest()).is_empty());
        let now = links(&self.node.run("ip -brief link").expect("runs"));
        assert_eq!(now, self.links);
    }
}

/// The names that `ip -brief link` shows.
fn links(shown: &str) -> BTreeSet<String> {
    shown
        .lines()
        .filter_map(|line| line.split_whitespace().next())
        .filter_map(|name| name.split('@').next())
        .map(str::to_owned)
        .collect()
}

/// Two containers on a network of this kind are attached with an address of each family, reach each other, pass CHECK,
/// and leave nothing behind.
#[track_caller]
fn attaches(plugin: &Value, cni_path: &str) {
    let host = Host::new();
    host.pool(&json!({ "name": "v4", "subnet": "10.1.0.0/24" }));
    host.pool(&json!({ "name": "v6", "subnet": "fd00:1::/64" }));
    let mut network = plugin.clone();
    network["name"] = json!("pods");
    network["ipam"] = json!({
        "type": "cluster-ipam", "server": host.server.socket_url(), "pools": ["v4", "v6"]
    });
    let mut runtime = Runtime::new(&host.node, network, cni_path);
    let before = shown(&host);

    for container in ["one", "two"] {
        let result = runtime.start(container).expect("ADD");
        let answered: BTreeSet<_> = addresses(&result).into_iter().collect();
        assert_eq!(answered.len(), 2, "one address of each family: {result:#}");
        assert_eq!(host.leased(container, "eth0"), answered);
        assert_eq!(host.addresses(container, "eth0"), answered);
    }
    for address in host.leased("two", "eth0") {
        host.ping("one", address);
    }
    for container in ["one", "two"] {
        runtime.check(container).expect("CHECK");
    }

    runtime.verb("DEL", "one").expect("DEL");
    assert_eq!(host.links_in("one"), BTreeSet::from(["lo".to_owned()]));
    assert_eq!(host.leased("one", "eth0"), BTreeSet::new());
    runtime.check("two").expect("two is untouched");
    runtime.stop("one").expect("DEL again");
    runtime.stop("two").expect("DEL");
    host.assert_empty();
    assert_shown(&host, &before, "after the last DEL");
}

/// As [`attaches`], with the plugin from this workspace.
#[track_caller]
fn ours_attaches(mut plugin: Value) {
    if ready() {
        plugin["cniVersion"] = json!("1.1.0");
        attaches(&plugin, &our_cni_path());
    }
}

/// As [`attaches`], with the plugin from Debian.
#[track_caller]
pub(crate) fn debians_attaches(mut plugin: Value) {
    let kind = plugin["type"].as_str().expect("a type").to_owned();
    if ready() && require::program(&kind).is_some() {
        let file = format!("{MAIN_PLUGINS}/{kind}");
        assert!(std::path::Path::new(&file).exists(), "{file} is the one");
        plugin["cniVersion"] = json!("1.0.0");
        attaches(&plugin, &cni_path());
    }
}

#[test]
fn our_bridge_attaches_containers_with_cluster_ipam() {
    ours_attaches(json!({ "type": "bridge", "bridge": "br0" }));
}

#[test]
fn our_macvlan_attaches_containers_with_cluster_ipam() {
    ours_attaches(json!({ "type": "macvlan", "master": "up0" }));
}

#[test]
fn our_routed_attaches_containers_with_cluster_ipam() {
    ours_attaches(json!({ "type": "routed" }));
}

#[test]
fn debians_bridge_attaches_containers_with_cluster_ipam() {
    debians_attaches(json!({ "type": "bridge", "bridge": "br0" }));
}

#[test]
fn debians_macvlan_attaches_containers_with_cluster_ipam() {
    debians_attaches(json!({ "type": "macvlan", "master": "up0" }));
}

#[test]
fn debians_ptp_attaches_containers_with_cluster_ipam() {
    debians_attaches(json!({ "type": "ptp" }));
}

#[test]
fn our_bridge_refuses_to_be_the_gateway_of_a_pool_that_has_none() {
    if !ready() {
        return;
    }
    let host = Host::new();
    host.pool(
        &json!({ "name": "v4", "subnet": "10.1.0.0/24", "gateway": null, "reuse_delay_s": 0 }),
    );
    let network = json!({
        "cniVersion": "1.1.0", "name": "pods", "type": "bridge", "bridge": "br0", "isGateway": true,
        "ipam": { "type": "cluster-ipam", "server": host.server.socket_url(), "pools": ["v4"] }
    });
    let mut runtime = Runtime::new(&host.node, network.clone(), &our_cni_path());
    let netns = host.node.add_container("one").expect("a container");
    let variables = [
        ("CNI_CONTAINERID", "one"),
        ("CNI_NETNS", netns.as_str()),
        ("CNI_IFNAME", "eth0"),
    ];

    let refusal = runtime
        .run("ADD", &network, &variables)
        .expect_err("no gateway");
    let told = refusal.to_string();
    assert!(told.contains("(code 7)"), "{told}");
    assert!(told.contains("has no gateway; give the pool one"), "{told}");
    host.assert_empty();
    assert_eq!(host.links_in("one"), BTreeSet::from(["lo".to_owned()]));
    runtime.stop("one").expect("DEL");
    host.assert_empty();
}

/// A container on a network of our plugin gets the only address of each of Debian's IPAM plugins, passes CHECK, and leaves
/// nothing behind.
#[track_caller]
fn ours_attaches_with_debians(plugin: Value) {
    if !ready() {
        return;
    }
    let host = Host::new();
    let store = tempfile::tempdir().expect("a folder");
    let wanted = IpAddr::from([10, 1, 0, 7]);
    for ipam in [
        json!({ "type": "static", "addresses": [{ "address": "10.1.0.7/24" }] }),
        json!({
            "type": "host-local", "subnet": "10.1.0.0/24", "rangeStart": "10.1.0.7", "rangeEnd": "10.1.0.7",
            "dataDir": store.path()
        }),
    ] {
        let before = shown(&host);
        let mut network = plugin.clone();
        network["cniVersion"] = json!("1.0.0");
        network["name"] = json!("pods");
        network["ipam"] = ipam;
        let mut runtime = Runtime::new(&host.node, network, &our_cni_path());
        // Of host-local the second gets the address only if the first has given it back.
        for container in ["one", "two"] {
            runtime.start(container).expect("ADD");
            assert_eq!(host.addresses(container, "eth0"), BTreeSet::from([wanted]));
            runtime.check(container).expect("CHECK");
            runtime.verb("DEL", container).expect("DEL");
            let left = BTreeSet::from(["lo".to_owned()]);
            assert_eq!(host.links_in(container), left);
            runtime.stop(container).expect("DEL again");
        }
        assert_shown(&host, &before, "after the last DEL");
    }
}

#[test]
fn our_bridge_attaches_containers_with_debians_static_and_host_local() {
    ours_attaches_with_debians(json!({ "type": "bridge", "bridge": "br0" }));
}

#[test]
fn our_macvlan_attaches_containers_with_debians_static_and_host_local() {
    ours_attaches_with_debians(json!({ "type": "macvlan", "master": "up0" }));
}

#[test]
fn our_routed_attaches_containers_with_debians_static_and_host_local() {
    ours_attaches_with_debians(json!({ "type": "routed" }));
}
