//! Claims and releases are gathered into transactions; the queue is bounded, and a deadline is kept while waiting.

use std::time::Duration;

use serde_json::{Value, json};
use sqlx::{Connection, Executor, PgConnection};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};

use super::process::Process;
use super::rest::{Answer, Rest};
use super::server::{Server, settings};
use super::writer::Writer;
use super::{claim, pool, release};

fn with_deadline(container: &str, milliseconds: u64) -> Value {
    let mut claim = claim(container, "v4");
    claim["deadline_ms"] = json!(milliseconds);
    claim
}

fn send(rest: &Rest, path: &'static str, body: Value) -> JoinHandle<Answer> {
    let rest = rest.clone();
    tokio::spawn(async move { rest.post(path, body).await })
}

/// Takes the pool's lock: transactions that want it wait until this connection's ends.
async fn lock_pool(url: &str, name: &str) -> PgConnection {
    let mut admin = PgConnection::connect(url).await.expect("a connection");
    admin.execute("begin").await.expect("begin");
    let lock = "select 1
         from pool_counter
         join pool on pool.id = pool_id
         where name = $1
         for update of pool_counter";
    let lock = sqlx::query(lock).bind(name);
    lock.execute(&mut admin).await.expect("the lock");
    admin
}

/// Until what was sent stands in the queue, or in its transaction.
const ARRIVED: Duration = Duration::from_millis(150);

