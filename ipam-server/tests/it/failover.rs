//! PostgreSQL with a synchronous standby: what is answered is on both, and when the primary is lost the servers follow.

use std::collections::BTreeMap;
use std::io::Write;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use harness::postgres::Cluster;
use harness::require;
use harness::rest::{Answer, Rest};
use harness::server::Server;
use ipam_server::Error;
use nix::sys::signal::Signal;
use serde_json::json;

use crate::store::support::*;

const CLIENTS: usize = 8;
/// Between two claims of a client.
const PACE: Duration = Duration::from_millis(10);

/// A primary, its standby, and the URL of one database wherever the primary is.
fn pair() -> Option<(Cluster, Cluster, String)> {
    let Some(primary) = Cluster::start() else {
        require::skip("postgres", "no server binaries, and no user postgres");
        return None;
    };
    let database = primary.database();
    let (path, _) = database.split_once('?').expect("the folder is a parameter");
    let (_, name) = path.rsplit_once('/').expect("a name");
    let standby = primary.standby();
    let url = primary.url_with(&standby, name);
    Some((primary, standby, url))
}

/// A commit whose wait for the standby is cancelled is answered by PostgreSQL as if it had waited: nothing here may cancel one.
#[tokio::test(flavor = "multi_thread")]
async fn a_claim_is_not_answered_before_the_standby_has_it() {
    let Some((_primary, standby, url)) = tokio::task::spawn_blocking(pair).await.expect("a pair")
    else {
        return;
    };
    let store = open(&url).await;
    create(&store, &pool("a", "10.0.0.0/24")).await;
    lease(&store, "before", "a").await;
    standby.halt(true);
    let answer = store
        .allocate(&[claim("while-halted", &["a"])])
        .await
        .remove(0);
    standby.halt(false);
    assert_refused!(answer, Error::Unavailable { .. });
    // Whatever became of it, the client's next try is served.
    let again = allocate(&store, &claim("while-halted", &["a"])).await;
    assert_eq!(again.expect("an answer").leases.len(), 1);
    audit(&store).await;
    store.close().await;
}

#[test]
fn when_the_primary_is_killed_and_the_standby_promoted_no_answered_lease_is_lost() {
    let Some((primary, standby, url)) = pair() else {
        return;
    };
    let server = Server::on(&url).expect("a server");
    let pool = json!({ "name": "a", "subnet": "10.0.0.0/16", "reuse_delay_s": 0 });
    let created = server.rest().post("/v1/pools", &pool).expect("an answer");
    created.expect(201);
    let (told, answered) = (Mutex::default(), Mutex::default());
    let over = AtomicBool::new(false);
    let lost_at = std::thread::scope(|scope| {
        for number in 0..CLIENTS {
            let (server, told, answered, over) = (&server, &told, &answered, &over);
            scope.spawn(move || keep_claiming(number, server.socket_url(), told, answered, over));
        }
        std::thread::sleep(Duration::from_secs(1));
        let lost_at = Instant::now();
        primary.stop(Signal::SIGKILL);
        standby.promote();
        std::thread::sleep(Duration::from_secs(3));
        over.store(true, Ordering::Relaxed);
        lost_at
    });
    let answered: Vec<Instant> = answered.into_inner().expect("no panic");
    let back_at = answered
        .iter()
        .filter(|at| **at > lost_at + Duration::from_millis(50))
        .min();
    let pause = back_at
        .expect("claims are served by the standby")
        .duration_since(lost_at);
    let told: BTreeMap<String, String> = told.into_inner().expect("no panic");
    let line = format!(
        "{} leases were answered; none for {pause:?} after the kill",
        told.len()
    );
    let _ = writeln!(std::io::stderr(), "{line}");
    assert!(told.len() > 100, "{line}");
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async {
        let store = open(&url).await;
        let mut kept = BTreeMap::new();
        for lease in all_leases(&store).await {
            kept.insert(lease.attachment.container_id, lease.address.to_string());
        }
        for (container, address) in &told {
            assert_eq!(
                kept.get(container),
                Some(address),
                "{container} was answered"
            );
        }
        audit(&store).await;
    });
}

/// Claims one container after the other until it is over; each is tried until it is answered.
fn keep_claiming(
    number: usize,
    url: &str,
    told: &Mutex<BTreeMap<String, String>>,
    answered: &Mutex<Vec<Instant>>,
    over: &AtomicBool,
) {
    let rest = Rest::new(url).expect("a client");
    for n in 0.. {
        if over.load(Ordering::Relaxed) {
            return;
        }
        let container = format!("c{number}-{n}");
        let key =
            json!({ "node": "n1", "network": "net", "container_id": container, "ifname": "eth0" });
        let claim = json!({ "attachment": key, "entries": [{ "pools": ["a"] }] });
        let answer = loop {
            match rest.post("/v1/leases", &claim) {
                Ok(Answer {
                    status: 200 | 201,
                    body,
                    ..
                }) => break body,
                _ if over.load(Ordering::Relaxed) => return,
                _ => std::thread::sleep(Duration::from_millis(20)),
            }
        };
        let address = answer["leases"][0]["address"].as_str().expect("an address");
        let mut told = told.lock().unwrap_or_else(PoisonError::into_inner);
        told.insert(container, address.to_owned());
        let mut answered = answered.lock().unwrap_or_else(PoisonError::into_inner);
        answered.push(Instant::now());
        drop((told, answered));
        std::thread::sleep(PACE);
    }
}
