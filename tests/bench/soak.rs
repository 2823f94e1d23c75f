//! Ten million claims and releases on one pool while some reader always holds a snapshot open: nothing may grow.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use ipam_api::{Attachment, Claim, Entry, Release};
use ipam_server::store::{Releasing, Store};
use serde_json::json;
use sqlx::{Connection, PgConnection};

use crate::lab::{self, Lab};
use crate::row::{Goal, Peer, Row};
use crate::samples::Samples;
use crate::service::Service;

pub(crate) const ROWS: &[&str] = &["soak-p99", "soak-size", "soak-dead"];

/// The pool of the claims.
pub(crate) const POOL: &str = "soak";
/// Claims of one transaction.
pub(crate) const BATCH: usize = 256;
/// Names of containers, which come again after so many: what is kept of each stays for an hour, longer than the run.
const CONTAINERS: usize = 1_000 * BATCH;
/// How long one snapshot is held until a new one takes its place, as a backup after the other would.
const SNAPSHOT: Duration = Duration::from_secs(30);
/// History older than that is pruned.
const RETENTION: Duration = Duration::from_secs(20);
/// How often the dead rows are counted.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// The run is told in so many parts. In the first ones the history fills.
const PARTS: usize = 10;
const SETTLED: usize = 3;

/// One part of the run.
struct Part {
    /// Of a batch, in milliseconds.
    p99: f64,
    /// Tables and indexes, in MiB.
    size: f64,
    /// How long a dead row stays, in seconds: the dead rows on average, divided by the verbs that leave them in a second.
    /// Their number goes up and down with autovacuum's minute and with the machine's speed.
    dead_for: f64,
}

pub(crate) fn run(lab: &Lab) -> Result<Vec<Row>> {
    let service = Service::start(lab)?;
    service.create_pool(POOL, "10.0.0.0/8", &json!({}))?;
    let url = service.server.database_url().to_owned();
    let verbs = lab.amount(400_000, 10_000_000);
    let runtime = tokio::runtime::Runtime::new()?;
    let parts = runtime.block_on(soak(&url, verbs))?;
    let (first, last) = (&parts[SETTLED], &parts[PARTS - 1]);
    let row = |id, what: &str, unit, of: fn(&Part) -> f64, times| Row {
        id,
        what: format!("{what} in the last tenth of {verbs} claims and releases"),
        unit,
        ours: of(last),
        peer: Some(Peer {
            name: "in the fourth",
            value: of(first),
        }),
        goal: Goal::TimesOrLess(times),
        note: String::new(),
    };
    service.check_books()?;
    Ok(vec![
        row(
            "soak-p99",
            "p99 of a batch of 256",
            "ms",
            |part| part.p99,
            1.25,
        ),
        row(
            "soak-size",
            "tables and indexes",
            "MiB",
            |part| part.size,
            1.25,
        ),
        row(
            "soak-dead",
            "dead rows per verb in a second, on average",
            "s",
            |part| part.dead_for,
            1.25,
        ),
    ])
}

async fn soak(url: &str, verbs: usize) -> Result<Vec<Part>> {
    let store = Store::open(url).await?;
    let reading = tokio::spawn(read(url.to_owned()));
    let pruning = tokio::spawn(prune(store.clone()));
    let mut parts = Vec::new();
    let mut round = 0;
    for number in 1..=PARTS {
        let begin = Instant::now();
        let (mut times, mut dead) = (Samples::EMPTY, Samples::EMPTY);
        let mut next_look = begin;
        for _ in 0..verbs / PARTS / BATCH / 2 {
            round += 1;
            let [claimed, released] = come_and_go(&store, round * BATCH).await?;
            times.push_time(claimed);
            times.push_time(released);
            if next_look <= Instant::now() {
                dead.push(lab::ask(url, DEAD_ROWS)?.parse()?);
                next_look = Instant::now() + LOOK_EVERY;
            }
        }
        let verbs_per_second = (verbs / PARTS) as f64 / begin.elapsed().as_secs_f64();
        let part = Part {
            p99: times.percentile(0.99),
            size: lab::ask(url, SIZE)?.parse()?,
            dead_for: dead.mean() / verbs_per_second,
        };
        eprintln!(
            "soak: part {number} of {PARTS} took {:.0} s, p99 of a batch {:.1} ms, {:.1} MiB, {:.0} dead rows on average: {}",
            begin.elapsed().as_secs_f64(),
            part.p99,
            part.size,
            dead.mean(),
            lab::ask(url, TABLES)?,
        );
        parts.push(part);
    }
    ensure!(!reading.is_finished(), "{:?}", reading.await);
    ensure!(!pruning.is_finished(), "{:?}", pruning.await);
    reading.abort();
    pruning.abort();
    store.close().await;
    Ok(parts)
}