#[tokio::test(flavor = "multi_thread")]
async fn concurrent_claims_share_transactions() {
    let process = Process::start(&[("IPAM_LOG", "ipam_server=debug")]).await;
    let rest = &process.rest;
    rest.post("/v1/pools", pool("v4", "10.1.0.0/16"))
        .await
        .expect(201);
    let tasks: Vec<_> = (0..200)
        .map(|number| {
            let rest = rest.clone();
            tokio::spawn(async move {
                let container = format!("c{number}");
                rest.post("/v1/leases", claim(&container, "v4"))
                    .await
                    .expect(201);
                rest.post("/v1/release", release(&container)).await
            })
        })
        .collect();
    for task in tasks {
        let released = task.await.expect("answered");
        assert_eq!(released.expect(200), &json!({ "released": 1 }));
    }
    let log = process.stop().await;
    for what in ["claims", "releases"] {
        let line = format!("one transaction for {what}");
        let transactions = log.lines().filter(|one| one.contains(&line)).count();
        assert!(
            (1..=100).contains(&transactions),
            "{transactions} transactions for 200 {what}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_claim_whose_deadline_passes_while_it_waits_is_answered_without_a_transaction() {
    let server = Server::sqlite().await;
    server
        .post("/v1/pools", pool("v4", "10.1.0.0/24"))
        .await
        .expect(201);
    let writer = Writer::lock(server.folder.path()).await;
    let first = send(&server, "/v1/leases", claim("c1", "v4"));
    sleep(ARRIVED).await;
    let begun = Instant::now();
    let late = server.post("/v1/leases", with_deadline("c2", 300)).await;
    assert!(late.problem(503, "unavailable").contains("deadline"));
    let waited = begun.elapsed();
    assert!(
        waited >= Duration::from_millis(300) && waited < Duration::from_secs(2),
        "{waited:?}"
    );
    let now = server.post("/v1/leases", with_deadline("c3", 0)).await;
    now.problem(503, "unavailable");
    writer.unlock().await;
    first.await.expect("answered").expect(201);
    let leases = server.get("/v1/leases").await;
    assert_eq!(
        leases.expect(200)["items"].as_array().map(Vec::len),
        Some(1)
    );
    server.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_queue_is_told_at_once() {
    let server = Server::sqlite_with(ipam_server::Settings {
        queue: 2,
        ..settings()
    })
    .await;
    server
        .post("/v1/pools", pool("v4", "10.1.0.0/24"))
        .await
        .expect(201);
    let writer = Writer::lock(server.folder.path()).await;
    let waiting = ["c0", "c1"].map(|name| send(&server, "/v1/leases", claim(name, "v4")));
    sleep(ARRIVED).await;
    let begun = Instant::now();
    let refused = server.post("/v1/leases", claim("c9", "v4")).await;
    assert!(
        refused
            .problem(503, "unavailable")
            .contains("the queue is full")
    );
    assert!(begun.elapsed() < Duration::from_millis(500));
    // The longest list has room in the smallest queue: its sender could not know that it must be cut. All of it or nothing.
    let list = |start: &str| {
        let list: Vec<_> = (0..1_000)
            .map(|n| super::attachment("node-1", &format!("{start}{n}")))
            .collect();
        json!({ "attachments": list })
    };
    let first = send(&server, "/v1/release", list("a"));
    sleep(ARRIVED).await;
    let second = server.post("/v1/release", list("b")).await;
    assert!(
        second
            .problem(503, "unavailable")
            .contains("the queue is full")
    );
    writer.unlock().await;
    first.await.expect("answered").expect(200);
    for answer in waiting {
        answer.await.expect("answered").expect(201);
    }
    server
        .post("/v1/leases", claim("c9", "v4"))
        .await
        .expect(201);
    server.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_attachment_many_times_at_once_gets_one_lease() {
    let process = Process::start(&[]).await;
    let rest = &process.rest;
    rest.post("/v1/pools", pool("v4", "10.1.0.0/24"))
        .await
        .expect(201);
    let writer = Writer::lock(process.folder.path()).await;
    let mut answers = vec![send(rest, "/v1/leases", claim("c0", "v4"))];
    sleep(ARRIVED).await;
    // All of these wait, and would fit into one batch.
    answers.extend((0..20).map(|_| send(rest, "/v1/leases", claim("c1", "v4"))));
    sleep(ARRIVED).await;
    writer.unlock().await;
    let mut statuses = Vec::new();
    let mut bodies = Vec::new();
    for answer in answers {
        let answer = answer.await.expect("answered");
        statuses.push(answer.status.as_u16());
        bodies.push(answer.body);
    }
    statuses.sort_unstable();
    assert_eq!(statuses, [[200; 19].as_slice(), &[201, 201]].concat());
    bodies.remove(0);
    bodies.dedup();
    assert_eq!(bodies.len(), 1);
    // A repeat inside a batch would fail it, and be made good claim by claim.
    let log = process.stop().await;
    assert!(!log.contains("a batch failed"), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_goes_away_cancels_no_transaction_and_its_waiting_claim_is_not_begun() {
    let Some(url) = harness::postgres::database() else {
        return;
    };
    let server = Server::postgres(&url).await;
    server
        .post("/v1/pools", pool("v4", "10.1.0.0/24"))
        .await
        .expect(201);
    for old in ["old", "older"] {
        server
            .post("/v1/leases", claim(old, "v4"))
            .await
            .expect(201);
    }
    let mut admin = lock_pool(&url, "v4").await;
    let busy = send(&server, "/v1/release", release("older"));
    let in_transaction = send(&server, "/v1/leases", claim("c1", "v4"));
    sleep(ARRIVED).await;
    let in_queue = send(&server, "/v1/leases", claim("c2", "v4"));
    let neighbour = send(&server, "/v1/leases", claim("c3", "v4"));
    let released = send(&server, "/v1/release", release("old"));
    sleep(ARRIVED).await;
    in_transaction.abort();
    in_queue.abort();
    released.abort();
    sleep(ARRIVED).await;
    admin.execute("rollback").await.expect("rollback");
    busy.await.expect("answered").expect(200);
    neighbour.await.expect("answered").expect(201);
    let deadline = Instant::now() + Duration::from_secs(5);
    loop {
        let leases = server.get("/v1/leases").await;
        let items = leases.expect(200)["items"].as_array().expect("a list");
        let mut held: Vec<_> = items
            .iter()
            .map(|lease| {
                lease["attachment"]["container_id"]
                    .as_str()
                    .expect("a name")
            })
            .collect();
        held.sort_unstable();
        if held == ["c1", "c3"] {
            break;
        }
        assert!(Instant::now() < deadline, "{held:?}");
        sleep(Duration::from_millis(20)).await;
    }
    server.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_locked_pool_delays_nothing_but_its_own_claims() {
    let Some(url) = harness::postgres::database() else {
        return;
    };
    let server = Server::postgres(&url).await;
    server
        .post("/v1/pools", pool("slow", "10.1.0.0/24"))
        .await
        .expect(201);
    server
        .post("/v1/pools", pool("quick", "10.2.0.0/24"))
        .await
        .expect(201);
    let mut admin = lock_pool(&url, "slow").await;
    let slow = send(&server, "/v1/leases", claim("c1", "slow"));
    sleep(ARRIVED).await;
    let begun = Instant::now();
    server
        .post("/v1/leases", claim("c2", "quick"))
        .await
        .expect(201);
    server.post("/v1/release", release("c2")).await.expect(200);
    for path in [
        "/v1/pools",
        "/v1/pools/slow",
        "/v1/leases?pool=slow",
        "/v1/nodes",
        "/v1/history?address=10.1.0.2",
    ] {
        server.get(path).await.expect(200);
    }
    let entries = json!({ "entries": [{ "pools": ["slow"] }] });
    server.post("/v1/status", entries).await.expect(200);
    let draining = json!({ "state": "draining" });
    (server.patch("/v1/pools/quick", draining).await).expect(200);
    (server.post("/v1/pools", pool("new", "10.3.0.0/24")).await).expect(201);
    server.delete("/v1/pools/new").await.expect(204);
    assert!(begun.elapsed() < Duration::from_secs(1));
    assert!(!slow.is_finished());
    admin.execute("rollback").await.expect("rollback");
    slow.await.expect("answered").expect(201);
    server.end().await;
}
