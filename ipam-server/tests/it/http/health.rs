//! `/healthz` and `/readyz`, and what is answered while the database is away, or not what it was.

use nix::sys::signal::Signal;
use serde_json::json;

use super::server::Server;
use super::{claim, pool, release};
use crate::store::support::sql;

#[tokio::test(flavor = "multi_thread")]
async fn probes_are_answered() {
    let server = Server::sqlite().await;
    let alive = server.get("/healthz").await;
    assert_eq!(alive.expect(200), &json!({ "status": "alive" }));
    let ready = server.get("/readyz").await;
    assert_eq!(ready.expect(200), &json!({ "status": "ready" }));
    server.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn while_the_database_is_away_everything_but_healthz_is_503_and_afterwards_all_is_well() {
    let Some(cluster) = harness::postgres::Cluster::start() else {
        return harness::require::skip("postgres", "no server binaries, and no user postgres");
    };
    let server = Server::postgres(&cluster.database()).await;
    server
        .post("/v1/pools", pool("v4", "10.1.0.0/24"))
        .await
        .expect(201);
    server
        .post("/v1/leases", claim("c1", "v4"))
        .await
        .expect(201);
    cluster.stop(Signal::SIGQUIT);

    server.get("/healthz").await.expect(200);
    server.get("/readyz").await.problem(503, "unavailable");
    let refused = server.post("/v1/leases", claim("c2", "v4")).await;
    let detail = refused.problem(503, "unavailable");
    assert!(!detail.contains("/tmp"), "tells internals: {detail}");
    server
        .post("/v1/release", release("c1"))
        .await
        .problem(503, "unavailable");
    let entries = json!({ "entries": [{ "pools": ["v4"] }] });
    server
        .post("/v1/status", entries.clone())
        .await
        .problem(503, "unavailable");
    server.get("/v1/pools").await.problem(503, "unavailable");

    cluster.resume();
    server.get("/readyz").await.expect(200);
    server
        .post("/v1/leases", claim("c1", "v4"))
        .await
        .expect(200);
    server
        .post("/v1/leases", claim("c2", "v4"))
        .await
        .expect(201);
    server.post("/v1/status", entries).await.expect(200);
    server.end().await;
}

/// Somebody has laid hands on the tables.
#[test]
fn what_nobody_foresaw_is_told_to_the_log_once_and_not_to_the_client() {
    let on_sqlite = harness::server::Server::sqlite().expect("a server");
    let on_postgres = harness::postgres::database()
        .map(|url| harness::server::Server::on(&url).expect("a server"));
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    for server in std::iter::once(on_sqlite).chain(on_postgres) {
        let post = |path: &str, body| server.rest().post(path, &body).expect("an answer");
        post("/v1/pools", pool("v4", "10.1.0.0/24")).expect(201);
        post("/v1/leases", claim("c1", "v4")).expect(201);
        let rename = "alter table history rename to elsewhere";
        let renamed = runtime.block_on(sql(server.database_url(), rename));
        renamed.expect("renamed");
        let problem = post("/v1/release", release("c1")).expect(500);
        assert_eq!(problem["code"], "internal");
        let detail = problem["detail"].as_str().expect("a text");
        for internal in ["history", "table", "relation", "insert", "select"] {
            assert!(!detail.contains(internal), "{detail}");
        }
        let id = problem["request_id"].as_str().expect("a text");
        let log = server.log();
        let errors: Vec<_> = log.lines().filter(|line| line.contains("ERROR")).collect();
        let [error] = errors[..] else {
            panic!("not one error: {log}");
        };
        assert!(error.contains("history") && error.contains(id), "{error}");
        // Nothing was done by halves.
        let back = "alter table elsewhere rename to history";
        let renamed = runtime.block_on(sql(server.database_url(), back));
        renamed.expect("renamed");
        assert_eq!(
            post("/v1/release", release("c1")).expect(200)["released"],
            1
        );
    }
}
