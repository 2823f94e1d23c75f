//! Containers with more than one interface, and networks of more than one plugin.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Stdio;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Result;
use harness::namespaces::Namespace;
use harness::require;
use harness::runtime::Runtime;
use serde_json::{Value, json};

use crate::cluster::{addresses, our_cni_path};
use crate::mix::Host;
use crate::pods::ready;

/// One interface of one container on one network, which is a list of plugins, as libcni runs them.
struct Attachment<'a> {
    runtime: Runtime<'a>,
    plugins: Vec<Value>,
    container: &'a str,
    ifname: &'a str,
    result: Value,
}

impl<'a> Attachment<'a> {
    /// Not yet added. The container's network namespace is there.
    fn new(host: &'a Host, plugins: &[Value], container: &'a str, ifname: &'a str) -> Self {
        Self {
            runtime: Runtime::new(&host.node, Value::Null, &our_cni_path()),
            plugins: plugins.to_vec(),
            container,
            ifname,
            result: Value::Null,
        }
    }

    /// Each plugin gets the result of the one before it; later verbs get that of the last one.
    fn add(&mut self) -> Result<()> {
        for plugin in &self.plugins {
            self.result = self.run("ADD", plugin)?;
        }
        Ok(())
    }

    fn check(&self) -> Result<()> {
        self.plugins
            .iter()
            .try_for_each(|plugin| self.run("CHECK", plugin).map(drop))
    }

    fn del(&self) -> Result<()> {
        let mut plugins = self.plugins.iter().rev();
        plugins.try_for_each(|plugin| self.run("DEL", plugin).map(drop))
    }

    fn run(&self, verb: &str, plugin: &Value) -> Result<Value> {
        let mut config = plugin.clone();
        if !self.result.is_null() {
            config["prevResult"] = self.result.clone();
        }
        let netns = format!("/run/netns/{}", self.container);
        let variables = [
            ("CNI_CONTAINERID", self.container),
            ("CNI_NETNS", &netns),
            ("CNI_IFNAME", self.ifname),
        ];
        self.runtime.run(verb, &config, &variables)
    }
}

/// Runs these at the same time, as containerd attaches a container's networks.
#[track_caller]
fn together(attachments: &mut [Attachment<'_>], verb: fn(&mut Attachment<'_>) -> Result<()>) {
    thread::scope(|scope| {
        for attachment in attachments {
            scope.spawn(move || {
                verb(attachment).unwrap_or_else(|error| {
                    panic!("{}/{}: {error:#}", attachment.container, attachment.ifname)
                });
            });
        }
    });
}

/// A network of this plugin with addresses from these pools.
fn network(host: &Host, name: &str, mut plugin: Value, mut ipam: Value) -> Value {
    plugin["cniVersion"] = json!("1.0.0");
    plugin["name"] = json!(name);
    ipam["type"] = json!("cluster-ipam");
    ipam["server"] = json!(host.server.socket_url());
    plugin["ipam"] = ipam;
    plugin
}

/// A host with the pools `front` and `back`, which both come with a default route.
fn two_pools() -> Host {
    let host = Host::new();
    for (name, net) in [("front", "10.1.0"), ("back", "10.2.0")] {
        host.pool(&json!({
            "name": name, "subnet": format!("{net}.0/24"), "gateway": format!("{net}.1"),
            "routes": [{ "dst": "0.0.0.0/0", "gw": format!("{net}.1") }]
        }));
    }
    host
}

