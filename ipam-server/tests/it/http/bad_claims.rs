//! Malformed claims: a clear error that names the field, and nothing leased.

use serde_json::{Value, json};

use super::server::Server;
use super::{attachment, claim, pool, with};

fn bad_claims() -> Vec<(Value, &'static str)> {
    let claim = || claim("c1", "v4");
    let long = "x".repeat(256);
    let many = |count: usize| vec![json!({ "pools": ["v4"] }); count];
    vec![
        (
            with(claim(), "/attachment/node", json!("")),
            "attachment.node: \"\" is not a name",
        ),
        (
            with(claim(), "/attachment/node", json!("a b")),
            "attachment.node: \"a b\" is not a name",
        ),
        (
            with(claim(), "/attachment/node", json!(7)),
            "attachment.node: invalid type",
        ),
        (
            with(claim(), "/attachment/cluster", json!("-x")),
            "attachment.cluster: ",
        ),
        (
            with(claim(), "/attachment/network", json!("a/b")),
            "attachment.network: ",
        ),
        (
            with(claim(), "/attachment/network", json!("x".repeat(254))),
            "attachment.network: ",
        ),
        (
            with(claim(), "/attachment/container_id", json!("")),
            "attachment.container_id: is empty",
        ),
        (
            with(claim(), "/attachment/container_id", json!("a\u{0}b")),
            "attachment.container_id: \"a\\0b\" has a control character",
        ),
        (
            with(claim(), "/attachment/container_id", json!(long)),
            "attachment.container_id: ",
        ),
        (
            with(claim(), "/attachment/ifname", json!("e\n")),
            "attachment.ifname: ",
        ),
        (
            with(claim(), "/attachment/ifname", Value::Null),
            "attachment.ifname: invalid type: null",
        ),
        (
            with(claim(), "/attachment/colour", json!("red")),
            "attachment.colour: unknown field `colour`",
        ),
        (
            with(claim(), "/colour", json!("red")),
            "colour: unknown field `colour`",
        ),
        (
            with(claim(), "/owner", json!("web-0")),
            "owner: is not supported yet",
        ),
        (with(claim(), "/boot_id", json!("")), "boot_id: is empty"),
        (
            with(claim(), "/machine_id", json!("a\u{7f}")),
            "machine_id: ",
        ),
        (
            with(claim(), "/issued", json!(-1)),
            "issued: -1 is negative",
        ),
        (with(claim(), "/issued", json!(1.5)), "issued: invalid type"),
        (
            with(claim(), "/deadline_ms", json!(-5)),
            "deadline_ms: invalid value",
        ),
        (
            with(claim(), "/pod", json!({ "name": "a\u{0}" })),
            "pod.name: ",
        ),
        (
            with(claim(), "/pod", json!({ "name": "x".repeat(254) })),
            "pod.name: ",
        ),
        (
            with(claim(), "/pod", json!({ "colour": "red" })),
            "pod.colour: unknown field",
        ),
        (
            with(claim(), "/entries", json!([])),
            "entries: has 0 items; 1 to 16 are allowed",
        ),
        (
            with(claim(), "/entries", json!(many(17))),
            "entries: has 17 items",
        ),
        (
            with(claim(), "/entries/0/pools", json!([])),
            "entries[0].pools: has 0 items",
        ),
        (
            with(claim(), "/entries/0/pools", json!(vec!["v4"; 17])),
            "entries[0].pools: has 17 items",
        ),
        (
            with(claim(), "/entries/0/pools", json!(["v4", "a\u{0}"])),
            "entries[0].pools[1]: ",
        ),
        (
            with(claim(), "/entries/0/pools", json!("v4")),
            "entries[0].pools: invalid type: string",
        ),
        (
            with(claim(), "/entries/0", json!({})),
            "entries[0]: missing field `pools`",
        ),
        (
            with(claim(), "/wanted", json!(["10.1.0"])),
            "wanted: \"10.1.0\" is not an address",
        ),
        (
            with(claim(), "/wanted", json!(["::ffff:10.1.0.5"])),
            "wanted[0]: ::ffff:10.1.0.5 is an IPv4-mapped address",
        ),
        (
            with(claim(), "/wanted", json!(["10.1.0.5", "10.1.0.5/24"])),
            "wanted[1]: 10.1.0.5 is named twice",
        ),
        (
            with(claim(), "/wanted", json!(vec!["10.1.0.5"; 17])),
            "wanted: has 17 items",
        ),
        (with(claim(), "/wanted", json!(["10.200.0.5"])), ""),
        (json!({ "entries": many(1) }), "missing field `attachment`"),
        (
            json!({ "attachment": attachment("n", "c") }),
            "missing field `entries`",
        ),
        (json!([]), ""),
        (json!("claim"), ""),
        (Value::Null, ""),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_claim_names_its_field_and_leases_nothing() {
    let server = Server::sqlite().await;
    server
        .post("/v1/pools", pool("v4", "10.1.0.0/24"))
        .await
        .expect(201);
    for (body, start) in bad_claims() {
        let answer = server.post("/v1/leases", body.clone()).await;
        let detail = answer.problem(400, "invalid_request");
        assert!(detail.contains(start), "{body}: {detail}");
    }
    let leases = server.get("/v1/leases").await;
    assert_eq!(leases.expect(200)["items"], json!([]));
    server
        .post("/v1/leases", claim("c1", "v4"))
        .await
        .expect(201);
    server.end().await;
}
