//! Clients that claim, each on a kept connection and one claim after the other.
//!
//! It shares the machine's cores with what it measures, so it does as little as it can: plain HTTP/1.1 on sockets, out of
//! prepared text, on one thread.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::samples::Samples;

/// When clients claim, and how long they go on.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Plan {
    /// One claim after the other, so many in all.
    Count(u64),
    /// One claim after the other, so long.
    Time(Duration),
    /// Each client once, all at the same moment.
    Burst,
    /// Each client once in every interval, spread evenly over it, so long.
    Paced { interval: Duration, time: Duration },
}

/// What came of it. Every claim was granted, or there is an error instead.
#[derive(Debug)]
pub(crate) struct Claims {
    pub(crate) granted: u64,
    pub(crate) took: Duration,
    /// From the moment when a claim is due to having its answer, in milliseconds.
    pub(crate) latencies: Samples,
}

impl Claims {
    pub(crate) fn per_second(&self) -> f64 {
        self.granted_f64() / self.took.as_secs_f64()
    }

    #[expect(clippy::cast_precision_loss, reason = "far fewer than 2^52")]
    pub(crate) fn granted_f64(&self) -> f64 {
        self.granted as f64
    }
}

/// Lets `clients` claim addresses of a pool, each for a container that nobody has heard of.
pub(crate) fn claims(
    address: SocketAddr,
    pool: &str,
    clients: usize,
    plan: Plan,
) -> Result<Claims> {
    run(address, Some(pool), clients, plan)
}

/// The same with claims that the server reads and refuses: what claims would take if the database took no time.
pub(crate) fn refused_claims(address: SocketAddr, clients: usize, plan: Plan) -> Result<Claims> {
    run(address, None, clients, plan)
}

/// On one thread. Without a pool the claims are for nothing, and refused.
fn run(address: SocketAddr, pool: Option<&str>, clients: usize, plan: Plan) -> Result<Claims> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(claim_all(address, pool, clients, plan))
}

async fn claim_all(
    address: SocketAddr,
    pool: Option<&str>,
    clients: usize,
    plan: Plan,
) -> Result<Claims> {
    let mut connections = Vec::new();
    for _ in 0..clients {
        let connection = TcpStream::connect(address).await?;
        connection.set_nodelay(true)?;
        connections.push(connection);
    }
    let begin = Instant::now();
    let tickets = Arc::new(Tickets {
        given: AtomicU64::new(0),
        plan,
        begin,
        clients,
    });
    let mut tasks = JoinSet::new();
    for (number, connection) in connections.into_iter().enumerate() {
        let client = Client {
            number,
            connection,
            request: Request::new(pool, number),
            answer: Vec::with_capacity(4096),
            expected: if pool.is_some() { "201" } else { "400" },
        };
        tasks.spawn(client.run(tickets.clone()));
    }
    let mut all = Vec::new();
    while let Some(ended) = tasks.join_next().await {
        all.extend(ended??);
    }
    Ok(Claims {
        granted: all.len() as u64,
        took: begin.elapsed(),
        latencies: all.into_iter().collect(),
    })
}

/// Who may still claim, and when.
struct Tickets {
    given: AtomicU64,
    plan: Plan,
    begin: Instant,
    clients: usize,
}

impl Tickets {
    /// When a client that has `made` so many claims makes its next one.
    fn next(&self, client: usize, made: u32, now: Instant) -> Option<Instant> {
        let due = match self.plan {
            Plan::Paced { interval, .. } => {
                let share = f64::from(u32::try_from(client).ok()?)
                    / f64::from(u32::try_from(self.clients).ok()?);
                self.begin + interval.mul_f64(share) + interval * made
            }
            Plan::Burst => self.begin,
            Plan::Count(_) | Plan::Time(_) => now,
        };
        let goes_on = match self.plan {
            Plan::Count(count) => self.given.fetch_add(1, Ordering::Relaxed) < count,
            Plan::Burst => made == 0,
            Plan::Time(time) | Plan::Paced { time, .. } => due - self.begin < time,
        };
        goes_on.then_some(due)
    }
}

