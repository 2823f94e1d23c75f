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
use serde_json::{Value, json};

use crate::store::support::*;

const SERVERS: usize = 2;
const CLIENTS: usize = 8;
/// Between two claims of a client.
const PACE: Duration = Duration::from_millis(10);
/// How long nothing may be answered after the primary is lost.
const PAUSE_LIMIT: Duration = Duration::from_secs(10);

/// The address that each container was answered; none after its release was.
type Told = BTreeMap<String, Option<String>>;

/// An answer to a request.
struct Answered {
    /// Which server gave it.
    server: usize,
    /// When it was asked for.
    asked_at: Instant,
    at: Instant,
}

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
fn when_the_primary_is_killed_and_the_standby_promoted_no_answered_lease_or_release_is_lost() {
    let Some((primary, standby, url)) = pair() else {
        return;
    };
    let servers: Vec<_> = (0..SERVERS)
        .map(|_| Server::on(&url).expect("a server"))
        .collect();
    let pool = json!({ "name": "a", "subnet": "10.0.0.0/16", "reuse_delay_s": 0 });
    let created = servers[0]
        .rest()
        .post("/v1/pools", &pool)
        .expect("an answer");
    created.expect(201);
    let (told, answered) = (Mutex::default(), Mutex::default());
    let over = AtomicBool::new(false);
    let lost_at = std::thread::scope(|scope| {
        for number in 0..CLIENTS {
            let (servers, told, answered, over) = (&servers, &told, &answered, &over);
            scope.spawn(move || keep_claiming(number, servers, told, answered, over));
        }
        std::thread::sleep(Duration::from_secs(1));
        let lost_at = Instant::now();
        primary.stop(Signal::SIGKILL);
        standby.promote();
        std::thread::sleep(Duration::from_secs(3));
        over.store(true, Ordering::Relaxed);
        lost_at
    });
    let answered: Vec<Answered> = answered.into_inner().expect("no panic");
    let pause_of = |number: usize| {
        let after = (answered.iter())
            .filter(|answer| answer.server == number && answer.asked_at > lost_at)
            .map(|answer| answer.at);
        let back_at = after.min().expect("claims are served by the standby");
        back_at.duration_since(lost_at)
    };
    let pauses: Vec<_> = (0..SERVERS).map(pause_of).collect();
    let told: Told = told.into_inner().expect("no panic");
    let released = told.values().filter(|address| address.is_none()).count();
    let line = format!(
        "{} leases were answered, {released} of them released; nothing for {pauses:?} after the kill",
        told.len()
    );
    let _ = writeln!(std::io::stderr(), "{line}");
    assert!(told.len() > 100 && released > 30, "{line}");
    assert!(pauses.iter().all(|pause| *pause < PAUSE_LIMIT), "{line}");
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
                address.as_ref(),
                "{container} was answered"
            );
        }
        audit(&store).await;
    });
}

#[test]
fn an_old_primary_that_is_back_is_not_followed() {
    let Some((primary, standby, url)) = pair() else {
        return;
    };
    let server = Server::on(&url).expect("a server");
    let pool = json!({ "name": "a", "subnet": "10.0.0.0/24" });
    let created = server.rest().post("/v1/pools", &pool).expect("an answer");
    created.expect(201);
    primary.stop(Signal::SIGKILL);
    standby.promote();
    claim_until_answered(server.rest(), "promoted");
    // It knows nothing of what happened meanwhile, and is the first in the list.
    primary.resume();
    let (_, name) = url.split_once("localhost/").expect("a database");
    let (name, _) = name.split_once('?').expect("the folders");
    let new = standby.url(name);
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let cut = "select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'ipam-server'";
    runtime.block_on(sql(&new, cut)).expect("cuts");
    for n in 0..5 {
        claim_until_answered(server.rest(), &format!("cut-{n}"));
    }
    let log = server.log();
    assert_eq!(
        log.matches("more than one host is a primary").count(),
        1,
        "{log}"
    );
    // Nor while the new one does not answer.
    standby.stop(Signal::SIGKILL);
    let claim = json!({ "attachment": key_of("meanwhile"), "entries": [{ "pools": ["a"] }] });
    let answer = server.rest().post("/v1/leases", &claim).expect("an answer");
    assert_eq!(answer.status, 503, "{}", answer.body);
    standby.resume();
    claim_until_answered(server.rest(), "after all");
    runtime.block_on(async {
        // Also when it is looked for from the beginning.
        for url in [new, url] {
            let store = open(&url).await;
            assert_eq!(all_leases(&store).await.len(), 7);
            audit(&store).await;
        }
    });
}

/// Claims for a container of that name.
fn claim_until_answered(rest: &Rest, container: &str) {
    let claim = json!({ "attachment": key_of(container), "entries": [{ "pools": ["a"] }] });
    let give_up = Instant::now() + PAUSE_LIMIT;
    loop {
        match rest.post("/v1/leases", &claim) {
            Ok(Answer {
                status: 200 | 201, ..
            }) => return,
            answer => assert!(Instant::now() < give_up, "{container}: {answer:?}"),
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn key_of(container: &str) -> Value {
    json!({ "node": "n1", "network": "net", "container_id": container, "ifname": "eth0" })
}

/// Claims one container after the other until it is over, and releases every other one; each is tried until it is answered.
fn keep_claiming(
    number: usize,
    servers: &[Server],
    told: &Mutex<Told>,
    answered: &Mutex<Vec<Answered>>,
    over: &AtomicBool,
) {
    let server = number % servers.len();
    let rest = Rest::new(servers[server].socket_url()).expect("a client");
    let note = |container: &str, address: Option<String>, asked_at: Instant| {
        let mut told = told.lock().unwrap_or_else(PoisonError::into_inner);
        told.insert(container.to_owned(), address);
        let mut answered = answered.lock().unwrap_or_else(PoisonError::into_inner);
        answered.push(Answered {
            server,
            asked_at,
            at: Instant::now(),
        });
    };
    for n in 0.. {
        let container = format!("c{number}-{n}");
        let claim = json!({ "attachment": key_of(&container), "entries": [{ "pools": ["a"] }] });
        let Some((answer, asked_at)) = ask(&rest, "/v1/leases", &claim, over) else {
            return;
        };
        let address = answer["leases"][0]["address"].as_str().expect("an address");
        note(&container, Some(address.to_owned()), asked_at);
        std::thread::sleep(PACE);
        if n % 2 == 0 {
            continue;
        }
        let release = json!({ "attachments": [key_of(&container)] });
        let Some((_, asked_at)) = ask(&rest, "/v1/release", &release, over) else {
            // It may have been carried out.
            let mut told = told.lock().unwrap_or_else(PoisonError::into_inner);
            told.remove(&container);
            return;
        };
        note(&container, None, asked_at);
    }
}

/// Asks until there is an answer, and tells with it when it was asked for; none when it is over before.
fn ask(rest: &Rest, path: &str, body: &Value, over: &AtomicBool) -> Option<(Value, Instant)> {
    while !over.load(Ordering::Relaxed) {
        let asked_at = Instant::now();
        match rest.post(path, body) {
            Ok(Answer {
                status: 200 | 201,
                body,
                ..
            }) => return Some((body, asked_at)),
            _ => std::thread::sleep(Duration::from_millis(20)),
        }
    }
    None
}
