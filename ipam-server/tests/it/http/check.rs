//! `/v1/check` and `/v1/status`.

use std::time::Duration;

use serde_json::json;

use super::process::Process;
use super::server::everywhere;
use super::{attachment, claim, pool};

#[tokio::test(flavor = "multi_thread")]
async fn a_check_tells_what_is_held_and_what_is_missing() {
    everywhere(async |server| {
        server.post("/v1/pools", pool("v4", "10.1.0.0/24")).await.expect(201);
        let held = server.post("/v1/leases", claim("c1", "v4")).await;
        let leases = held.expect(201)["leases"].clone();
        let address = leases[0]["address"].as_str().expect("an address");
        let address = address.split('/').next().expect("an address");
        let check = |container: &str, addresses: &[&str]| {
            json!({ "attachment": attachment("node-1", container), "addresses": addresses })
        };
        let fine = server.post("/v1/check", check("c1", &[address])).await;
        assert_eq!(fine.expect(200), &json!({ "ok": true, "missing": [], "leases": leases }));
        let other = server.post("/v1/check", check("c1", &[address, "10.1.0.99"])).await;
        assert_eq!(other.expect(200)["ok"], false);
        assert_eq!(other.body["missing"], json!(["10.1.0.99"]));
        let nobody = server.post("/v1/check", check("c2", &[])).await;
        assert_eq!(nobody.expect(200), &json!({ "ok": false, "missing": [], "leases": [] }));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn status_tells_whether_entries_could_be_served_and_is_never_older_than_a_second() {
    everywhere(async |server| {
        server.post("/v1/pools", pool("one", "10.1.0.0/32")).await.expect(201);
        server.post("/v1/pools", pool("two", "10.2.0.0/24")).await.expect(201);
        let asks = json!({ "entries": [{ "pools": ["none", "one"] }, { "pools": ["two"] }] });
        let status = server.post("/v1/status", asks.clone()).await;
        let pools = json!([{ "pool": "none", "state": null, "free": 0 }, { "pool": "one", "state": "ready", "free": 1 }]);
        assert_eq!(status.expect(200)["ready"], true);
        assert_eq!(status.body["exhausted"], false);
        assert_eq!(status.body["entries"][0], json!({ "ready": true, "exhausted": false, "pools": pools }));
        assert_eq!(status.body["entries"][1]["pools"][0]["free"], 253);

        server.post("/v1/leases", claim("c1", "one")).await.expect(201);
        server.patch("/v1/pools/two", json!({ "state": "draining" })).await.expect(200);
        tokio::time::sleep(Duration::from_millis(1_050)).await;
        let status = server.post("/v1/status", asks).await;
        assert_eq!(status.expect(200)["ready"], false);
        assert_eq!(status.body["exhausted"], true);
        assert_eq!(status.body["entries"][0]["exhausted"], true);
        assert_eq!(status.body["entries"][1]["ready"], false);
        assert_eq!(status.body["entries"][1]["pools"][0]["state"], "draining");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn many_who_ask_for_status_at_once_ask_the_database_once() {
    let process = Process::start(&[("IPAM_LOG", "info,sqlx=debug")]).await;
    let new = pool("v4", "10.1.0.0/24");
    process.rest.post("/v1/pools", new).await.expect(201);
    let begun = tokio::time::Instant::now();
    let asked: Vec<_> = (0..100)
        .map(|_| {
            let rest = process.rest.clone();
            let entries = json!({ "entries": [{ "pools": ["v4"] }] });
            tokio::spawn(async move { rest.post("/v1/status", entries).await })
        })
        .collect();
    for answer in asked {
        assert_eq!(answer.await.expect("answered").expect(200)["ready"], true);
    }
    let seconds = usize::try_from(begun.elapsed().as_secs()).expect("a moment");
    let log = process.stop().await;
    let reads = log
        .lines()
        .filter(|line| line.contains("list_pools"))
        .count();
    assert!(
        (1..=seconds + 1).contains(&reads),
        "{reads} reads in {seconds} s"
    );
}
