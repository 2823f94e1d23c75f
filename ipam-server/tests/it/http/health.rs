//! `/healthz` and `/readyz`, and what is answered while the database is away.

use nix::sys::signal::Signal;
use serde_json::json;

use super::server::Server;
use super::{claim, pool, release};

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
