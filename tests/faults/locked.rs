//! A SQLite file that another process has locked, as a backup may: claims wait, and their callers do not wait for ever.

use std::thread;
use std::time::Duration;

use harness::rest::Rest;
use harness::server::Server;
use ipam_server::store::Store;
use reqwest::Method;
use serde_json::{Value, json};
use sqlx::{Connection, SqliteConnection};
use tokio::runtime::Runtime;

use crate::rounds;

/// Of the claim that is to be overdue.
const DEADLINE: Duration = Duration::from_millis(150);
/// After which the callers that give up do so.
const PATIENCE: Duration = Duration::from_millis(300);
/// For a request to arrive, and for its transaction to begin.
const ARRIVAL: Duration = Duration::from_millis(700);
/// Less than the server waits for a locked file.
const HOLD: Duration = Duration::from_secs(3);
/// A busy machine may be slower than [`ARRIVAL`].
const ATTEMPTS: usize = 5;

#[test]
fn a_claim_whose_deadline_passes_behind_a_locked_file_is_refused_at_once_and_leaves_nothing() {
    let _shared = rounds::beside_others();
    let server = Server::sqlite().expect("a server");
    let pool = json!({ "name": "a", "subnet": "10.0.0.0/24" });
    server
        .rest()
        .post("/v1/pools", &pool)
        .expect("an answer")
        .expect(201);
    let refused = (0..ATTEMPTS).any(|attempt| was_refused_meanwhile(&server, attempt));
    assert!(refused, "no claim was refused at its deadline");
    audit(&server);
}

#[test]
fn what_a_caller_gave_up_behind_a_locked_file_is_undone_by_its_release() {
    let _shared = rounds::beside_others();
    let server = Server::sqlite().expect("a server");
    let pool = json!({ "name": "a", "subnet": "10.0.0.0/24" });
    server
        .rest()
        .post("/v1/pools", &pool)
        .expect("an answer")
        .expect(201);
    let lock = Lock::take(server.database_url());
    thread::scope(|scope| {
        // The first has begun and waits for the file, the others wait for their turn.
        for name in ["begun", "waits", "waits-too"] {
            let server = &server;
            scope.spawn(move || {
                let answer = claim(server, name, Some(PATIENCE), HOLD * 2);
                assert!(answer.is_none(), "{name} was answered: {answer:?}");
            });
            thread::sleep(ARRIVAL / 3);
        }
    });
    lock.let_go();
    for name in ["begun", "waits", "waits-too"] {
        let mut release = attachment(name);
        release["issued"] = json!(2);
        release["claim_issued"] = json!(1);
        let body = json!({ "attachments": [release] });
        let answer = server.rest().post("/v1/release", &body);
        answer.expect("an answer").expect(200);
        assert_eq!(held(server.rest(), name), 0, "{name}");
        // What overtook it on the way is refused.
        let (status, body) = claim(&server, name, None, HOLD).expect("an answer");
        assert_eq!(
            (status, &body["code"]),
            (409, &json!("superseded")),
            "{name}"
        );
    }
    audit(&server);
}

/// Locks the file under one claim and sends another; true when that was refused before the file was free again.
fn was_refused_meanwhile(server: &Server, attempt: usize) -> bool {
    let (first, second) = (format!("holds-{attempt}"), format!("overdue-{attempt}"));
    let lock = Lock::take(server.database_url());
    let answer = thread::scope(|scope| {
        let holder = scope.spawn(|| claim(server, &first, None, HOLD * 2));
        thread::sleep(ARRIVAL);
        let answer = claim(server, &second, Some(HOLD - ARRIVAL), DEADLINE);
        lock.let_go();
        let (status, body) = holder.join().expect("no panic").expect("an answer");
        assert_eq!(status, 201, "{first}: {body}");
        answer
    });
    let Some((status, body)) = answer else {
        return false;
    };
    assert_eq!(
        (status, &body["code"]),
        (503, &json!("unavailable")),
        "{body}"
    );
    assert_eq!(held(server.rest(), &second), 0, "{second}");
    true
}

fn attachment(container: &str) -> Value {
    json!({ "cluster": "default", "node": "n", "network": "net", "container_id": container, "ifname": "eth0", "boot_id": "b" })
}

/// The answer, if one came within the caller's patience.
fn claim(
    server: &Server,
    container: &str,
    patience: Option<Duration>,
    deadline: Duration,
) -> Option<(u16, Value)> {
    let mut key = attachment(container);
    let boot = key["boot_id"].take();
    key.as_object_mut().expect("an object").remove("boot_id");
    let body = json!({
        "attachment": key, "boot_id": boot, "issued": 1, "entries": [{ "pools": ["a"] }],
        "deadline_ms": deadline.as_millis(),
    });
    // A client of its own: several wait at the same time.
    let rest = Rest::new(server.socket_url()).expect("a client");
    let request = rest.request(Method::POST, "/v1/leases").json(&body);
    let request = request.timeout(patience.unwrap_or(HOLD * 4));
    let answer = rest.send(request).ok()?;
    Some((answer.status, answer.body))
}

fn held(rest: &Rest, container: &str) -> usize {
    let path = format!("/v1/leases?container_id={container}");
    let body = rest.get(&path).expect("an answer").expect(200);
    body["items"].as_array().expect("a list").len()
}

fn audit(server: &Server) {
    let runtime = Runtime::new().expect("a runtime");
    let found = runtime.block_on(async {
        let mut copy = SqliteConnection::connect(server.database_url()).await?;
        let file = tempfile::tempdir().expect("a folder");
        let to = file.path().join("copy.db").display().to_string();
        sqlx::query("vacuum into $1")
            .bind(&to)
            .execute(&mut copy)
            .await?;
        let store = Store::open(&format!("sqlite://{to}"))
            .await
            .expect("the copy");
        let found = store.audit().await.expect("an audit");
        store.close().await;
        Ok::<_, sqlx::Error>(found)
    });
    assert_eq!(found.expect("a copy"), [] as [String; 0]);
}

/// The file's only writer.
struct Lock {
    connection: SqliteConnection,
    runtime: Runtime,
}

impl Lock {
    fn take(url: &str) -> Self {
        let runtime = Runtime::new().expect("a runtime");
        let connection = runtime.block_on(async {
            let mut connection = SqliteConnection::connect(url).await?;
            sqlx::raw_sql("begin immediate")
                .execute(&mut connection)
                .await?;
            Ok::<_, sqlx::Error>(connection)
        });
        let connection = connection.expect("the file");
        Self {
            connection,
            runtime,
        }
    }

    fn let_go(mut self) {
        let rollback = sqlx::raw_sql("rollback").execute(&mut self.connection);
        self.runtime.block_on(rollback).expect("it was held");
    }
}
