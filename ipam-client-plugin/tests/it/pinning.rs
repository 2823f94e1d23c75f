//! One client, one service; one name, one machine.

use std::fs;

use serde_json::{Value, json};

use crate::node::Node;
use crate::responder::{Act, Responder, SERVICE, nobody};

fn state(node: &Node) -> Value {
    serde_json::from_slice(&fs::read(node.state_dir().join("state.json")).unwrap()).unwrap()
}

fn lender() -> Responder {
    Responder::start(|request, _| match request.path.as_str() {
        "/v1/leases" => Act::leases(&["10.0.0.5/24"]),
        _ => Act::released(),
    })
}

#[test]
fn the_first_success_pins_and_another_services_answer_counts_for_nothing() {
    let server = Responder::start(|request, before| {
        let act = match request.path.as_str() {
            "/v1/leases" => Act::leases(&["10.0.0.5/24"]),
            _ => Act::released(),
        };
        match before {
            0 => act,
            _ => act.with_header("ipam-service-id", "another-service"),
        }
    });
    let node = Node::new("n1");
    let config = node.network("1.1.0", &json!(server.url()), &json!(["p"]));
    node.run("ADD", "c1", &config).success();
    assert_eq!(state(&node)["services"][0]["id"], SERVICE);
    assert_eq!(state(&node)["node"]["name"], "n1");
    let outcome = node.run("ADD", "c2", &config);
    outcome.fails(104, "another-service");
    outcome.fails(104, "remove");
    assert_eq!(node.run("DEL", "c1", &config).success(), Value::Null);
    let spooled = node.spooled();
    assert_eq!(spooled.len(), 1, "no release counts as done there");
    assert_eq!(spooled[0]["access"]["service_id"], SERVICE);
}

#[test]
fn a_server_that_is_not_of_ours_is_not_pinned_beside_the_others() {
    let ours = lender();
    let other = Responder::always(
        Act::leases(&["10.0.0.9/24"]).with_header("ipam-service-id", "another-service"),
    );
    let node = Node::new("n1");
    let config = |servers: Value| node.network("1.1.0", &servers, &json!(["p"]));
    node.run("ADD", "c1", &config(json!(ours.url()))).success();
    let outcome = node.run("ADD", "c2", &config(json!([other.url(), nobody()])));
    assert_eq!(
        outcome.addresses(),
        ["10.0.0.9/24"],
        "disjoint servers are another service"
    );
    let mixed = config(json!([ours.url(), other.url()]));
    let list: Vec<_> = (0..8)
        .map(|n| node.run("ADD", &format!("m{n}"), &mixed))
        .collect();
    for outcome in list {
        match outcome.exit {
            Some(0) => assert_eq!(outcome.addresses(), ["10.0.0.5/24"]),
            _ => outcome.fails(104, "another-service"),
        }
    }
}

#[test]
fn a_renamed_node_is_refused_on_add_and_gc_but_may_still_remove_and_check() {
    let server = Responder::start(|request, _| match request.path.as_str() {
        "/v1/leases" => Act::leases(&["10.0.0.5/24"]),
        "/v1/check" => Act::json(
            200,
            &json!({"ok": true, "missing": [], "leases": [{"address": "10.0.0.5/24"}]}),
        ),
        _ => Act::released(),
    });
    let node = Node::new("n1");
    let mut config = node.network("1.1.0", &json!(server.url()), &json!(["p"]));
    config["cni.dev/valid-attachments"] = json!([]);
    config["prevResult"] = json!({"ips": [{"address": "10.0.0.5/24"}]});
    node.run("ADD", "c1", &config).success();
    config["ipam"]["node"] = json!("n2");
    for verb in ["ADD", "GC"] {
        let outcome = node.run(verb, "c1", &config);
        outcome.fails(105, "this is node \"n2\" of cluster \"default\"");
        outcome.fails(105, "says node \"n1\" of cluster \"default\"");
        outcome.fails(105, "state.json");
    }
    node.run("STATUS", "", &config)
        .fails(50, "this is node \"n2\"");
    node.run("CHECK", "c1", &config).success();
    node.run("DEL", "c1", &config).success();
    assert_eq!(server.of("/v1/check")[0].body["attachment"]["node"], "n1");
    assert_eq!(
        server.of("/v1/release")[0].body["attachments"][0]["node"],
        "n1"
    );
    assert!(server.of("/v1/gc").is_empty());
}

#[test]
fn a_copied_state_directory_is_noticed_on_another_machine() {
    let server = lender();
    let node = Node::new("n1");
    let config = node.network("1.1.0", &json!(server.url()), &json!(["p"]));
    node.run("ADD", "c1", &config).success();
    let mut copied = state(&node);
    copied["node"]["machine_id"] = json!("ffffffffffffffffffffffffffffffff");
    fs::write(node.state_dir().join("state.json"), copied.to_string()).unwrap();
    let outcome = node.run("ADD", "c2", &config);
    if fs::read_to_string("/etc/machine-id").is_ok_and(|id| !id.trim().is_empty()) {
        outcome.fails(105, "on machine ffffffffffffffffffffffffffffffff");
    } else {
        outcome.success();
    }
}

#[test]
fn a_damaged_state_is_named_on_add_and_does_not_hold_up_a_del() {
    let server = lender();
    let node = Node::new("n1");
    let config = node.network("1.1.0", &json!(server.url()), &json!(["p"]));
    fs::create_dir_all(node.state_dir()).unwrap();
    fs::write(node.state_dir().join("state.json"), "{").unwrap();
    node.run("ADD", "c1", &config)
        .fails(6, "state.json is damaged");
    node.run("DEL", "c1", &config).success();
    assert_eq!(server.of("/v1/release").len(), 1);
}

#[test]
fn the_server_that_answered_in_place_of_another_goes_first_for_a_while() {
    let good = lender();
    let bad = Responder::always(Act::Raw(String::new()));
    let node = Node::new("n1");
    for servers in [[good.url(), bad.url()], [bad.url(), good.url()]] {
        let config = node.network("1.1.0", &json!(servers), &json!(["p"]));
        node.run("ADD", "c1", &config).success();
        node.run("ADD", "c1", &config).success();
    }
    let tries = bad.requests().len();
    for _ in 0..3 {
        let config = node.network("1.1.0", &json!([bad.url(), good.url()]), &json!(["p"]));
        node.run("ADD", "c1", &config).success();
    }
    assert_eq!(bad.requests().len(), tries, "the good one is remembered");
}

#[test]
fn the_nodes_of_a_cluster_spread_over_the_servers() {
    let servers = [lender(), lender()];
    let urls: Vec<_> = servers.iter().map(Responder::url).collect();
    for n in 0..16 {
        let node = Node::new(&format!("node-{n}"));
        let config = node.network("1.1.0", &json!(urls), &json!(["p"]));
        node.run("ADD", "c1", &config).success();
    }
    for server in &servers {
        assert!((3..=13).contains(&server.of("/v1/leases").len()));
    }
}

#[test]
fn many_first_adds_at_once_pin_one_service() {
    let server = lender();
    let node = Node::new("n1");
    let config = node.network("1.1.0", &json!(server.url()), &json!(["p"]));
    std::thread::scope(|scope| {
        for n in 0..12 {
            let (node, config) = (&node, &config);
            scope.spawn(move || node.run("ADD", &format!("c{n}"), config).success());
        }
    });
    assert_eq!(state(&node)["services"].as_array().unwrap().len(), 1);
}
