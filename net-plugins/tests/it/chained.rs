//! Our plugins as the first of a chain, and upstream's after them.

use serde_json::{Value, json};

use crate::world::{Host, Namespace, ready, with};

/// A conflist with the plugin first, as a runtime would run it.
struct Chain<'a> {
    host: &'a Host,
    pod: &'a Namespace,
    plugins: Vec<Value>,
}

impl Chain<'_> {
    fn run(&self, command: &str, plugin: &Value, previous: &Value) -> Option<Value> {
        let kind = plugin["type"].as_str().unwrap();
        let program = match kind {
            "bridge" | "macvlan" | "routed" => kind.to_owned(),
            other => format!("upstream-{other}"),
        };
        let common = json!({"cniVersion": "1.0.0", "name": "net"});
        let mut conf = with(&common, plugin.clone());
        if !previous.is_null() {
            conf["prevResult"] = previous.clone();
        }
        let call = self.host.call(&program, self.pod);
        match command {
            "ADD" => Some(call.add(&conf)),
            _ => {
                call.succeed(command, &conf);
                None
            }
        }
    }

    fn add(&self) -> Value {
        let none = Value::Null;
        (self.plugins.iter()).fold(none, |previous, plugin| {
            self.run("ADD", plugin, &previous).unwrap()
        })
    }
}

#[test]
fn upstreams_portmap_firewall_and_tuning_work_after_ours() {
    if !ready() {
        return;
    }
    for first in ["bridge", "routed"] {
        let host = Host::new();
        let (pod, outside) = (host.container(), host.container());
        let mut ipam = host.host_local(&["10.9.0.0/24"]);
        ipam["routes"] = json!([{"dst": "0.0.0.0/0"}]);
        let ours = json!({
            "type": first, "isDefaultGateway": true, "ipMasq": true,
            "ipam": ipam,
        });
        let ours = with(&ours, json!({"bridge": "br0"}));
        let chain = Chain {
            host: &host,
            pod: &pod,
            plugins: vec![
                ours,
                json!({"type": "tuning", "mac": "02:00:00:00:00:42", "sysctl": {"net.ipv4.conf.eth0.forwarding": "1"}}),
                json!({"type": "firewall", "backend": "iptables"}),
                json!({"type": "portmap", "runtimeConfig": {"portMappings": [{"hostPort": 8080, "containerPort": 80, "protocol": "tcp"}]}}),
            ],
        };
        let name = outside.path();
        let name = name.rsplit('/').next().unwrap();
        host.net.ip(&format!(
            "link add up0 type veth peer name up1 netns {name}"
        ));
        host.net.ip("addr add 192.0.2.1/24 dev up0");
        host.net.ip("link set up0 up");
        outside.ip("addr add 192.0.2.2/24 dev up1");
        outside.ip("link set up1 up");
        let result = chain.add();
        assert_eq!(pod.link("eth0")["address"], "02:00:00:00:00:42");
        let mut listener = pod.command("busybox");
        listener.args(["nc", "-l", "-p", "80", "-e", "echo", "hello"]);
        let mut listener = listener.spawn().unwrap();
        let mut answer = String::new();
        for _ in 0..10 {
            let mut client = outside.command("busybox");
            client.args(["nc", "-w", "2", "192.0.2.1", "8080"]);
            client.stdin(std::process::Stdio::null());
            answer = String::from_utf8(client.output().unwrap().stdout).unwrap();
            if !answer.is_empty() {
                break;
            }
            std::thread::sleep(std::time::Duration::from_millis(100));
        }
        let _ = listener.kill();
        listener.wait().unwrap();
        assert_eq!(answer, "hello\n", "{first}");
        // The CHECK of Debian's portmap looks for rules of IPv6 also where there is no such address.
        for plugin in chain.plugins.iter().filter(|p| p["type"] != "portmap") {
            chain.run("CHECK", plugin, &result);
        }
        for plugin in chain.plugins.iter().rev() {
            chain.run("DEL", plugin, &result);
        }
        assert_eq!(pod.link("eth0"), Value::Null);
        assert_eq!(host.leased(), [""; 0]);
        assert!(
            !host.net.ruleset().contains("10.9.0.2"),
            "{}",
            host.net.ruleset()
        );
    }
}

#[test]
fn upstreams_tuning_and_firewall_work_after_macvlan() {
    if !ready() {
        return;
    }
    let host = Host::new();
    let pod = host.container();
    host.net.ip("link add up0 type veth peer name up1");
    host.net.ip("link set up0 up");
    let ipam = host.host_local(&["10.9.0.0/24"]);
    let chain = Chain {
        host: &host,
        pod: &pod,
        plugins: vec![
            json!({"type": "macvlan", "master": "up0", "ipam": ipam}),
            json!({"type": "tuning", "mtu": 1400, "sysctl": {"net.ipv4.conf.eth0.arp_ignore": "1"}}),
            json!({"type": "firewall", "backend": "iptables"}),
        ],
    };
    let result = chain.add();
    assert_eq!(pod.link("eth0")["mtu"], 1400);
    assert_eq!(pod.sysctl("ipv4/conf/eth0/arp_ignore"), "1");
    assert!(host.net.ruleset().contains("10.9.0.2"));
    for plugin in &chain.plugins {
        chain.run("CHECK", plugin, &result);
    }
    for plugin in chain.plugins.iter().rev() {
        chain.run("DEL", plugin, &result);
    }
    assert_eq!(pod.link("eth0"), Value::Null);
    assert_eq!(host.leased(), [""; 0]);
    assert!(!host.net.ruleset().contains("10.9.0.2"));
}

#[test]
fn two_networks_of_one_container_may_be_attached_at_the_same_time() {
    if !ready() {
        return;
    }
    let host = Host::new();
    let pod = host.container();
    host.net.ip("link add up0 type veth peer name up1");
    host.net.ip("link set up0 up");
    let one = json!({
        "cniVersion": "1.0.0", "name": "one", "type": "bridge", "bridge": "br0",
        "isDefaultGateway": true, "ipam": host.host_local(&["10.9.0.0/24"]),
    });
    let two = json!({
        "cniVersion": "1.0.0", "name": "two", "type": "macvlan", "master": "up0",
        "ipam": host.host_local(&["10.8.0.0/24"]),
    });
    let (first, second) = (
        host.call("bridge", &pod),
        host.call("macvlan", &pod).ifname("net1"),
    );
    let (a, b) = std::thread::scope(|scope| {
        let a = scope.spawn(|| first.add(&one));
        let b = scope.spawn(|| second.add(&two));
        (a.join().unwrap(), b.join().unwrap())
    });
    first.check(&one, &a);
    second.check(&two, &b);
    std::thread::scope(|scope| {
        scope.spawn(|| first.del(&one));
        scope.spawn(|| second.del(&two));
    });
    assert_eq!(pod.ip_json("link").as_array().unwrap().len(), 1);
}
