//! An ADD that fails after any of its steps leaves neither a lease nor a link.

use std::collections::BTreeSet;

use harness::runtime::Runtime;
use serde_json::{Value, json};

use crate::cluster::{addresses, our_cni_path};
use crate::mix::Host;
use crate::pods::ready;

/// Makes the ADD fail after its first step, its second, and so on until it succeeds. More than `steps` must come before
/// that.
#[track_caller]
fn is_undone(mut plugin: Value, steps: u32) {
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
    for step in 1.. {
        let number = step.to_string();
        let mut failing = variables.to_vec();
        failing.push(("CNI_TEST_FAIL_AFTER_STEP", &number));
        match runtime.run("ADD", &plugin, &failing) {
            Err(error) => {
                let told = error.to_string();
                let injected = format!("injected failure after step {step} ");
                assert!(told.contains(&injected), "{told}");
                assert!(!told.contains("cannot "), "the undoing failed: {told}");
                host.assert_empty();
                let left = host.links_in("one");
                assert_eq!(left, BTreeSet::from(["lo".to_owned()]), "{told}");
            }
            Ok(result) => {
                let held: BTreeSet<_> = addresses(&result).into_iter().collect();
                assert_eq!(host.leased("one", "eth0"), held);
                runtime.run("DEL", &plugin, &variables).expect("DEL");
                host.assert_empty();
                assert!(step > steps, "it succeeded after {step} steps");
                return;
            }
        }
    }
}

#[test]
fn a_bridge_add_is() {
    is_undone(
        json!({ "type": "bridge", "bridge": "br0", "isDefaultGateway": true, "ipMasq": true }),
        12,
    );
}

#[test]
fn a_macvlan_add_is() {
    is_undone(json!({ "type": "macvlan", "master": "up0" }), 5);
}

#[test]
fn a_routed_add_is() {
    is_undone(
        json!({ "type": "routed", "uplink": "up0", "ipMasq": true }),
        12,
    );
}
