//! `/v1/nodes`.

use std::time::{Duration, Instant};

use reqwest::StatusCode;
use serde_json::json;

use super::server::{Server, everywhere};
use super::{attachment, pool};

/// A node under the name, with one container.
async fn a_node(server: &Server, node: &str, machine: &str, container: &str) -> StatusCode {
    let claim = json!({
        "attachment": attachment(node, container), "machine_id": machine, "boot_id": format!("boot-of-{machine}"),
        "issued": 5, "entries": [{ "pools": ["v4"] }],
    });
    server.post("/v1/leases", claim).await.status
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_are_listed_and_shown() {
    everywhere(async |server| {
        (server.post("/v1/pools", pool("v4", "10.1.0.0/24")).await).expect(201);
        assert_eq!(a_node(server, "node-1", "m1", "c1").await, 201);
        assert_eq!(a_node(server, "node-2", "m2", "c2").await, 201);
        let page = server.get("/v1/nodes?limit=1").await;
        let page = page.expect(200);
        assert_eq!(page["items"][0]["name"], "node-1");
        let cursor = page["next_cursor"].as_str().expect("a cursor");
        let rest = server.get(&format!("/v1/nodes?cursor={cursor}")).await;
        let rest = rest.expect(200);
        assert_eq!(rest["items"][0]["name"], "node-2");
        assert!(rest.get("next_cursor").is_none());
        let one = server.get("/v1/nodes/node-2?cluster=default").await;
        let one = one.expect(200);
        assert_eq!(one["machine_id"], "m2");
        assert_eq!(one["boot_id"], "boot-of-m2");
        assert_eq!(
            (&one["leases"], &one["quarantined"]),
            (&json!(1), &json!(0))
        );
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reinstalled_machine_is_served_once_its_node_is_forgotten() {
    everywhere(async |server| {
        (server.post("/v1/pools", pool("v4", "10.1.0.0/24")).await).expect(201);
        assert_eq!(a_node(server, "node-1", "m1", "c1").await, 201);
        assert_eq!(a_node(server, "node-1", "m2", "c1").await, 409);
        let told = server.delete("/v1/nodes/node-1?dry_run=true").await;
        let told = told.expect(200);
        assert_eq!(told["leases_freed_total"], 1);
        assert_eq!(told["leases_freed"][0]["attachment"]["container_id"], "c1");
        let leases = server.get("/v1/leases?node=node-1&quarantined=false").await;
        assert_eq!(
            leases.expect(200)["items"].as_array().map(Vec::len),
            Some(1)
        );
        let gone = server.delete("/v1/nodes/node-1").await;
        assert_eq!(gone.expect(200), &json!({ "released": 1 }));
        let again = server.delete("/v1/nodes/node-1").await;
        let problem = again.expect(404);
        assert_eq!(problem["code"], "node_not_found");
        assert!(
            problem["detail"]
                .as_str()
                .is_some_and(|text| text.contains("\"node-1\""))
        );
        assert_eq!(a_node(server, "node-1", "m2", "c1").await, 201);
    })
    .await;
}

#[test]
fn the_log_tells_which_node_was_to_be_forgotten() {
    let server = harness::server::Server::sqlite().expect("a server");
    let answer = server.rest().delete("/v1/nodes/gone?cluster=east");
    answer.expect("an answer").expect(404);
    let log = server.log();
    let told = log
        .lines()
        .any(|line| line.contains("east/gone") && line.contains("refused"));
    assert!(told, "{log}");
}

#[test]
fn a_clone_is_told_to_the_log_once_and_shown_with_its_node() {
    // Background rounds follow each other in seconds.
    let launch = harness::server::Launch::new().env("IPAM_QUARANTINE", "4");
    let server = launch.start().expect("a server");
    let post = |path: &str, body| server.rest().post(path, &body).expect("an answer");
    post("/v1/pools", pool("v4", "10.1.0.0/24")).expect(201);
    let claim = |boot: &str, issued: u64, container: &str| {
        json!({
            "attachment": attachment("node-1", container), "machine_id": "m1", "boot_id": boot, "issued": issued,
            "entries": [{ "pools": ["v4"] }],
        })
    };
    let node = || {
        let answer = server.rest().get("/v1/nodes/node-1").expect("an answer");
        answer.expect(200)
    };
    post("/v1/leases", claim("original", 1, "c1")).expect(201);
    post("/v1/leases", claim("clone", 1, "c2")).expect(201);
    assert_eq!(node()["disputed_at"], json!(null));
    let an_hour = 3_600_000_000_000;
    for n in 0..3 {
        let refused = post("/v1/leases", claim("original", an_hour + n, "c3")).expect(409);
        assert_eq!(refused["code"], "node_name_conflict");
    }
    assert!(node()["disputed_at"].is_string());
    let told = || {
        server
            .log()
            .matches("two machines use the node's name")
            .count()
    };
    let give_up = Instant::now() + Duration::from_secs(30);
    while told() == 0 {
        assert!(Instant::now() < give_up, "{}", server.log());
        std::thread::sleep(Duration::from_millis(50));
    }
    // More than the quarantine, and a few rounds.
    std::thread::sleep(Duration::from_secs(6));
    assert_eq!(told(), 1);
    assert_eq!(node()["leases"], 2);
    assert_eq!(node()["quarantined"], 0);
}
