//! The token: never told to anybody but the service, and read anew whenever it is used.

use std::fs;
use std::path::Path;

use harness::server::{Launch, Server};
use serde_json::json;

use crate::node::Node;

const ADMIN: &str = "admin-secret-0123456789";
const FIRST: &str = "first-secret-0123456789";
const SECOND: &str = "second-secret-0123456789";

/// Files below a folder that hold the text.
fn files_with(folder: &Path, text: &str) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files_with(&path, text));
        } else if String::from_utf8_lossy(&fs::read(&path).unwrap()).contains(text) {
            found.push(path.display().to_string());
        }
    }
    found
}

#[test]
fn a_spooled_del_is_delivered_with_the_token_of_the_day_and_no_token_is_written_down() {
    let folder = tempfile::tempdir().unwrap();
    let (admins, nodes) = (folder.path().join("admins"), folder.path().join("nodes"));
    fs::write(&admins, ADMIN).unwrap();
    fs::write(&nodes, FIRST).unwrap();
    let mut server = Launch::new()
        .args(["--admin-token-file", admins.to_str().unwrap()])
        .args(["--node-token-file", nodes.to_str().unwrap()])
        .token(ADMIN)
        .start()
        .unwrap();
    let pool = json!({"name": "v4", "subnet": "10.0.0.0/24"});
    server.rest().post("/v1/pools", &pool).unwrap().expect(201);
    let held = |server: &Server| {
        let pool = server.rest().get("/v1/pools/v4").unwrap().expect(200);
        pool["usage"]["leased"].as_u64().unwrap()
    };
    let node = Node::new("n1");
    let token = node.path("token");
    fs::write(&token, FIRST).unwrap();
    let mut config = node.network("1.1.0", &json!(server.url()), &json!(["v4"]));
    config["ipam"]["tokenFile"] = json!(token);
    let log = node.path("plugin.log");
    config["ipam"]["logFile"] = json!(log);
    let mut said = String::new();
    let mut run = |verb: &str, container: &str| {
        let outcome = node.run(verb, container, &config);
        said += &outcome.stdout;
        said += &outcome.stderr;
        outcome
    };
    run("ADD", "c1").success();
    server.kill().unwrap();
    run("ADD", "c2").failure();
    run("DEL", "c1").success();
    assert_eq!(node.spooled().len(), 1);
    // While the service is away its tokens are changed.
    fs::write(&nodes, SECOND).unwrap();
    server.restart().unwrap();
    run("ADD", "c3").failure();
    assert_eq!(
        held(&server),
        1,
        "nothing is lost, and nothing done, with the old token"
    );
    fs::write(&token, SECOND).unwrap();
    run("ADD", "c3").success();
    assert!(node.spooled().is_empty());
    assert_eq!(held(&server), 1);
    run("DEL", "c3").success();
    assert_eq!(held(&server), 0);
    for secret in [FIRST, SECOND] {
        assert!(!said.contains(secret), "{said}");
        let found = files_with(&node.state_dir(), secret);
        assert!(found.is_empty(), "{found:?}");
        assert!(
            !fs::read_to_string(&log)
                .unwrap_or_default()
                .contains(secret)
        );
    }
}