struct Client {
    number: usize,
    connection: TcpStream,
    request: Request,
    answer: Vec<u8>,
    expected: &'static str,
}

impl Client {
    async fn run(mut self, tickets: Arc<Tickets>) -> Result<Vec<f64>> {
        let mut latencies = Vec::new();
        let mut made = 0;
        while let Some(due) = tickets.next(self.number, made, Instant::now()) {
            // Even a sleep of nothing takes a millisecond.
            if due > Instant::now() {
                tokio::time::sleep_until(due.into()).await;
            }
            self.connection.write_all(self.request.next()).await?;
            self.read().await?;
            latencies.push(due.elapsed().as_secs_f64() * 1e3);
            made += 1;
        }
        Ok(latencies)
    }

    /// Reads one answer, which must be the expected one.
    async fn read(&mut self) -> Result<()> {
        self.answer.clear();
        let mut whole = None;
        while whole.is_none_or(|length| self.answer.len() < length) {
            let read = self.connection.read_buf(&mut self.answer).await?;
            ensure!(read > 0, "the server closed the connection");
            if whole.is_none() {
                whole = length(&self.answer)?;
            }
        }
        if !self.answer["HTTP/1.1 ".len()..].starts_with(self.expected.as_bytes()) {
            bail!(
                "a claim was answered {}",
                String::from_utf8_lossy(&self.answer)
            );
        }
        Ok(())
    }
}

/// The length of an answer, head and body, once its head is there.
fn length(answer: &[u8]) -> Result<Option<usize>> {
    const NAME: &[u8] = b"\r\ncontent-length: ";
    let Some(head) = find(answer, b"\r\n\r\n") else {
        return Ok(None);
    };
    let at = find(&answer[..head], NAME).context("an answer without a length")?;
    let digits = answer[at + NAME.len()..]
        .iter()
        .take_while(|byte| byte.is_ascii_digit());
    let body = digits.fold(0, |sum, digit| sum * 10 + usize::from(digit - b'0'));
    Ok(Some(head + 4 + body))
}

fn find(text: &[u8], part: &[u8]) -> Option<usize> {
    text.windows(part.len()).position(|window| window == part)
}

/// A request whose number is written over in place: all have the same length.
struct Request {
    text: Vec<u8>,
    /// Where the container's number is, and where the verb's `issued`.
    places: [usize; 2],
    number: u64,
}

/// Digits of a number.
const DIGITS: usize = 16;
/// Containers that have been claimed for, by any run of this process.
static CONTAINERS: AtomicU64 = AtomicU64::new(1_000_000_000_000_000);

impl Request {
    /// All that the plugin would send. A node's clients share its identity.
    fn new(pool: Option<&str>, client: usize) -> Self {
        let node = client % 10;
        let digits = "0".repeat(DIGITS);
        let pools = pool.map_or(String::new(), |pool| format!("{pool:?}"));
        let body = format!(
            r#"{{"attachment":{{"cluster":"default","node":"bench-{node}","network":"bench","container_id":"{digits}","#
        ) + &format!(
            r#""ifname":"eth0"}},"machine_id":"machine-{node}","boot_id":"boot-{node}","issued":{digits},"#
        ) + &format!(r#""entries":[{{"pools":[{pools}]}}],"deadline_ms":10000}}"#);
        let text = format!(
            "POST /v1/leases HTTP/1.1\r\nhost: bench\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        );
        let places = text.match_indices(&digits).map(|(place, _)| place);
        let places: Vec<_> = places.collect();
        Self {
            places: [places[0], places[1]],
            text: text.into_bytes(),
            number: 0,
        }
    }

    fn next(&mut self) -> &[u8] {
        self.number = CONTAINERS.fetch_add(1, Ordering::Relaxed);
        for place in self.places {
            let mut rest = self.number;
            for digit in self.text[place..place + DIGITS].iter_mut().rev() {
                *digit = b'0' + u8::try_from(rest % 10).unwrap_or_default();
                rest /= 10;
            }
        }
        &self.text
    }
}
