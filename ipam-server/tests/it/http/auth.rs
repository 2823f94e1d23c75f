//! Tokens: who may do what.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use ipam_server::tokens::{TokenFiles, Tokens};
use reqwest::Method;
use serde_json::json;

use super::rest::Rest;
use super::server::Server;

const ADMIN: &str = "admin-0123456789abcdef";
const NODE: &str = "node-0123456789abcdef";

fn token_files(folder: &std::path::Path) -> TokenFiles {
    let write = |name: &str, text: &str| {
        let path = folder.join(name);
        fs::write(&path, text).expect("a token file");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("chmod");
        Some(path)
    };
    TokenFiles {
        admin: write("admin", &format!("# ours\n{ADMIN}\n\n")),
        node: write("node", &format!("{NODE}\nanother-0123456789\n")),
    }
}

fn with_token(rest: &Rest, token: &str) -> Rest {
    rest.with("authorization", &format!("Bearer {token}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_may_do_what_the_plugin_does_and_an_admin_everything() {
    let folder = tempfile::tempdir().expect("a folder");
    let tokens = Tokens::read(token_files(folder.path())).expect("tokens");
    let server = Server::sqlite_with_tokens(tokens).await;
    let (admin, node) = (with_token(&server, ADMIN), with_token(&server, NODE));
    let stranger = with_token(&server, "stranger-0123456789");
    let gc = json!({ "node": "node-1", "network": "mynet", "valid": [] });
    let entries = json!({ "entries": [{ "pools": ["v4"] }] });
    // Whether a node may; what an admin is answered.
    let routes = [
        (
            Method::POST,
            "/v1/pools",
            Some(super::pool("v4", "10.1.0.0/24")),
            false,
            201,
        ),
        (Method::GET, "/v1/pools", None, false, 200),
        (Method::GET, "/v1/pools/v4", None, false, 200),
        (Method::PATCH, "/v1/pools/v4", Some(json!({})), false, 200),
        (Method::GET, "/v1/pools/v4/changes", None, false, 200),
        (Method::GET, "/v1/vrfs", None, false, 200),
        (
            Method::POST,
            "/v1/vrfs",
            Some(json!({ "name": "blue" })),
            false,
            201,
        ),
        (
            Method::POST,
            "/v1/leases",
            Some(super::claim("c1", "v4")),
            true,
            200,
        ),
        (Method::GET, "/v1/leases", None, false, 200),
        (Method::GET, "/v1/leases/none", None, false, 404),
        (Method::DELETE, "/v1/leases/none", None, false, 404),
        (Method::GET, "/v1/nodes", None, false, 200),
        (Method::GET, "/v1/nodes/none", None, false, 404),
        (Method::DELETE, "/v1/nodes/none", None, false, 404),
        (
            Method::POST,
            "/v1/check",
            Some(json!({ "attachment": super::attachment("node-1", "c1"), "addresses": [] })),
            true,
            200,
        ),
        (Method::POST, "/v1/status", Some(entries), true, 200),
        (
            Method::POST,
            "/v1/release",
            Some(super::release("c1")),
            true,
            200,
        ),
        (Method::POST, "/v1/gc", Some(gc), true, 200),
        (
            Method::GET,
            "/v1/history?address=10.1.0.2",
            None,
            false,
            200,
        ),
        (Method::DELETE, "/v1/pools/v4", None, false, 204),
    ];
    for (method, path, body, for_nodes, status) in routes {
        let what = format!("{method} {path}");
        let nobody = server.send(method.clone(), path, body.clone()).await;
        nobody.problem(401, "unauthenticated");
        assert_eq!(nobody.header("www-authenticate"), "Bearer", "{what}");
        let unknown = stranger.send(method.clone(), path, body.clone()).await;
        unknown.problem(401, "unauthenticated");
        let by_node = node.send(method.clone(), path, body.clone()).await;
        match for_nodes {
            true => assert!(by_node.status.is_success(), "{what}: {by_node:?}"),
            false => assert!(by_node.problem(403, "forbidden").contains("node"), "{what}"),
        }
        let by_admin = admin.send(method, path, body).await;
        assert_eq!(by_admin.status.as_u16(), status, "{what}: {by_admin:?}");
    }
    server.get("/healthz").await.expect(200);
    server.get("/readyz").await.expect(200);
    node.get("/v1/nothing").await.problem(404, "not_found");
    server
        .get("/v1/nothing")
        .await
        .problem(401, "unauthenticated");
    let basic = server.with("authorization", &format!("Basic {ADMIN}"));
    basic.get("/v1/pools").await.problem(401, "unauthenticated");
    let lower = server.with("authorization", &format!("bearer {ADMIN}"));
    lower.get("/v1/pools").await.expect(200);
    server.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn token_files_are_read_again_and_bad_ones_leave_the_tokens_as_they_were() {
    let folder = tempfile::tempdir().expect("a folder");
    let files = token_files(folder.path());
    let tokens = Tokens::read(files.clone()).expect("tokens");
    let server = Server::sqlite_with_tokens(tokens.clone()).await;
    let path = files.admin.as_ref().expect("a file");
    fs::write(path, "").expect("write");
    let error = tokens.reload().expect_err("no token").to_string();
    assert!(error.contains("has no token"), "{error}");
    with_token(&server, ADMIN)
        .get("/v1/pools")
        .await
        .expect(200);
    fs::write(path, "new-0123456789abcdef\n").expect("write");
    tokens.reload().expect("a token");
    with_token(&server, ADMIN)
        .get("/v1/pools")
        .await
        .problem(401, "unauthenticated");
    with_token(&server, "new-0123456789abcdef")
        .get("/v1/pools")
        .await
        .expect(200);
    server.end().await;
}

#[test]
fn bad_token_files_are_refused_without_telling_the_token() {
    let folder = tempfile::tempdir().expect("a folder");
    let files = token_files(folder.path());
    let admin = files.admin.clone().expect("a file");
    for (text, what) in [
        (
            "short-secret\n",
            "line 1: a token has at least 16 characters",
        ),
        (
            "# x\nwith space-secret-0123456789\n",
            "line 2: a token is made of visible ASCII",
        ),
        ("# nothing\n\n", "has no token"),
    ] {
        fs::write(&admin, text).expect("write");
        let error = Tokens::read(files.clone())
            .err()
            .expect("refused")
            .to_string();
        assert!(error.contains(what), "{error}");
        assert!(!error.contains("secret"), "{error}");
    }
    fs::write(&admin, NODE).expect("write");
    let both = Tokens::read(files.clone())
        .err()
        .expect("refused")
        .to_string();
    assert!(
        both.contains("is an admin's too") && !both.contains(NODE),
        "{both}"
    );
    fs::remove_file(&admin).expect("remove");
    let missing = Tokens::read(files).err().expect("refused").to_string();
    assert!(missing.contains("cannot be read"), "{missing}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_for_another_service_is_refused_before_anything_is_done() {
    let server = Server::sqlite().await;
    let own = server
        .get("/healthz")
        .await
        .header("ipam-service-id")
        .to_owned();
    let right = server.with("ipam-service-id", &own);
    right
        .post("/v1/pools", super::pool("v4", "10.1.0.0/24"))
        .await
        .expect(201);
    let wrong = server.with("ipam-service-id", "11111111-2222-3333-4444-555555555555");
    let refused = wrong.post("/v1/leases", super::claim("c1", "v4")).await;
    let detail = refused.problem(409, "wrong_service");
    assert!(
        detail.contains(&own) && detail.contains("11111111"),
        "{detail}"
    );
    wrong
        .post("/v1/release", super::release("c1"))
        .await
        .problem(409, "wrong_service");
    let leases = server.get("/v1/leases").await;
    assert_eq!(leases.expect(200)["items"], json!([]));
    server.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_nodes_token_makes_no_room_when_its_pool_is_exhausted() {
    let folder = tempfile::tempdir().expect("a folder");
    let tokens = Tokens::read(token_files(folder.path())).expect("tokens");
    let server = Server::sqlite_with_tokens(tokens).await;
    let (admin, node) = (with_token(&server, ADMIN), with_token(&server, NODE));
    let small = super::pool("small", "10.1.0.0/30");
    admin.post("/v1/pools", small).await.expect(201);
    let lease = node.post("/v1/leases", super::claim("c1", "small")).await;
    let lease = lease.expect(201)["leases"][0]["id"].clone();
    let one_more = node.post("/v1/leases", super::claim("c2", "small")).await;
    one_more.problem(507, "pool_exhausted");
    let before = admin.get("/v1/pools").await.expect(200).clone();

    let path = format!("/v1/leases/{}", lease.as_str().expect("an id"));
    let ways = [
        (
            Method::POST,
            "/v1/pools",
            Some(super::pool("mine", "10.2.0.0/24")),
        ),
        (
            Method::PATCH,
            "/v1/pools/small",
            Some(json!({ "gateway": null })),
        ),
        (Method::DELETE, "/v1/pools/small", None),
        (Method::DELETE, path.as_str(), None),
        (Method::DELETE, "/v1/nodes/node-1", None),
    ];
    for (method, path, body) in ways {
        node.send(method, path, body)
            .await
            .problem(403, "forbidden");
    }
    assert_eq!(admin.get("/v1/pools").await.expect(200), &before);
    admin.get(&path).await.expect(200);
    server.end().await;
}
