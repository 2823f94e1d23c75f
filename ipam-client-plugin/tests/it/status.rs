//! STATUS: its reasons, its grace and its memory.

use std::fs;
use std::time::Duration;

use serde_json::{Value, json};

use crate::node::Node;
use crate::responder::{Act, Responder, nobody};

fn answer(ready: bool, exhausted: bool) -> Act {
    let state = if ready { "ready" } else { "draining" };
    let pool = json!({"pool": "p", "state": state, "free": 0});
    let entry = json!({"ready": ready, "exhausted": exhausted, "pools": [pool]});
    Act::json(
        200,
        &json!({"ready": ready, "exhausted": exhausted, "entries": [entry]}),
    )
}

/// Ages what the node remembers of its last STATUS.
fn age(node: &Node, by: Duration) {
    let by = i64::try_from(by.as_nanos()).unwrap();
    for entry in fs::read_dir(node.state_dir()).unwrap() {
        let path = entry.unwrap().path();
        if !path
            .file_name()
            .unwrap()
            .to_str()
            .unwrap()
            .starts_with("status-")
        {
            continue;
        }
        let mut memory: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        for key in ["fresh_until_ns", "answered_ns"] {
            if let Some(time) = memory[key].as_i64() {
                memory[key] = json!(time - by);
            }
        }
        fs::write(&path, memory.to_string()).unwrap();
    }
}

#[test]
fn a_result_is_reused_for_a_while_and_only_for_the_same_settings() {
    let server = Responder::always(answer(true, false));
    let node = Node::new("n1");
    let mut config = node.network("1.1.0", &json!(server.url()), &json!(["p"]));
    for _ in 0..5 {
        assert_eq!(node.run("STATUS", "", &config).success(), Value::Null);
    }
    assert_eq!(server.requests().len(), 1);
    assert_eq!(
        server.requests()[0].body,
        json!({"entries": [{"pools": ["p"]}]})
    );
    age(&node, Duration::from_secs(13));
    node.run("STATUS", "", &config).success();
    assert_eq!(server.requests().len(), 2);
    config["ipam"]["pools"] = json!(["q"]);
    node.run("STATUS", "", &config).success();
    assert_eq!(server.requests().len(), 3);
}

#[test]
fn an_entry_that_cannot_be_served_is_code_50_and_so_is_its_memory() {
    let server = Responder::always(answer(false, true));
    let node = Node::new("n1");
    let config = node.network("1.1.0", &json!(server.url()), &json!(["p"]));
    for _ in 0..2 {
        let outcome = node.run("STATUS", "", &config);
        outcome.fails(50, "no pool of entry 0 leases addresses: \"p\" is draining");
    }
    assert_eq!(server.requests().len(), 1);
}

#[test]
fn exhaustion_counts_only_when_it_is_asked_for() {
    let server = Responder::always(answer(true, true));
    let node = Node::new("n1");
    let mut config = node.network("1.1.0", &json!(server.url()), &json!(["p"]));
    node.run("STATUS", "", &config).success();
    config["ipam"]["statusOnExhausted"] = json!(true);
    node.run("STATUS", "", &config)
        .fails(50, "has an address left");
}

#[test]
fn silence_is_forgiven_for_the_grace_and_not_longer() {
    let node = Node::new("n1");
    let server = Responder::start(|_, before| match before {
        0 => answer(true, false),
        _ => Act::problem(503, "unavailable", "the database is away"),
    });
    let config = node.network("1.1.0", &json!(server.url()), &json!(["p"]));
    node.run("STATUS", "", &config).success();
    age(&node, Duration::from_secs(30));
    node.run("STATUS", "", &config).success();
    assert_eq!(server.requests().len(), 2);
    age(&node, Duration::from_secs(40));
    node.run("STATUS", "", &config)
        .fails(50, "the database is away");
}

#[test]
fn a_node_that_never_heard_of_a_server_is_not_ready() {
    let node = Node::new("n1");
    let config = node.network("1.1.0", &json!(nobody()), &json!(["p"]));
    node.run("STATUS", "", &config)
        .fails(50, "Connection refused");
}

#[test]
fn a_refusal_is_code_50_too() {
    for (status, code) in [
        (401, "unauthenticated"),
        (400, "invalid_request"),
        (409, "wrong_service"),
    ] {
        let server = Responder::always(Act::problem(status, code, "because of x"));
        let node = Node::new("n1");
        let config = node.network("1.1.0", &json!(server.url()), &json!(["p"]));
        node.run("STATUS", "", &config).fails(50, "because of x");
    }
}

#[test]
fn a_server_that_hangs_holds_up_a_status_for_two_seconds_at_most() {
    let server = Responder::always(Act::Hang(Duration::from_secs(20)));
    let node = Node::new("n1");
    let config = node.network("1.1.0", &json!(server.url()), &json!(["p"]));
    let outcome = node.run("STATUS", "", &config);
    outcome.fails(50, "no answer within");
    assert!(outcome.took < Duration::from_secs(3), "{outcome:?}");
    let again = node.run("STATUS", "", &config);
    again.fails(50, "no answer within");
    assert!(again.took < Duration::from_secs(1), "{again:?}");
}

#[test]
fn a_state_that_a_newer_server_knows_is_understood() {
    let body = json!({"ready": true, "exhausted": false, "entries": [
        {"ready": true, "exhausted": false, "pools": [{"pool": "p", "state": "moving", "free": 1, "x": 1}]}], "y": 2});
    let server = Responder::always(Act::json(200, &body));
    let node = Node::new("n1");
    let config = node.network("1.1.0", &json!(server.url()), &json!(["p"]));
    node.run("STATUS", "", &config).success();
}
