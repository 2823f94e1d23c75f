//! Many containers at once on one bridge, for exactly as many addresses.

use std::collections::BTreeSet;
use std::thread;

use harness::runtime::Runtime;
use serde_json::{Value, json};

use crate::cluster::{addresses, our_cni_path};
use crate::mix::Host;
use crate::pods::ready;

const CONTAINERS: usize = 100;

#[test]
fn a_hundred_containers_share_out_a_hundred_addresses_and_give_them_back() {
    if !ready() {
        return;
    }
    let host = Host::new();
    host.pool(&json!({
        "name": "v4", "subnet": "10.1.0.0/24", "reuse_delay_s": 0,
        "ranges": [{ "first": "10.1.0.10", "last": "10.1.0.109" }],
    }));
    let network = json!({
        "cniVersion": "1.1.0", "name": "pods", "type": "bridge", "bridge": "br0",
        "isDefaultGateway": true, "ipMasq": true, "macspoofchk": true,
        "ipam": { "type": "cluster-ipam", "server": host.server.socket_url(), "pools": ["v4"] },
    });
    let runtime = Runtime::new(&host.node, network, &our_cni_path());
    let ids: Vec<_> = (0..CONTAINERS).map(|n| format!("c{n}")).collect();
    for id in &ids {
        host.node.add_container(id).expect("a container");
    }
    let all_at_once = |verb: &str| -> Vec<Value> {
        thread::scope(|scope| {
            let runtime = &runtime;
            let run = |id: &String| {
                let id = id.clone();
                scope.spawn(move || runtime.verb(verb, &id).expect("it succeeds"))
            };
            let running: Vec<_> = ids.iter().map(run).collect();
            let results = running.into_iter().map(|thread| thread.join());
            results.map(|result| result.expect("no panic")).collect()
        })
    };
    for _ in 0..2 {
        let results = all_at_once("ADD");
        let given: BTreeSet<_> = results.iter().flat_map(addresses).collect();
        assert_eq!(given.len(), CONTAINERS);
        for address in host.leased("c7", "eth0") {
            assert!(given.contains(&address));
            host.ping("c0", address);
        }
        let rules = host.node.run("nft list ruleset").expect("it runs");
        assert_eq!(rules.matches("masquerade comment").count(), CONTAINERS);
        all_at_once("DEL");
        host.assert_empty();
        assert_eq!(host.node.run("nft list ruleset").expect("it runs"), "");
    }
}
