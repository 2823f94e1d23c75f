//! More than a server can bear, and clients that mean harm, beside clients that do not.

use std::fs;
use std::io::Write;
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use harness::postgres;
use harness::server::{Launch, Server};
use serde_json::json;
use sqlx::{Connection, PgConnection};

use crate::rounds::{self, say};
use crate::wire::{header, read_message};

/// Claims that may wait; with those in a transaction about as many as clients are served at once.
const QUEUE: usize = 64;
const CROWD: usize = 10 * QUEUE;
/// Where each transaction takes long.
const SHORT_QUEUE: usize = 32;
const PHASE: Duration = Duration::from_secs(3);
const ROUNDS: usize = 3;
/// What a debug build may take in all.
const MOST_MEMORY_KIB: u64 = 256 * 1024;

/// A client with one connection that is kept.
struct Claimant {
    stream: TcpStream,
    name: String,
    number: usize,
}

/// What a claimant was told.
enum Told {
    Served,
    /// Come again after so long.
    Busy(Duration),
}

impl Claimant {
    fn new(server: &Server, name: String) -> Self {
        let address = server.url().trim_start_matches("http://");
        let stream = TcpStream::connect(address).expect("it listens");
        stream
            .set_read_timeout(Some(Duration::from_secs(30)))
            .expect("a timeout");
        Self {
            stream,
            name,
            number: 0,
        }
    }

