//! Lives of containers against the real server: restarts, two nodes, outages.

use std::thread;
use std::time::{Duration, Instant};

use harness::server::Server;
use serde_json::{Value, json};

use crate::node::Node;
use crate::responder::{Act, Responder};
use crate::versions::{dual_stack, leases};

fn gc(node: &Node, server: &Server, valid: &[&str]) -> Value {
    let mut config = node.network("1.1.0", &json!(server.url()), &json!(["v4"]));
    let attachment = |id: &&str| json!({"containerID": id, "ifname": "eth0"});
    config["cni.dev/valid-attachments"] = valid.iter().map(attachment).collect();
    node.run("GC", "", &config).success()
}

#[test]
fn a_container_that_stops_and_starts_under_one_id_is_served_each_time() {
    let server = dual_stack();
    let node = Node::new("n1");
    let config = node.network("0.4.0", &json!(server.url()), &json!(["v4"]));
    for _ in 0..4 {
        node.run("ADD", "c1", &config).success();
        assert_eq!(leases(&server).len(), 1);
        node.run("DEL", "c1", &config).success();
        assert!(leases(&server).is_empty());
    }
}

#[test]
fn a_restart_across_an_outage_is_served_and_leaves_nothing() {
    let mut server = dual_stack();
    let node = Node::new("n1");
    let config = node.network("1.1.0", &json!(server.url()), &json!(["v4"]));
    node.run("ADD", "c1", &config).success();
    server.kill().unwrap();
    let outcome = node.run("DEL", "c1", &config);
    outcome.success();
    assert!(outcome.took < Duration::from_secs(1), "{outcome:?}");
    assert_eq!(node.spooled().len(), 1);
    server.restart().unwrap();
    node.run("ADD", "c1", &config).success();
    assert!(node.spooled().is_empty(), "its own key was settled first");
    assert_eq!(
        leases(&server).len(),
        1,
        "the old DEL does not free the new lease"
    );
    node.run("DEL", "c1", &config).success();
    assert!(leases(&server).is_empty());
}

/// Each attempt has a container id of its own. Some are killed half way; some are never heard of again but by GC.
#[test]
fn a_pod_whose_sandbox_fails_again_and_again_does_not_drain_its_pool() {
    let server = Server::sqlite().unwrap();
    let pool = json!({"name": "v4", "subnet": "10.0.0.0/29", "reuse_delay_s": 0});
    server.rest().post("/v1/pools", &pool).unwrap().expect(201);
    let node = Node::new("n1");
    let config = node.network("1.1.0", &json!(server.url()), &json!(["v4"]));
    for attempt in 0..40 {
        let id = format!("sandbox-{attempt}");
        match attempt % 4 {
            0 => node
                .call("ADD", &id, &config)
                .kill_after(Duration::from_millis(attempt)),
            _ => drop(node.run("ADD", &id, &config).success()),
        }
        match attempt % 5 {
            0 => drop(gc(&node, &server, &[])),
            _ => drop(node.run("DEL", &id, &config).success()),
        }
    }
    // What a killed attempt had sent may have arrived after the DEL: that was refused.
    assert!(leases(&server).is_empty(), "{:?}", leases(&server));
}

/// Its first network has addresses, its second never has: multus takes the first back each time.
#[test]
fn a_pod_whose_second_network_fails_again_and_again_drains_neither() {
    let server = Server::sqlite().unwrap();
    for (name, subnet) in [("v4", "10.0.0.0/29"), ("full", "10.0.1.0/30")] {
        let pool = json!({"name": name, "subnet": subnet, "reuse_delay_s": 0});
        server.rest().post("/v1/pools", &pool).unwrap().expect(201);
    }
    let node = Node::new("n1");
    let first = node.network("1.1.0", &json!(server.url()), &json!(["v4"]));
    let mut second = node.network("1.1.0", &json!(server.url()), &json!(["full"]));
    second["name"] = json!("second");
    node.run("ADD", "holder", &second).success();
    for attempt in 0..20 {
        let id = format!("sandbox-{attempt}");
        node.run("ADD", &id, &first).success();
        node.run("ADD", &id, &second).fails(100, "full");
        for config in [&second, &first] {
            node.run("DEL", &id, config).success();
        }
    }
    let holders: Vec<_> = leases(&server).into_iter().map(|(_, c, _)| c).collect();
    assert_eq!(holders, ["holder"]);
}