#[test]
fn two_networks_are_attached_at_once_and_one_of_them_is_the_way_out() {
    if !ready() {
        return;
    }
    let host = two_pools();
    let front = network(
        &host,
        "front",
        json!({ "type": "bridge", "bridge": "br0" }),
        json!({ "pools": ["front"] }),
    );
    let back = network(
        &host,
        "back",
        json!({ "type": "macvlan", "master": "up0" }),
        json!({ "pools": ["back"], "routes": [] }),
    );
    let mut attachments = Vec::new();
    for container in ["one", "two"] {
        host.node.add_container(container).expect("a namespace");
        for (plugin, ifname) in [(&front, "eth0"), (&back, "net1")] {
            let plugins = [plugin.clone()];
            attachments.push(Attachment::new(&host, &plugins, container, ifname));
        }
    }

    together(&mut attachments, |attachment| attachment.add());
    let mut held = BTreeMap::new();
    for it in &attachments {
        let leased = host.leased(it.container, it.ifname);
        assert_eq!(leased.len(), 1, "{}/{}", it.container, it.ifname);
        assert_eq!(host.addresses(it.container, it.ifname), leased);
        held.insert((it.container, it.ifname), leased);
    }
    for container in ["one", "two"] {
        let shown = host.node.run_in(container, "ip route show default");
        let routes = shown.expect("runs");
        assert!(
            routes.starts_with("default via 10.1.0.1 dev eth0"),
            "{routes}"
        );
        assert_eq!(routes.lines().count(), 1, "{routes}");
    }
    for ifname in ["eth0", "net1"] {
        for address in &held[&("two", ifname)] {
            host.ping("one", *address);
        }
    }
    for attachment in &attachments {
        attachment.check().expect("CHECK");
    }

    together(&mut attachments, |attachment| attachment.del());
    for container in ["one", "two"] {
        assert_eq!(host.links_in(container), BTreeSet::from(["lo".to_owned()]));
    }
    host.assert_empty();
}

#[test]
fn a_container_is_on_one_bridged_network_twice() {
    twice(&json!({ "type": "bridge", "bridge": "br0" }));
}

#[test]
fn a_container_is_on_one_macvlan_network_twice() {
    twice(&json!({ "type": "macvlan", "master": "up0" }));
}

#[test]
fn a_container_is_on_one_routed_network_twice() {
    twice(&json!({ "type": "routed" }));
}

fn twice(plugin: &Value) {
    if !ready() {
        return;
    }
    let host = two_pools();
    host.pool(&json!({
        "name": "front-v6", "subnet": "fd00:1::/64", "gateway": "fd00:1::1",
        "routes": [{ "dst": "::/0", "gw": "fd00:1::1" }]
    }));
    let pools = json!({ "pools": ["front", "front-v6"] });
    let plugins = [network(&host, "front", plugin.clone(), pools)];
    host.node.add_container("one").expect("a namespace");
    let mut both = ["eth0", "net1"].map(|name| Attachment::new(&host, &plugins, "one", name));

    together(&mut both, |attachment| attachment.add());
    let [first, second] = &both;
    for it in [first, second] {
        let answered = BTreeSet::from_iter(addresses(&it.result));
        assert_eq!(host.leased("one", it.ifname), answered);
        assert_eq!(host.addresses("one", it.ifname), answered);
    }
    assert_ne!(host.leased("one", "eth0"), host.leased("one", "net1"));

    for it in &both {
        it.check().expect("CHECK");
    }

    second.del().expect("DEL");
    assert_eq!(host.leased("one", "net1"), BTreeSet::new());
    let left = BTreeSet::from(["lo", "eth0"].map(str::to_owned));
    assert_eq!(host.links_in("one"), left);
    first.check().expect("the other interface is untouched");
    first.del().expect("DEL");
    host.assert_empty();
}

/// Why Debian's bandwidth cannot be part of a chain on this machine; nothing when it can.
fn without_bandwidth(node: &Namespace) -> Option<String> {
    let made = node.run("ip link add probe type ifb");
    match made {
        Ok(_) => {
            node.run("ip link delete probe").expect("removed");
            None
        }
        Err(error) => Some(format!("the kernel makes no ifb: {error:#}")),
    }
}

#[test]
fn debians_tuning_firewall_portmap_and_bandwidth_are_chained_after_our_bridge() {
    is_followed_by_debians(
        json!({ "type": "bridge", "bridge": "br0", "isDefaultGateway": true, "ipMasq": true }),
    );
}

#[test]
fn debians_tuning_firewall_portmap_and_bandwidth_are_chained_after_our_routed() {
    is_followed_by_debians(json!({ "type": "routed", "ipMasq": true }));
}