    fn claim(&mut self) -> Told {
        self.number += 1;
        let container = format!("{}-{}", self.name, self.number);
        let body = json!({
            "attachment": { "node": "n", "network": "net", "container_id": container, "ifname": "eth0" },
            "entries": [{ "pools": ["v6"] }], "deadline_ms": 20_000,
        });
        let body = body.to_string();
        let head = format!(
            "POST /v1/leases HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        self.stream
            .write_all((head + &body).as_bytes())
            .expect("it is sent");
        let answer = read_message(&mut self.stream).expect("an answer");
        match &answer[9..12] {
            b"201" => Told::Served,
            b"503" => {
                let seconds = header(&answer, "retry-after").expect("Retry-After");
                Told::Busy(Duration::from_secs(seconds.parse().expect("seconds")))
            }
            _ => panic!("{}", String::from_utf8_lossy(&answer)),
        }
    }
}

/// A proxy before the database (docker's) would take the time that is shared out here.
fn server_with_a_pool(args: &[&str]) -> Option<Server> {
    Some(server_on(&postgres::near_database()?, args))
}

fn server_on(database: &str, args: &[&str]) -> Server {
    // A line per refusal would say nothing new.
    let launch = Launch::new().database(database).env("IPAM_LOG", "error");
    let server = launch.args(args.iter().copied()).start().expect("a server");
    let pool = json!({ "name": "v6", "subnet": "2001:db8::/64" });
    let made = server.rest().post("/v1/pools", &pool).expect("an answer");
    made.expect(201);
    server
}

/// Each transaction that grants leases takes a quarter of a second more, as on a database that is busy with others. What a
/// server bears is little then, and ten times as much can be asked of it by clients that share its cores.
async fn slow_down(database: &str) -> Result<(), sqlx::Error> {
    let mut connection = PgConnection::connect(database).await?;
    sqlx::raw_sql(
        "create function slow() returns trigger language plpgsql as $$
         begin perform pg_sleep(0.25); return null; end $$;
         create trigger slow after insert on lease for each statement execute function slow()",
    )
    .execute(&mut connection)
    .await?;
    connection.close().await
}

/// The most that it ever took.
fn memory_kib(server: &Server) -> u64 {
    let pid = server.pid().expect("it runs");
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("its status");
    let line = status.lines().find(|line| line.starts_with("VmHWM:"));
    let words = line.and_then(|line| line.split_whitespace().nth(1));
    words.and_then(|number| number.parse().ok()).expect("VmHWM")
}

/// How many claims of so many clients are served in a phase, and how many are told to come again. `rest`: for how long a
/// client that is told so stays away.
fn phase(
    server: &Server,
    name: &str,
    clients: usize,
    rest: fn(Duration) -> Duration,
) -> (usize, usize) {
    let (served, busy) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let claimants = (0..clients).map(|n| Claimant::new(server, format!("{name}-{n}")));
    let claimants: Vec<_> = claimants.collect();
    let end = Instant::now() + PHASE;
    thread::scope(|scope| {
        for mut claimant in claimants {
            let (served, busy) = (&served, &busy);
            let work = move || {
                while Instant::now() < end {
                    match claimant.claim() {
                        Told::Served => served.fetch_add(1, Ordering::Relaxed),
                        Told::Busy(pause) => {
                            thread::sleep(
                                rest(pause).min(end.saturating_duration_since(Instant::now())),
                            );
                            busy.fetch_add(1, Ordering::Relaxed)
                        }
                    };
                }
            };
            let thread = thread::Builder::new().stack_size(256 * 1024);
            thread.spawn_scoped(scope, work).expect("a thread");
        }
    });
    (served.into_inner(), busy.into_inner())
}

fn as_told(pause: Duration) -> Duration {
    pause
}

/// As clients do that have never heard of Retry-After.
fn hardly(_pause: Duration) -> Duration {
    Duration::from_millis(50)
}

#[test]
fn ten_times_what_a_server_bears_is_told_to_come_again_and_the_good_work_goes_on() {
    let _alone = rounds::alone();
    let Some(server) = server_with_a_pool(&["--queue", &QUEUE.to_string()]) else {
        return;
    };
    let (mut peak, mut crowded, mut refused, mut memory) = (0, 0, 0, 0);
    let (mut rude, mut shouted) = (0, 0);
    for round in 0..ROUNDS {
        peak = peak.max(phase(&server, &format!("peak-{round}"), QUEUE, as_told).0);
        let (served, busy) = phase(&server, &format!("crowd-{round}"), CROWD, as_told);
        crowded = crowded.max(served);
        refused += busy;
        let (served, busy) = phase(&server, &format!("rude-{round}"), CROWD, hardly);
        rude = rude.max(served);
        shouted = shouted.max(busy);
        memory = memory.max(memory_kib(&server));
    }
    say(&format!(
        "overload: {peak} leases in {PHASE:?} by {QUEUE} clients, {crowded} by {CROWD} ({refused} refused), \
         {rude} by {CROWD} that do not wait ({shouted} refused), {memory} KiB"
    ));
    assert!(refused > CROWD, "{refused} refusals: that was no overload");
    assert!(
        crowded * 10 >= peak * 8,
        "{crowded} leases, at its peak {peak}"
    );
    // They and the server share the machine's cores: what the clients take for shouting nobody else has.
    assert!(
        rude * 5 >= peak,
        "{rude} leases beside clients that do not wait, at its peak {peak}"
    );
    assert!(memory < MOST_MEMORY_KIB, "{memory} KiB");
}

/// With so long between two tries, a crowd asks for more than ten times what is served.
fn too_soon(_pause: Duration) -> Duration {
    Duration::from_millis(300)
}

#[test]
fn ten_times_the_rate_that_a_server_bears_by_clients_that_do_not_wait_costs_no_good_work() {
    let _alone = rounds::alone();
    let Some(database) = postgres::near_database() else {
        return;
    };
    let server = server_on(&database, &["--queue", &SHORT_QUEUE.to_string()]);
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(slow_down(&database)).expect("a trigger");
    let (mut peak, mut served, mut asked, mut memory) = (0, 0, 0, 0);
    for round in 0..ROUNDS {
        peak = peak.max(phase(&server, &format!("peak-{round}"), 2 * SHORT_QUEUE, hardly).0);
        let (good, busy) = phase(&server, &format!("soon-{round}"), CROWD, too_soon);
        served = served.max(good);
        asked = asked.max(good + busy);
        memory = memory.max(memory_kib(&server));
    }
    say(&format!(
        "overload: {peak} leases in {PHASE:?} at the peak, {served} of {asked} by {CROWD} that do not wait, {memory} KiB"
    ));
    assert!(asked >= 10 * peak, "{asked} claims, at its peak {peak}");
    assert!(
        served * 10 >= peak * 8,
        "{served} leases, at its peak {peak}"
    );
    assert!(memory < MOST_MEMORY_KIB, "{memory} KiB");
}

/// What a client that means harm does with its connection until it is over.
type Harm = fn(TcpStream, &AtomicBool);

fn says_nothing(_stream: TcpStream, over: &AtomicBool) {
    until(over, || true);
}

fn dribbles(mut stream: TcpStream, over: &AtomicBool) {
    let head = b"POST /v1/leases HTTP/1.1\r\nhost: x\r\n";
    let mut bytes = head.iter().cycle();
    until(over, || {
        bytes
            .next()
            .is_some_and(|byte| stream.write_all(&[*byte]).is_ok())
    });
}

fn sends_headers_without_end(mut stream: TcpStream, over: &AtomicBool) {
    let _ = stream.write_all(b"GET /healthz HTTP/1.1\r\n");
    until(over, || stream.write_all(&[b'y'; 4096]).is_ok());
}

/// As much of a body as is allowed, but for its end.
fn holds_a_big_body_back(mut stream: TcpStream, over: &AtomicBool) {
    let head = "POST /v1/leases HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 4000000\r\n\r\n";
    let sent = stream.write_all(head.as_bytes());
    let _ = sent.and_then(|()| stream.write_all(&vec![b' '; 3_900_000]));
    until(over, || true);
}

fn announces_a_huge_body(mut stream: TcpStream, over: &AtomicBool) {
    let head = "POST /v1/gc HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 9000000000\r\n\r\n";
    let _ = stream.write_all(head.as_bytes());
    until(over, || stream.write_all(&[b' '; 65536]).is_ok());
}

/// More of answers than the kernel keeps for it.
fn never_reads(mut stream: TcpStream, over: &AtomicBool) {
    let ask = "GET /v1/leases?limit=1000 HTTP/1.1\r\nhost: x\r\n\r\n";
    let _ = stream.write_all(ask.repeat(2).as_bytes());
    until(over, || true);
}

fn until(over: &AtomicBool, mut goes_on: impl FnMut() -> bool) {
    while !over.load(Ordering::Relaxed) && goes_on() {
        thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn clients_that_mean_harm_do_none_to_a_good_one() {
    let _alone = rounds::alone();
    let Some(server) = server_with_a_pool(&[]) else {
        return;
    };
    let harms: [(Harm, usize); 6] = [
        (says_nothing, 200),
        (dribbles, 50),
        (sends_headers_without_end, 20),
        (holds_a_big_body_back, 100),
        (announces_a_huge_body, 20),
        (never_reads, 10),
    ];
    phase(&server, "held", QUEUE, as_told);
    let over = AtomicBool::new(false);
    let (count, slowest, memory) = thread::scope(|scope| {
        for (harm, count) in harms {
            for _ in 0..count {
                let address = server.url().trim_start_matches("http://");
                let stream = TcpStream::connect(address).expect("it listens");
                // What is sent into a connection that nobody reads must not hold the test up.
                let patience = Some(Duration::from_millis(200));
                stream.set_write_timeout(patience).expect("a timeout");
                let over = &over;
                let thread = thread::Builder::new().stack_size(256 * 1024);
                let spawned = thread.spawn_scoped(scope, move || harm(stream, over));
                spawned.expect("a thread");
            }
        }
        // Once all of them are at it.
        thread::sleep(Duration::from_secs(3));
        let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| good_work(&server)));
        over.store(true, Ordering::Relaxed);
        outcome.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    });
    say(&format!(
        "harm: {count} claims beside it, the slowest took {slowest:?}, {memory} KiB"
    ));
    assert!(slowest < Duration::from_secs(3), "a claim took {slowest:?}");
    assert!(memory < MOST_MEMORY_KIB, "{memory} KiB");
}

/// One claim after another; how many, and how long the slowest took. And the server's memory at its most.
fn good_work(server: &Server) -> (usize, Duration, u64) {
    let mut claimant = Claimant::new(server, "good".to_owned());
    let end = Instant::now() + PHASE;
    let (mut count, mut slowest, mut memory) = (0, Duration::ZERO, 0);
    while Instant::now() < end {
        let begun = Instant::now();
        assert!(
            matches!(claimant.claim(), Told::Served),
            "the queue is not full"
        );
        slowest = slowest.max(begun.elapsed());
        count += 1;
        memory = memory.max(memory_kib(server));
    }
    (count, slowest, memory)
}