/// Each attempt's address rests, faster than the pool can bear: it is told so, and goes on when the first has rested.
#[test]
fn a_sandbox_that_fails_faster_than_addresses_rest_waits_for_them_and_loses_none() {
    let server = Server::sqlite().unwrap();
    let pool = json!({"name": "v4", "subnet": "10.0.0.0/29", "reuse_delay_s": 3});
    server.rest().post("/v1/pools", &pool).unwrap().expect(201);
    let node = Node::new("n1");
    let config = node.network("1.1.0", &json!(server.url()), &json!(["v4"]));
    let (mut served, mut told) = (0, 0);
    let end = Instant::now() + Duration::from_secs(60);
    while served < 12 {
        assert!(Instant::now() < end, "{served} served, {told} told to wait");
        let id = format!("sandbox-{served}-{told}");
        let outcome = node.run("ADD", &id, &config);
        if outcome.exit == Some(0) {
            served += 1;
        } else {
            outcome.fails(100, "cooling");
            told += 1;
            thread::sleep(Duration::from_millis(100));
        }
        node.run("DEL", &id, &config).success();
    }
    assert!(told > 0, "five addresses were enough: nothing was shown");
    assert!(leases(&server).is_empty(), "{:?}", leases(&server));
}

#[test]
fn one_container_id_on_two_nodes_is_two_attachments() {
    let server = dual_stack();
    let nodes = [Node::new("n1"), Node::new("n2")];
    let config = |node: &Node| node.network("1.1.0", &json!(server.url()), &json!(["v4"]));
    let first = nodes[0].run("ADD", "same", &config(&nodes[0])).addresses();
    let second = nodes[1].run("ADD", "same", &config(&nodes[1])).addresses();
    assert_ne!(first, second);
    nodes[0].run("DEL", "same", &config(&nodes[0])).success();
    let left = leases(&server);
    assert_eq!(
        left,
        [("n2".to_owned(), "same".to_owned(), second[0].clone())]
    );
}

#[test]
fn a_gc_frees_what_is_not_listed_on_its_own_node_and_network_only() {
    let server = dual_stack();
    let nodes = [Node::new("n1"), Node::new("n2")];
    let config = |node: &Node| node.network("1.1.0", &json!(server.url()), &json!(["v4"]));
    for id in ["a", "b"] {
        nodes[0].run("ADD", id, &config(&nodes[0])).success();
    }
    nodes[1].run("ADD", "a", &config(&nodes[1])).success();
    let mut other_network = config(&nodes[0]);
    other_network["name"] = json!("other");
    nodes[0].run("ADD", "a", &other_network).success();
    gc(&nodes[0], &server, &["b"]);
    let holders: Vec<_> = leases(&server)
        .into_iter()
        .map(|(n, c, _)| (n, c))
        .collect();
    assert_eq!(holders.len(), 3);
    assert!(!gone(&holders, "n1", "b") && !gone(&holders, "n2", "a"));
    let config_without_list = config(&nodes[0]);
    nodes[0]
        .run("GC", "", &config_without_list)
        .fails(7, "cni.dev/valid-attachments is missing");
    assert_eq!(leases(&server).len(), 3);
}

fn gone(holders: &[(String, String)], node: &str, container: &str) -> bool {
    !holders.contains(&(node.to_owned(), container.to_owned()))
}

#[test]
fn a_server_that_restarts_within_the_time_serves_the_add_that_waits() {
    let mut server = dual_stack();
    let node = Node::new("n1");
    let mut config = node.network("1.1.0", &json!(server.url()), &json!(["v4"]));
    config["ipam"]["timeout"] = json!("60s");
    server.kill().unwrap();
    let call = node.call("ADD", "c1", &config);
    let waiting = thread::spawn(move || call.run());
    thread::sleep(Duration::from_millis(300));
    server.restart().unwrap();
    assert_eq!(waiting.join().unwrap().addresses().len(), 1);
    assert_eq!(leases(&server).len(), 1);
}

#[test]
fn an_outage_fails_adds_forgives_checks_and_keeps_dels() {
    let mut server = dual_stack();
    let node = Node::new("n1");
    let mut config = node.network("1.1.0", &json!(server.url()), &json!(["v4"]));
    config["ipam"]["timeout"] = json!("300ms");
    let containers: Vec<_> = (0..10).map(|n| format!("c{n}")).collect();
    for id in &containers {
        config["prevResult"] = node.run("ADD", id, &config).success();
    }
    node.run("STATUS", "", &config).success();
    server.kill().unwrap();
    node.run("ADD", "new", &config)
        .fails(11, "Connection refused");
    let check = node.run("CHECK", "c9", &config);
    check.success();
    assert!(check.stderr.contains("CHECK passes"), "{check:?}");
    node.run("STATUS", "", &config).success();
    for id in &containers {
        node.run("DEL", id, &config).success();
    }
    assert_eq!(node.spooled().len(), 10);
    server.restart().unwrap();
    node.run("ADD", "new", &config).success();
    assert!(node.spooled().is_empty());
    assert_eq!(leases(&server).len(), 1);
}