const SIZE: &str = "select sum(pg_total_relation_size(relid)) / 1048576 from pg_stat_user_tables";
const DEAD_ROWS: &str = "select sum(n_dead_tup) from pg_stat_user_tables";

/// Each table: its rows' and its indexes' KiB, and its dead rows.
const TABLES: &str = "
    select string_agg(format('%s %s + %s KiB, %s dead', relname, pg_table_size(relid) / 1024,
        pg_indexes_size(relid) / 1024, n_dead_tup), '; ' order by relname)
    from pg_stat_user_tables
    where relname in ('attachment', 'free_range', 'history', 'lease', 'pool_counter')";

/// A batch is claimed for and released again; how long each took.
async fn come_and_go(store: &Store, first: usize) -> Result<[Duration; 2]> {
    let keys: Vec<_> = (first..first + BATCH).map(key).collect();
    let claims: Vec<_> = keys.iter().map(claim).collect();
    let releases: Vec<_> = keys.iter().map(release).collect();
    let begin = Instant::now();
    for answer in store.allocate(&claims).await {
        answer?;
    }
    let claimed = begin.elapsed();
    for answer in store.release(&releases).await {
        ensure!(answer? == 1, "a release frees another number of leases");
    }
    Ok([claimed, begin.elapsed() - claimed])
}

/// Holds a snapshot open, and opens the next before it lets it go.
async fn read(url: String) -> Result<()> {
    let mut held = snapshot(&url).await?;
    loop {
        tokio::time::sleep(SNAPSHOT).await;
        let next = snapshot(&url).await?;
        std::mem::replace(&mut held, next).close().await?;
    }
}

pub(crate) async fn snapshot(url: &str) -> Result<PgConnection> {
    let mut reader = PgConnection::connect(url).await?;
    sqlx::raw_sql("begin isolation level repeatable read; select count(*) from lease")
        .execute(&mut reader)
        .await?;
    Ok(reader)
}

/// Prunes as the service does, but for a shorter memory.
async fn prune(store: Store) -> Result<()> {
    loop {
        let goes_on = store.tidy(RETENTION).await?;
        let pause = if goes_on { 50 } else { 1_000 };
        tokio::time::sleep(Duration::from_millis(pause)).await;
    }
}

pub(crate) fn key(number: usize) -> Attachment {
    Attachment {
        cluster: "default".to_owned(),
        node: format!("node-{}", number % 10),
        network: "soak".to_owned(),
        container_id: format!("container-{:012}", number % CONTAINERS),
        ifname: "eth0".to_owned(),
    }
}

pub(crate) fn claim(key: &Attachment) -> Claim {
    Claim {
        attachment: key.clone(),
        machine_id: None,
        boot_id: None,
        issued: None,
        pod: None,
        owner: None,
        entries: vec![Entry {
            pools: vec![POOL.to_owned()],
        }],
        wanted: Vec::new(),
        deadline_ms: None,
    }
}

pub(crate) fn release(key: &Attachment) -> Releasing {
    let key = key.clone();
    Releasing {
        release: Release {
            cluster: key.cluster,
            node: key.node,
            network: key.network,
            container_id: key.container_id,
            ifname: key.ifname,
            boot_id: None,
            issued: None,
            claim_issued: None,
        },
        earlier_boot: false,
    }
}
