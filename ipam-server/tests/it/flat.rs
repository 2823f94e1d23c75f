//! That the cost of an allocation grows neither with the pool's size, nor with how full it is, nor with what has been; and
//! that what has been leaves a bounded number of rows behind.
//!
//! Times are printed, and asserted generously, because a test machine is noisy; what PostgreSQL touched is exact.
//! `IPAM_TEST_FLAT_CLAIMS` sets how many claims and releases have come and gone (default 70,400).

use std::io::Write;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use ipam_server::store::Store;
use sqlx::{Connection, PgConnection, SqliteConnection};

use crate::store::support::*;

/// Allocations that are measured per pool.
const SAMPLES: usize = 100;
/// What one claim and its release may read and touch, each in a transaction of its own: about 45 and 115 when this was
/// written.
const ROWS: f64 = 60.0;
const BLOCKS: f64 = 160.0;
/// Claims and releases per transaction.
const BATCH: usize = 256;
/// Returned rows up to which never-used space goes first (DESIGN §3).
const RETURNED_BOUND: i64 = 65_536;

#[tokio::test(flavor = "multi_thread")]
async fn an_allocation_costs_the_same_from_every_pool_on_postgres() {
    let Some(url) = harness::postgres::database() else {
        return;
    };
    let store = open(&url).await;
    let pools = prepare(&store).await;
    store.close().await;
    stop_autovacuum(&url).await;
    let mut costs = Vec::new();
    for pool in pools {
        costs.push(measure_reads(&url, pool, pool).await);
    }
    report("PostgreSQL", &costs);
    let plain = &costs[0];
    assert!(
        plain.rows <= ROWS && plain.blocks <= BLOCKS,
        "{plain:?} touches more than {ROWS} rows, {BLOCKS} blocks"
    );
    for cost in &costs[1..] {
        assert!(cost.rows <= plain.rows * 1.2, "{cost:?} against {plain:?}");
        assert!(
            cost.blocks <= plain.blocks * 1.2,
            "{cost:?} against {plain:?}"
        );
        assert!(
            cost.median <= plain.median * 3,
            "{cost:?} against {plain:?}"
        );
    }
    audit(&open(&url).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_allocation_costs_the_same_from_every_pool_on_sqlite() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = open(&sqlite_url(&folder)).await;
    let pools = prepare(&store).await;
    let medians = measure(&store, &pools).await;
    let costs: Vec<_> = (pools.into_iter().zip(medians))
        .map(|(label, median)| Cost {
            label,
            median,
            rows: 0.0,
            blocks: 0.0,
        })
        .collect();
    report("SQLite", &costs);
    let plain = &costs[0];
    for cost in &costs[1..] {
        assert!(
            cost.median <= plain.median * 3,
            "{cost:?} against {plain:?}"
        );
    }
    audit(&store).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_has_come_and_gone_leaves_a_bounded_number_of_rows_on_postgres() {
    if let Some(url) = harness::postgres::database() {
        bounded("PostgreSQL", &url).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_has_come_and_gone_leaves_a_bounded_number_of_rows_on_sqlite() {
    let folder = tempfile::tempdir().expect("a folder");
    bounded("SQLite", &sqlite_url(&folder)).await;
}

/// pg_dump and the like keep a snapshot for minutes, under which no dead row is cleared away.
#[tokio::test(flavor = "multi_thread")]
async fn a_long_snapshot_does_not_make_picks_walk_dead_rows() {
    let Some(url) = harness::postgres::database() else {
        return;
    };
    let store = open(&url).await;
    // All of it was used: each pick takes a returned row away, and each release adds one.
    create(
        &store,
        &ranged("a", "10.0.0.0/16", "10.0.1.0", "10.0.4.255"),
    )
    .await;
    come_and_go(&store, "a", 4 * BATCH).await;
    store.close().await;
    stop_autovacuum(&url).await;
    let mut dump = PgConnection::connect(&url).await.expect("a connection");
    sqlx::raw_sql("begin isolation level repeatable read; select count(*) from lease")
        .execute(&mut dump)
        .await
        .expect("a snapshot");
    let first = measure_reads(&url, "at the beginning", "a").await;
    let store = open(&url).await;
    come_and_go(&store, "a", 64 * BATCH).await;
    store.close().await;
    let more = measure_reads(&url, "16,384 dead rows later", "a").await;
    let store = open(&url).await;
    one_by_one(&store, "a", 500).await;
    store.close().await;
    let last = measure_reads(&url, "1,000 transactions later", "a").await;
    // Each address was leased sixteen times more: the key of an address leads to its dead rows. Nothing else may grow.
    let grown = more.blocks <= first.blocks * 2.0 && last.blocks <= more.blocks * 1.1;
    report("PostgreSQL under a snapshot", &[first, more, last]);
    assert!(grown, "dead rows are walked");
    dump.close().await.expect("the end of the snapshot");
}

/// What one claim and one release cost.
#[derive(Debug)]
struct Cost {
    label: &'static str,
    /// Of the claim alone.
    median: Duration,
    /// Rows read.
    rows: f64,
    /// Blocks touched.
    blocks: f64,
}

fn report(database: &str, costs: &[Cost]) {
    let mut out = std::io::stderr().lock();
    for cost in costs {
        let Cost { label, median, .. } = cost;
        let mut line = format!("{database}: {label:<24} {median:>8.1?} a claim");
        if cost.rows > 0.0 {
            let reads = format!(
                ", {:.1} rows, {:.1} blocks with its release",
                cost.rows, cost.blocks
            );
            line.push_str(&reads);
        }
        let _ = writeln!(out, "{line}");
    }
}

/// It reads too, and what it learns changes the plans: in the middle of a comparison neither is wanted. So all is learnt now.
async fn stop_autovacuum(url: &str) {
    let stop = "do $$ declare t text; begin
        for t in select tablename from pg_tables where schemaname = 'public' loop
            execute format('alter table %I set (autovacuum_enabled = off)', t);
        end loop;
    end $$;
    analyze";
    sql(url, stop).await.expect("it stops");
}

/// Measures through a store of its own: its connections hand their statistics in when they end.
async fn measure_reads(url: &str, label: &'static str, pool: &str) -> Cost {
    let before = touched(url).await;
    let store = open(url).await;
    let median = measure(&store, &[pool]).await[0];
    store.close().await;
    let after = touched(url).await;
    Cost {
        label,
        median,
        rows: (after.rows - before.rows) as f64 / SAMPLES as f64,
        blocks: (after.blocks - before.blocks) as f64 / SAMPLES as f64,
    }
}

/// Pools of all kinds side by side in one database: the empty /24 first.
async fn prepare(store: &Store) -> Vec<&'static str> {
    create(store, &pool("empty-24", "10.0.0.0/24")).await;
    create(store, &pool("empty-8", "11.0.0.0/8")).await;
    create(store, &pool("empty-48", "2001:db8::/48")).await;
    create(
        store,
        &ranged("full-but-10", "12.0.0.0/16", "12.0.0.10", "12.0.40.9"),
    )
    .await;
    create(store, &pool("used-48", "2001:db8:1::/48")).await;
    // 10,240 addresses, of which 10 are left.
    fill(store, "full-but-10", 10_230).await;
    come_and_go(store, "used-48", 20_480).await;
    vec![
        "empty-24",
        "empty-8",
        "empty-48",
        "full-but-10",
        "used-48",
        "empty-24",
    ]
}

async fn fill(store: &Store, pool: &str, count: usize) {
    let claims: Vec<_> = (0..count)
        .map(|n| claim(&format!("{pool}-{n}"), &[pool]))
        .collect();
    for batch in claims.chunks(BATCH) {
        for answer in store.allocate(batch).await {
            answer.expect("there is room");
        }
    }
}

/// Claims and releases so many, a batch at a time.
async fn come_and_go(store: &Store, pool: &str, count: usize) {
    for round in 0..count / BATCH {
        let names: Vec<_> = (0..BATCH).map(|n| format!("{pool}-{round}-{n}")).collect();
        let claims: Vec<_> = names.iter().map(|name| claim(name, &[pool])).collect();
        for answer in store.allocate(&claims).await {
            answer.expect("there is room");
        }
        let releases: Vec<_> = names.iter().map(|name| del(name)).collect();
        for answer in store.release(&releases).await {
            assert_eq!(answer.expect("a release"), 1);
        }
    }
}

/// Claims and releases so many, each in a transaction of its own.
async fn one_by_one(store: &Store, pool: &str, count: usize) {
    for n in 0..count {
        let container = format!("{pool}-single-{n}");
        lease(store, &container, pool).await;
        assert_eq!(release(store, del(&container)).await, 1);
    }
}

/// The median time of one claim from each pool. They take turns, so that a noisy moment is shared.
async fn measure(store: &Store, pools: &[&str]) -> Vec<Duration> {
    // Containers that were never seen before: a known one costs a row more, or less.
    static NUMBER: AtomicUsize = AtomicUsize::new(0);
    let mut times = vec![Vec::with_capacity(SAMPLES); pools.len()];
    for _ in 0..SAMPLES {
        for (pool, times) in pools.iter().zip(&mut times) {
            let container = format!("sample-{}", NUMBER.fetch_add(1, Ordering::Relaxed));
            let asked = claim(&container, &[pool]);
            let start = Instant::now();
            grant(store, &asked).await;
            times.push(start.elapsed());
            assert_eq!(release(store, del(&container)).await, 1);
        }
    }
    times.iter_mut().for_each(|times| times.sort());
    times.iter().map(|times| times[SAMPLES / 2]).collect()
}

/// What the database has read in all, ever.
struct Touched {
    rows: i64,
    blocks: i64,
}

/// Reads the statistics once they stand still.
async fn touched(url: &str) -> Touched {
    let mut connection = PgConnection::connect(url).await.expect("a connection");
    let sql = "select
        (select sum(coalesce(seq_tup_read, 0) + coalesce(idx_tup_fetch, 0))::bigint from pg_stat_user_tables),
        (select sum(heap_blks_hit + heap_blks_read + coalesce(idx_blks_hit + idx_blks_read, 0))::bigint
         from pg_statio_user_tables),
        (select count(*) from pg_stat_activity where datname = current_database() and backend_type = 'client backend'
         and state is distinct from 'idle in transaction')";
    let mut last = (-1, -1);
    loop {
        let (rows, blocks, clients): (i64, i64, i64) = sqlx::query_as(sql)
            .fetch_one(&mut connection)
            .await
            .expect("the statistics");
        if clients == 1 && last == (rows, blocks) {
            return Touched { rows, blocks };
        }
        last = (rows, blocks);
        pass(Duration::from_millis(50)).await;
    }
}

async fn bounded(database: &str, url: &str) {
    let claims: usize = std::env::var("IPAM_TEST_FLAT_CLAIMS")
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(70_400);
    let store = open(url).await;
    create(&store, &pool("a", "2001:db8::/48")).await;
    let start = Instant::now();
    come_and_go(&store, "a", claims).await;
    let rate = claims as f64 / start.elapsed().as_secs_f64();
    let usage = usage(&store, "a").await;
    assert_eq!(usage.free_exact, ((1_u128 << 80) - 2).to_string());
    let (store, after) = after_all(store, url).await;
    report(database, &after);
    let free = count(url, "free_range").await;
    let line = format!(
        "{database}: {claims} claims and releases, {rate:.0} a second, leave {free} free ranges"
    );
    let _ = writeln!(std::io::stderr(), "{line}");
    assert!(
        claims as i64 > RETURNED_BOUND + 2 * BATCH as i64,
        "fewer claims show nothing"
    );
    let bound = RETURNED_BOUND + 2 * BATCH as i64;
    assert!(free <= bound, "{free} rows of free space");
    for cost in &after[1..] {
        assert!(cost.blocks <= after[0].blocks * 1.2, "{after:?}");
        assert!(cost.median <= after[0].median * 3, "{after:?}");
    }
    audit(&store).await;
    // An hour later the marks of verbs go, and the history when it is old enough.
    age(url).await;
    while store.tidy(Duration::from_secs(3600)).await.expect("tidy") {}
    assert_eq!(count(url, "attachment").await, 0);
    assert_eq!(count(url, "history").await, 0);
    lease(&store, "c1", "a").await;
    audit(&store).await;
    store.close().await;
}

/// What a claim costs after all that: from an empty /24, and from the pool that so many leases came from.
async fn after_all(store: Store, url: &str) -> (Store, Vec<Cost>) {
    create(&store, &pool("plain-24", "10.0.0.0/24")).await;
    let pools = [
        ("plain-24", "empty-24, after all"),
        ("a", "used-48, after all"),
    ];
    let mut costs = Vec::new();
    if url.starts_with("sqlite") {
        let medians = measure(&store, &pools.map(|(pool, _)| pool)).await;
        for ((_, label), median) in pools.into_iter().zip(medians) {
            costs.push(Cost {
                label,
                median,
                rows: 0.0,
                blocks: 0.0,
            });
        }
        return (store, costs);
    }
    store.close().await;
    stop_autovacuum(url).await;
    // Once a second it is counted how much has been returned: many rows in a few blocks, but no claim's.
    let later = "update pool_counter set probe_at = probe_at + interval '1 hour'";
    sql(url, later).await.expect("an update");
    for (pool, label) in pools {
        costs.push(measure_reads(url, label, pool).await);
    }
    (open(url).await, costs)
}

async fn count(url: &str, table: &str) -> i64 {
    let sql = sqlx::AssertSqlSafe(format!("select count(*) from {table}"));
    if url.starts_with("sqlite") {
        let mut connection = SqliteConnection::connect(url).await.expect("a connection");
        let counted = sqlx::query_scalar(sql).fetch_one(&mut connection).await;
        return counted.expect("a count");
    }
    let mut connection = PgConnection::connect(url).await.expect("a connection");
    let counted = sqlx::query_scalar(sql).fetch_one(&mut connection).await;
    counted.expect("a count")
}

/// Makes all that has been two hours older.
async fn age(url: &str) {
    let older = if url.starts_with("sqlite") {
        "update attachment set released_at = released_at - 7200000000;
        update history set released_at = released_at - 7200000000"
    } else {
        "update attachment set released_at = released_at - interval '2 hours';
        update history set released_at = released_at - interval '2 hours'"
    };
    sql(url, older).await.expect("an update");
}