#[track_caller]
fn is_followed_by_debians(ours: Value) {
    let programs = ["iptables", "nft"];
    if !ready() || programs.iter().any(|it| require::program(it).is_none()) {
        return;
    }
    let host = Host::new();
    for (name, subnet, everywhere) in [
        ("v4", "10.1.0.0/24", "0.0.0.0/0"),
        ("v6", "fd00:1::/64", "::/0"),
    ] {
        let routes = json!([{ "dst": everywhere }]);
        host.pool(&json!({ "name": name, "subnet": subnet, "routes": routes }));
    }
    let outside = outside(&host);
    let mut plugins = vec![
        network(&host, "pods", ours, json!({ "pools": ["v4", "v6"] })),
        json!({ "type": "tuning", "sysctl": { "net.ipv4.conf.eth0.forwarding": "1" } }),
        json!({ "type": "firewall", "backend": "iptables" }),
        json!({ "type": "portmap", "runtimeConfig": { "portMappings": [
            { "hostPort": 8080, "containerPort": 80, "protocol": "tcp" }
        ] } }),
    ];
    match without_bandwidth(&host.node) {
        Some(why) => require::skip("ifb", &format!("the chain goes without bandwidth: {why}")),
        None => plugins.push(json!({
            "type": "bandwidth", "ingressRate": 8_000_000, "ingressBurst": 8_000_000,
            "egressRate": 8_000_000, "egressBurst": 8_000_000
        })),
    }
    for plugin in &mut plugins {
        plugin["cniVersion"] = json!("1.0.0");
        plugin["name"] = json!("pods");
    }
    let limited = plugins.len() == 5;
    host.node.add_container("one").expect("a namespace");
    let mut one = Attachment::new(&host, &plugins, "one", "eth0");

    one.add().expect("ADD");
    assert_eq!(host.addresses("one", "eth0"), host.leased("one", "eth0"));
    assert_eq!(host.leased("one", "eth0").len(), 2);
    let shaped = host.node.run("ip -brief link show type ifb").expect("runs");
    assert_eq!(shaped.lines().count(), usize::from(limited), "{shaped}");
    assert_eq!(serve_once(&host, &outside), "hello\n");
    // The CHECK of Debian's portmap looks for the rules of IPv4 among those of IPv6.
    one.plugins.retain(|plugin| plugin["type"] != "portmap");
    one.check().expect("CHECK");
    one.plugins = plugins;

    one.del().expect("DEL");
    assert_eq!(host.links_in("one"), BTreeSet::from(["lo".to_owned()]));
    let rules = host.node.run("nft list ruleset").expect("runs");
    for address in ["10.1.0.2", "fd00:1::2", "8080"] {
        assert!(!rules.contains(address), "{rules}");
    }
    host.node.run("ip link delete up9").expect("the cable goes");
    host.node.run("ip addr flush dev br0").expect("runs");
    host.assert_empty();
}

/// A machine that reaches the node's address 192.0.2.1 and nothing behind it.
fn outside(host: &Host) -> Namespace {
    let outside = Namespace::new("outside").expect("a namespace");
    host.node.connect("up9", &outside, "eth0").expect("a cable");
    for (node, address) in [
        (&host.node, "192.0.2.1/24 dev up9"),
        (&outside, "192.0.2.2/24 dev eth0"),
    ] {
        node.run(&format!("ip addr add {address}"))
            .expect("an address");
    }
    outside
}

/// What container `one` says on its port 80 to a client outside who asks the node's port 8080.
fn serve_once(host: &Host, outside: &Namespace) -> String {
    let mut server = host.node.command_in("one", "busybox");
    server.args(["nc", "-l", "-p", "80", "-e", "echo", "hello"]);
    let mut server = server.spawn().expect("starts");
    let end = Instant::now() + Duration::from_secs(10);
    let mut said = String::new();
    // The server may not listen yet.
    while said.is_empty() && Instant::now() < end {
        let mut client = outside.command("busybox");
        client.args(["nc", "-w", "2", "192.0.2.1", "8080"]);
        let output = client.stdin(Stdio::null()).output().expect("starts");
        said = String::from_utf8_lossy(&output.stdout).into_owned();
        thread::sleep(Duration::from_millis(20));
    }
    // It has ended by itself when all went well.
    let _ = server.kill();
    server.wait().expect("ended");
    said
}
