//! What is malformed: a clear error that names the field, and nothing done.

use reqwest::Method;
use serde_json::json;

use super::server::Server;
use super::{attachment, pool, release, with};

#[tokio::test(flavor = "multi_thread")]
async fn other_bad_bodies_name_their_field() {
    let server = Server::sqlite().await;
    server
        .post("/v1/pools", pool("v4", "10.1.0.0/24"))
        .await
        .expect(201);
    let gc = json!({ "node": "n", "network": "m", "valid": [] });
    let check = json!({ "attachment": attachment("n", "c"), "addresses": [] });
    let new = || pool("x", "10.2.0.0/24");
    for (method, path, body, start) in [
        ("POST", "/v1/vrfs", json!({}), "missing field `name`"),
        (
            "POST",
            "/v1/vrfs",
            json!({ "name": "a b" }),
            "name: \"a b\" is not a name",
        ),
        (
            "POST",
            "/v1/vrfs",
            json!({ "name": "a", "rd": 1 }),
            "rd: unknown field",
        ),
        (
            "POST",
            "/v1/pools",
            json!({ "name": "x" }),
            "missing field `subnet`",
        ),
        (
            "POST",
            "/v1/pools",
            with(new(), "/name", json!("../x")),
            "name: ",
        ),
        (
            "POST",
            "/v1/pools",
            with(new(), "/vrf", json!("a b")),
            "vrf: ",
        ),
        (
            "POST",
            "/v1/pools",
            with(new(), "/subnet", json!("10.2.0.0/33")),
            "subnet: ",
        ),
        (
            "POST",
            "/v1/pools",
            with(new(), "/subnet", json!("10.2.0.1/24")),
            "subnet",
        ),
        (
            "POST",
            "/v1/pools",
            with(new(), "/gateway", json!("10.3.0.1")),
            "gateway",
        ),
        (
            "POST",
            "/v1/pools",
            with(
                new(),
                "/ranges",
                json!([{ "first": "10.2.0.9", "last": "10.2.0.3" }]),
            ),
            "ranges",
        ),
        (
            "POST",
            "/v1/pools",
            with(new(), "/ranges", json!([{ "first": "10.2.0.9" }])),
            "ranges[0]: missing field `last`",
        ),
        (
            "POST",
            "/v1/pools",
            with(new(), "/exclude", json!(["fd00::1"])),
            "exclude",
        ),
        (
            "POST",
            "/v1/pools",
            with(new(), "/state", json!("busy")),
            "state: unknown variant",
        ),
        (
            "POST",
            "/v1/pools",
            with(new(), "/reuse_delay_s", json!(-1)),
            "reuse_delay_s: ",
        ),
        (
            "POST",
            "/v1/pools",
            with(new(), "/dns", json!({ "search": ["a\u{0}"] })),
            "dns.search[0]: ",
        ),
        (
            "POST",
            "/v1/pools",
            with(new(), "/labels", json!({ "": "x" })),
            "labels",
        ),
        (
            "POST",
            "/v1/pools",
            with(new(), "/labels", json!({ "a": "x\u{0}" })),
            "labels.a: ",
        ),
        (
            "PATCH",
            "/v1/pools/v4",
            json!({ "subnet": "10.2.0.0/24" }),
            "subnet: unknown field",
        ),
        (
            "PATCH",
            "/v1/pools/v4",
            json!({ "exclude": ["10.9.0.0/24"] }),
            "exclude",
        ),
        (
            "PATCH",
            "/v1/pools/v4",
            json!({ "labels": { "a": "\u{1}" } }),
            "labels.a: ",
        ),
        (
            "POST",
            "/v1/release",
            json!({}),
            "missing field `attachments`",
        ),
        (
            "POST",
            "/v1/release",
            with(release("c"), "/attachments/0/node", json!("")),
            "attachments[0].node: ",
        ),
        (
            "POST",
            "/v1/release",
            with(release("c"), "/attachments/0/issued", json!(-1)),
            "attachments[0].issued: ",
        ),
        (
            "POST",
            "/v1/release",
            json!({ "attachments": vec![attachment("n", "c"); 1_001] }),
            "attachments: has 1001 items",
        ),
        (
            "POST",
            "/v1/gc",
            with(gc.clone(), "/node", json!("a b")),
            "node: ",
        ),
        (
            "POST",
            "/v1/gc",
            with(
                gc.clone(),
                "/valid",
                json!([{ "container_id": "", "ifname": "e" }]),
            ),
            "valid[0].container_id: is empty",
        ),
        (
            "POST",
            "/v1/gc",
            with(gc, "/valid", json!([{ "container_id": "c" }])),
            "valid[0]: missing field `ifname`",
        ),
        (
            "POST",
            "/v1/check",
            with(check.clone(), "/addresses", json!(["x"])),
            "addresses[0]: ",
        ),
        (
            "POST",
            "/v1/check",
            with(check, "/addresses", json!(vec!["10.1.0.5"; 65])),
            "addresses: has 65 items",
        ),
        (
            "POST",
            "/v1/status",
            json!({ "entries": [] }),
            "entries: has 0 items",
        ),
    ] {
        let method = Method::from_bytes(method.as_bytes()).expect("a method");
        let answer = server.send(method, path, Some(body.clone())).await;
        let detail = answer.problem(400, "invalid_request");
        assert!(detail.contains(start), "{path} {body}: {detail}");
    }
    server.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_queries_and_paths_name_their_part() {
    let server = Server::sqlite().await;
    for (path, start) in [
        (
            "/v1/pools?colour=red",
            "query: colour: unknown field `colour`",
        ),
        ("/v1/pools?limit=0", "limit: 0 is not between 1 and 1000"),
        ("/v1/pools?limit=1001", "limit: 1001 is not between"),
        ("/v1/pools?limit=ten", "query: limit: "),
        ("/v1/pools?limit=1&limit=2", "query: "),
        ("/v1/pools?vrf=", "vrf: \"\" is not a name"),
        ("/v1/pools?cursor=%00", "cursor: "),
        ("/v1/leases?cursor=nonsense", "cursor"),
        ("/v1/vrfs?vrf=x", "query: vrf: unknown field"),
        ("/v1/leases?node=%00", "node: "),
        ("/v1/leases?quarantined=perhaps", "query: quarantined: "),
        ("/v1/nodes?cluster=%00", "cluster: "),
        ("/v1/nodes?cursor=nonsense", "cursor"),
        ("/v1/nodes?name=x", "query: name: unknown field"),
        ("/v1/nodes/%00", "node: "),
        ("/v1/nodes/n?cluster=", "cluster: "),
        ("/v1/leases?pod=a/", "pod: "),
        ("/v1/leases?address=10.1", "query: address: "),
        ("/v1/leases?address=::ffff:10.1.0.1", "address: "),
        ("/v1/leases/%00", "id: "),
        ("/v1/pools/a%20b", "pool: \"a b\" is not a name"),
        ("/v1/pools/%ff", "path: "),
        ("/v1/pools/%00/changes", "pool: "),
        ("/v1/history", "query: missing field `address`"),
        ("/v1/history?address=x", "query: address: "),
        (
            "/v1/history?address=10.1.0.1&at=now",
            "at: \"now\" is not an RFC 3339 time",
        ),
        ("/v1/history?address=10.1.0.1&vrf=a%20b", "vrf: "),
    ] {
        let answer = server.get(path).await;
        let detail = answer.problem(400, "invalid_request");
        assert!(detail.starts_with(start), "{path}: {detail}");
    }
    let dry = server.patch("/v1/pools/x?dry_run=maybe", json!({})).await;
    assert!(
        dry.problem(400, "invalid_request")
            .starts_with("query: dry_run: ")
    );
    server.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_that_are_no_json_are_refused_by_kind() {
    let server = Server::sqlite().await;
    let send = async |kind: &str, body: &[u8]| {
        let body = Some((kind, body.to_vec()));
        server.send_raw(Method::POST, "/v1/vrfs", body).await
    };
    let form = send("application/x-www-form-urlencoded", b"name=blue").await;
    assert!(
        form.problem(415, "invalid_request")
            .starts_with("content-type: ")
    );
    let plain = send("text/plain", br#"{"name":"blue"}"#).await;
    plain.problem(415, "invalid_request");
    for broken in [
        &b"{"[..],
        b"",
        b"{\"name\":\"blue\"} x",
        b"{\"name\":\"\xff\"}",
        b"{'name':1}",
    ] {
        let answer = send("application/json", broken).await;
        answer.problem(400, "invalid_request");
    }
    let twice = send("application/json", br#"{"name":"blue","name":"red"}"#).await;
    assert!(
        twice
            .problem(400, "invalid_request")
            .contains("duplicate field `name`")
    );
    let deep = "[".repeat(100_000);
    send("application/json", deep.as_bytes())
        .await
        .problem(400, "invalid_request");
    let big = vec![b' '; 4 * 1024 * 1024 + 1];
    let too_big = send("application/json", &big).await;
    assert!(
        too_big
            .problem(413, "invalid_request")
            .contains("4194304 bytes")
    );
    send(
        "application/merge-patch+json; charset=utf-8",
        br#"{"name":"blue"}"#,
    )
    .await
    .expect(201);
    server.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn unknown_routes_and_methods_are_told_as_problems() {
    let server = Server::sqlite().await;
    for path in [
        "/",
        "/v1",
        "/v1/pool",
        "/v1/pools/",
        "/v1/leases/a/b",
        "/metrics",
    ] {
        server.get(path).await.problem(404, "not_found");
    }
    for (method, path, allow) in [
        (Method::PUT, "/v1/pools", "GET,HEAD,POST"),
        (Method::POST, "/v1/pools/x", "GET,HEAD,PATCH,DELETE"),
        (Method::DELETE, "/v1/leases", "GET,HEAD,POST"),
        (Method::GET, "/v1/release", "POST"),
        (Method::POST, "/healthz", "GET,HEAD"),
    ] {
        let answer = server.send(method, path, Some(json!({}))).await;
        answer.problem(405, "invalid_request");
        assert_eq!(answer.header("allow"), allow, "{path}");
    }
    server.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sane_request_id_is_kept_and_another_replaced() {
    let server = Server::sqlite().await;
    let kept = server
        .with("x-request-id", "trace-1.a_B")
        .get("/v1/nothing")
        .await;
    assert_eq!(kept.header("x-request-id"), "trace-1.a_B");
    for odd in ["a b", "", "a\"b", &"x".repeat(129)] {
        let answer = server.with("x-request-id", odd).get("/v1/nothing").await;
        assert_ne!(answer.header("x-request-id"), odd);
    }
    server.end().await;
}