#[test]
fn a_check_notices_a_lease_that_an_admin_took() {
    let server = dual_stack();
    let node = Node::new("n1");
    let mut config = node.network("1.1.0", &json!(server.url()), &json!(["v4", "v6"]));
    config["prevResult"] = node.run("ADD", "c1", &config).success();
    // A chained plugin has added an address of its own.
    let ips = config["prevResult"]["ips"].as_array_mut().unwrap();
    ips.push(json!({"address": "192.0.2.7/24"}));
    node.run("CHECK", "c1", &config).success();
    for words in ["does not hold", "holds no lease"] {
        let page = server.rest().get("/v1/leases").unwrap().expect(200);
        let id = page["items"][0]["id"].as_str().unwrap();
        let answer = server.rest().delete(&format!("/v1/leases/{id}")).unwrap();
        assert!((200..300).contains(&answer.status), "{answer:?}");
        node.run("CHECK", "c1", &config).fails(107, words);
    }
}

#[test]
fn statuses_follow_the_pools() {
    let server = dual_stack();
    let node = Node::new("n1");
    let status = |pools: Value| {
        let config = node.network("1.1.0", &json!(server.url()), &pools);
        node.run("STATUS", "", &config)
    };
    status(json!(["v4", "v6"])).success();
    status(json!(["v4", "absent"])).fails(50, "\"absent\" does not exist");
    let draining = json!({"state": "draining"});
    server
        .rest()
        .patch("/v1/pools/v6", &draining)
        .unwrap()
        .expect(200);
    // The server's summary may be a second old.
    thread::sleep(Duration::from_millis(1200));
    status(json!([["v6"]])).fails(50, "\"v6\" is draining");
    status(json!([["v6", "v4"]])).success();
}

#[test]
fn another_service_behind_the_same_url_is_noticed() {
    let mut server = dual_stack();
    let node = Node::new("n1");
    let address = server.url().trim_start_matches("http://").to_owned();
    let config = node.network("1.1.0", &json!(server.url()), &json!(["v4"]));
    node.run("ADD", "c1", &config).success();
    server.kill().unwrap();
    let other = harness::server::Launch::new()
        .listen(&address)
        .start()
        .unwrap();
    let pool = json!({"name": "v4", "subnet": "10.1.0.0/16"});
    other.rest().post("/v1/pools", &pool).unwrap().expect(201);
    node.run("ADD", "c2", &config).fails(104, "remove");
    node.run("DEL", "c1", &config).success();
    assert_eq!(node.spooled().len(), 1);
    assert!(leases(&other).is_empty());
    drop(other);
    server.restart().unwrap();
    node.run("ADD", "c3", &config).success();
    let holders: Vec<_> = leases(&server).into_iter().map(|(_, c, _)| c).collect();
    assert_eq!(
        holders,
        ["c3"],
        "the release reached the service that it was meant for"
    );
}

#[test]
fn a_pool_is_leased_to_its_last_address_and_then_says_so() {
    let server = Server::sqlite().unwrap();
    let pool = json!({"name": "tiny", "subnet": "10.9.0.0/30", "gateway": null});
    server.rest().post("/v1/pools", &pool).unwrap().expect(201);
    let node = Node::new("n1");
    let config = node.network("1.1.0", &json!(server.url()), &json!(["tiny"]));
    for id in ["a", "b"] {
        node.run("ADD", id, &config).success();
    }
    node.run("ADD", "c", &config).fails(100, "tiny");
    assert_eq!(leases(&server).len(), 2);
    assert!(node.spooled().is_empty());
}

/// To the service a CHECK is a sign of life: a runtime that asks for a dead container must not end its quarantine.
#[test]
fn a_check_of_a_container_whose_namespace_is_gone_fails_without_a_word_to_the_service() {
    let server = Responder::always(Act::json(
        200,
        &json!({"leases": [{"address": "10.0.0.5/24"}]}),
    ));
    let node = Node::new("n1");
    let mut config = node.network("1.1.0", &json!(server.url()), &json!(["p"]));
    config["prevResult"] = json!({"ips": [{"address": "10.0.0.5/24"}]});
    let check = |netns: &str| {
        node.call("CHECK", "c1", &config)
            .with("CNI_NETNS", netns)
            .run()
    };
    // As CRI-O and containerd name them, and as podman does.
    for gone in ["/var/run/netns/2f0c", "/run/user/1000/netns/netns-2f0c"] {
        check(gone).fails(999, &format!("failed to open netns {gone:?}"));
    }
    assert!(server.requests().is_empty());
    check("/proc/self/ns/net").success();
    assert_eq!(server.of("/v1/check").len(), 1);
}
