//! Two server processes on one PostgreSQL: what their clients see while one of them is killed, again and again.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use harness::rest::{Answer, Rest};
use harness::server::Server;
use serde_json::{Value, json};

use super::assert_no_deadlock;
use crate::store::support::*;

const CLIENTS: usize = 64;
const ROUNDS: usize = 2;
/// How long a client tries one call: CNI's patience.
const PATIENCE: Duration = Duration::from_secs(60);

/// Holders by address, as the answers tell.
type Holders = Mutex<BTreeMap<String, String>>;

#[test]
fn of_two_servers_one_is_killed_and_nothing_is_leased_twice_or_lost() {
    let Some(url) = harness::postgres::database() else {
        return;
    };
    let first = Server::on(&url).expect("a server");
    let mut second = Server::on(&url).expect("a server");
    // As many addresses as clients.
    let pool = json!({
        "name": "a", "subnet": "10.0.0.0/24", "reuse_delay_s": 0,
        "ranges": [{ "first": "10.0.0.64", "last": "10.0.0.127" }],
    });
    first
        .rest()
        .post("/v1/pools", &pool)
        .expect("a pool")
        .expect(201);
    let servers = [
        first.socket_url().to_owned(),
        second.socket_url().to_owned(),
    ];
    let holders = Holders::default();
    std::thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS)
            .map(|number| {
                let (servers, holders) = (&servers, &holders);
                scope.spawn(move || churn(number, servers, holders))
            })
            .collect();
        while clients.iter().any(|client| !client.is_finished()) {
            std::thread::sleep(Duration::from_millis(300));
            second.restart().expect("it is killed and starts again");
        }
    });
    let left = first.rest().get("/v1/leases").expect("a list").expect(200);
    assert_eq!(left["items"], json!([]), "nothing leaks");
    let pool = first.rest().get("/v1/pools/a").expect("a pool").expect(200);
    assert_eq!(pool["usage"]["free"], json!(CLIENTS), "nothing is lost");
    drop((first, second));
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async {
        audit(&open(&url).await).await;
        assert_no_deadlock(&url).await;
    });
}

/// ADD at one server, ADD again at the other, DEL at either.
fn churn(number: usize, servers: &[String; 2], holders: &Holders) {
    let servers = [number, number + 1].map(|n| Rest::new(&servers[n % 2]).expect("a client"));
    for round in 0..ROUNDS {
        let container = format!("c{number}-{round}");
        let key =
            json!({ "node": "n1", "network": "net", "container_id": container, "ifname": "eth0" });
        let claim = json!({ "attachment": key, "entries": [{ "pools": ["a"] }] });
        let first = persist(&servers, "/v1/leases", &claim);
        let address = first["leases"][0]["address"]
            .as_str()
            .expect("an address")
            .to_owned();
        let taken = lock(holders).insert(address.clone(), container.clone());
        assert_eq!(taken, None, "{address} is held by {container} too");
        let again = persist(&[&servers[1], &servers[0]], "/v1/leases", &claim);
        assert_eq!(again["leases"], first["leases"]);
        lock(holders).remove(&address);
        persist(&servers, "/v1/release", &json!({ "attachments": [key] }));
    }
}

fn lock(holders: &Holders) -> std::sync::MutexGuard<'_, BTreeMap<String, String>> {
    holders.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Calls one server, then the other, until one answers with a success. Only what is worth another try is tried again.
fn persist(servers: &[impl std::borrow::Borrow<Rest>; 2], path: &str, body: &Value) -> Value {
    let deadline = Instant::now() + PATIENCE;
    for attempt in 0.. {
        match servers[attempt % 2].borrow().post(path, body) {
            Ok(Answer {
                status: 200 | 201,
                body,
                ..
            }) => return body,
            Ok(Answer { status: 503, .. }) | Err(_) => {}
            Ok(other) => panic!("{path}: {other:?}"),
        }
        assert!(Instant::now() < deadline, "{path}: no server answers");
        std::thread::sleep(Duration::from_millis(20));
    }
    unreachable!("the loop ends by its deadline")
}
