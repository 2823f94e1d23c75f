//! Releases that wait, on a node with networks on several services: each goes to its own.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use nix::fcntl::{Flock, FlockArg};
use serde_json::{Value, json};

use crate::node::Node;
use crate::responder::{Act, Responder, nobody};
use crate::spool::{flush, released};

/// An ADD to a service that nobody has heard of before, whose connections break after each request: neither the claim
/// nor its give-up is answered.
fn doubtful_first_add(node: &Node, url: &str, container: &str) {
    let mut config = node.network("1.1.0", &json!(url), &json!(["p"]));
    config["ipam"]["timeout"] = json!("300ms");
    node.run("ADD", container, &config).fails(11, url);
    let record = &node.spooled()[0];
    assert_eq!(record["access"]["servers"], json!([url]));
    assert_eq!(record["access"]["service_id"], Value::Null);
}

/// A service with this id that breaks connections until it is told that it is up.
fn service(id: &'static str, is_up: &Arc<AtomicBool>) -> Responder {
    let is_up = Arc::clone(is_up);
    Responder::start(move |request, _| {
        let act = match request.path.as_str() {
            _ if !is_up.load(Ordering::SeqCst) => return Act::Raw(String::new()),
            "/v1/leases" => Act::leases(&["10.0.0.5/24"]),
            _ => Act::released(),
        };
        act.with_header("ipam-service-id", id)
    })
}

#[test]
fn what_was_given_up_before_the_first_success_goes_to_no_other_service() {
    let is_up = Arc::new(AtomicBool::new(false));
    let theirs = service("service-a", &is_up);
    let ours = service("service-b", &Arc::new(AtomicBool::new(true)));
    let node = Node::new("n1");
    let config = |servers: Value| node.network("1.1.0", &servers, &json!(["p"]));
    doubtful_first_add(&node, &theirs.url(), "c1");
    node.run("ADD", "c1", &config(json!(ours.url()))).success();
    node.run("DEL", "c2", &config(json!(ours.url()))).success();
    assert_eq!(released(&ours), [["c2"]], "only the DEL's own");
    assert_eq!(node.spooled().len(), 1, "no release counts as done there");
    is_up.store(true, Ordering::SeqCst);
    let more = json!([theirs.url(), nobody()]);
    node.run("ADD", "c3", &config(more)).success();
    assert_eq!(released(&theirs).last().unwrap(), &["c1"]);
    assert!(node.spooled().is_empty());
}

#[test]
fn what_was_given_up_at_a_server_that_is_now_reached_by_another_is_given_to_its_service() {
    let is_up = Arc::new(AtomicBool::new(false));
    let (old, new) = (service("service-a", &is_up), service("service-a", &is_up));
    let node = Node::new("n1");
    let config = |servers: Value| node.network("1.1.0", &servers, &json!(["p"]));
    doubtful_first_add(&node, &old.url(), "c1");
    // Whoever holds the lock leaves the record where it is.
    let file = fs::File::create(node.state_dir().join("spool.lock")).unwrap();
    let lock = Flock::lock(file, FlockArg::LockExclusive).unwrap();
    is_up.store(true, Ordering::SeqCst);
    let both = config(json!([old.url(), new.url()]));
    node.run("ADD", "c2", &both).success();
    assert_eq!(node.spooled().len(), 1);
    drop(lock);
    node.run("ADD", "c3", &config(json!(new.url()))).success();
    assert_eq!(released(&new).last().unwrap(), &["c1"]);
    assert!(node.spooled().is_empty());
}

#[test]
fn a_flush_by_a_node_file_that_names_another_service_gives_it_nothing() {
    let is_up = Arc::new(AtomicBool::new(false));
    let theirs = service("service-a", &is_up);
    let ours = service("service-b", &Arc::new(AtomicBool::new(true)));
    let node = Node::new("n1");
    doubtful_first_add(&node, &theirs.url(), "c1");
    node.write_node_file(&json!({"server": ours.url()}));
    let outcome = flush(&node);
    assert_eq!(outcome.exit, Some(1), "{outcome:?}");
    assert!(outcome.stdout.contains(&theirs.url()), "{outcome:?}");
    is_up.store(true, Ordering::SeqCst);
    assert_eq!(flush(&node).exit, Some(0));
    assert_eq!(released(&theirs).last().unwrap(), &["c1"]);
    assert!(released(&ours).is_empty());
}

#[test]
fn a_del_that_knows_no_server_is_kept_for_each_service_that_the_node_knows() {
    let is_up = Arc::new(AtomicBool::new(true));
    let services = ["service-a", "service-b"].map(|id| service(id, &is_up));
    let node = Node::new("n1");
    let config = |server: &Responder| node.network("1.1.0", &json!(server.url()), &json!(["p"]));
    for server in &services {
        node.run("ADD", "c1", &config(server)).success();
    }
    let bare = json!({"name": "net", "ipam": {
        "node": "n1", "nodeFile": node.path("node.json"), "stateDir": node.state_dir()}});
    node.run("DEL", "c1", &bare).success();
    assert_eq!(node.spooled().len(), 2);
    for server in &services {
        node.run("ADD", "c2", &config(server)).success();
        assert_eq!(released(server), [["c1"]]);
    }
    assert!(node.spooled().is_empty());
}

#[test]
fn a_record_for_another_service_is_not_given_to_this_one() {
    let theirs = Responder::start(|request, _| match request.path.as_str() {
        "/v1/leases" => Act::leases(&["10.0.0.5/24"]),
        _ => Act::Raw(String::new()),
    });
    let node = Node::new("n1");
    let config = |url: String| node.network("1.1.0", &json!(url), &json!(["p"]));
    node.run("ADD", "c1", &config(theirs.url())).success();
    node.run("DEL", "c1", &config(theirs.url())).success();
    let ours = Responder::start(|request, _| {
        let act = match request.path.as_str() {
            "/v1/leases" => Act::leases(&["10.0.0.5/24"]),
            _ => Act::released(),
        };
        act.with_header("ipam-service-id", "our-service")
    });
    node.run("ADD", "c2", &config(ours.url())).success();
    assert!(released(&ours).is_empty());
    assert_eq!(node.spooled().len(), 1);
}

#[test]
fn flush_reaches_each_services_own_servers_without_a_node_file() {
    let node = Node::new("n1");
    let mut servers = Vec::new();
    for id in ["service-a", "service-b"] {
        let server = Responder::start(move |request, before| {
            let act = match (request.path.as_str(), before) {
                ("/v1/leases", _) => Act::leases(&["10.0.0.5/24"]),
                (_, 1) => Act::problem(503, "unavailable", "away"),
                _ => Act::released(),
            };
            act.with_header("ipam-service-id", id)
        });
        let config = node.network("1.1.0", &json!(server.url()), &json!(["p"]));
        node.run("ADD", id, &config).success();
        node.run("DEL", id, &config).success();
        servers.push(server);
    }
    assert_eq!(node.spooled().len(), 2);
    let outcome = flush(&node);
    assert_eq!(outcome.exit, Some(0), "{outcome:?}");
    for (server, id) in servers.iter().zip(["service-a", "service-b"]) {
        assert_eq!(released(server).last().unwrap(), &[id]);
    }
}
