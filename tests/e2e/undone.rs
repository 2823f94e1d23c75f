//! An ADD that fails at any request to the kernel or to another program leaves neither a lease nor a link, a route, an
//! address or a rule. One that is killed there leaves none after the DEL.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use harness::runtime::Runtime;
use serde_json::{Value, json};

use crate::cluster::{addresses, our_cni_path};
use crate::mix::Host;
use crate::pods::ready;

/// How an ADD ends before its time.
#[derive(Clone, Copy, PartialEq)]
enum End {
    Failure,
    Death,
}

/// What the node shows of addresses, routes, proxies and rules, but for what the kernel makes up for links that are up.
pub(crate) fn shown(host: &Host) -> String {
    let commands = [
        "ip -o addr",
        "ip route show table all",
        "ip -6 route show table all",
        "ip neigh show proxy",
        "nft list ruleset",
    ];
    let shown = commands.map(|line| host.node.run(line).expect("it runs"));
    let is_made = |line: &&str| !line.contains("fe80:") && !line.contains("ff00:");
    let lines = shown.iter().flat_map(|text| text.lines()).filter(is_made);
    lines.collect::<Vec<_>>().join("\n")
}

/// Waits until the node shows this again: some of it goes a moment later.
#[track_caller]
pub(crate) fn assert_shown(host: &Host, before: &str, when: &str) {
    let deadline = Instant::now() + Duration::from_secs(5);
    while shown(host) != before && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(50));
    }
    assert_eq!(shown(host), before, "{when}");
}

/// Ends the ADD at its first point, its second, and so on until it succeeds. At least `points` must come before that.
#[track_caller]
fn is_undone(mut plugin: Value, points: u32, end: End) {
    if !ready() {
        return;
    }
    let host = Host::new();
    host.pool(&json!({ "name": "v4", "subnet": "10.1.0.0/24", "reuse_delay_s": 0 }));
    host.pool(&json!({ "name": "v6", "subnet": "fd00:1::/64", "reuse_delay_s": 0 }));
    plugin["cniVersion"] = json!("1.1.0");
    plugin["name"] = json!("pods");
    plugin["ipam"] = json!({
        "type": "cluster-ipam", "server": host.server.socket_url(), "pools": ["v4", "v6"]
    });
    let runtime = Runtime::new(&host.node, plugin.clone(), &our_cni_path());
    let netns = host.node.add_container("one").expect("a container");
    let variables = [
        ("CNI_CONTAINERID", "one"),
        ("CNI_NETNS", &netns),
        ("CNI_IFNAME", "eth0"),
    ];
    let variable = match end {
        End::Failure => "CNI_TEST_FAIL_AT",
        End::Death => "CNI_TEST_DIE_AT",
    };
    let before = shown(&host);
    for point in 1.. {
        let number = point.to_string();
        let mut ending = variables.to_vec();
        ending.push((variable, &number));
        match runtime.run("ADD", &plugin, &ending) {
            Err(error) => {
                let told = format!("point {point}: {error}");
                if end == End::Failure {
                    let injected = format!("injected failure at point {point}, ");
                    assert!(told.contains(&injected), "{told}");
                    assert!(!told.contains("cannot "), "the undoing failed: {told}");
                } else {
                    assert!(!told.contains("(code "), "it did not die: {told}");
                    runtime.run("DEL", &plugin, &variables).expect("DEL");
                    put_bridge_back(&host, &plugin);
                }
                host.assert_empty();
                let left = host.links_in("one");
                assert_eq!(left, BTreeSet::from(["lo".to_owned()]), "{told}");
                assert_shown(&host, &before, &told);
                if end == End::Death {
                    runtime.run("DEL", &plugin, &variables).expect("DEL again");
                }
            }
            Ok(result) => {
                let held: BTreeSet<_> = addresses(&result).into_iter().collect();
                assert_eq!(host.leased("one", "eth0"), held);
                runtime.run("DEL", &plugin, &variables).expect("DEL");
                host.assert_empty();
                assert!(point > points, "it succeeded at point {point}");
                return;
            }
        }
    }
}

/// The gateway's addresses stay on the bridge, which is everybody's.
fn put_bridge_back(host: &Host, plugin: &Value) {
    if plugin["type"] == "bridge" {
        host.node
            .run("ip addr flush dev br0 scope global")
            .expect("it runs");
    }
}

#[test]
fn a_bridge_add_is() {
    is_undone(bridge(), 40, End::Failure);
}

#[test]
fn a_macvlan_add_is() {
    is_undone(macvlan(), 18, End::Failure);
}

#[test]
fn a_routed_add_is() {
    is_undone(routed(), 35, End::Failure);
}

#[test]
fn a_bridge_add_that_was_killed_is() {
    is_undone(bridge(), 40, End::Death);
}

#[test]
fn a_macvlan_add_that_was_killed_is() {
    is_undone(macvlan(), 18, End::Death);
}

#[test]
fn a_routed_add_that_was_killed_is() {
    is_undone(routed(), 35, End::Death);
}

fn bridge() -> Value {
    json!({ "type": "bridge", "bridge": "br0", "isDefaultGateway": true, "ipMasq": true, "macspoofchk": true })
}

fn macvlan() -> Value {
    json!({ "type": "macvlan", "master": "up0" })
}

fn routed() -> Value {
    json!({ "type": "routed", "uplink": "up0", "ipMasq": true })
}
