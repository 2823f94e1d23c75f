//! Every statement goes by an index: shown by the plans that the databases make, PostgreSQL on a pool with 100,000 leases.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

use sqlx::{AssertSqlSafe, Connection, PgConnection, Row};
use tracing::field::{Field, Visit};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};
use tracing_subscriber::util::SubscriberInitExt;

use super::exercise::exercise;
use super::{postgres_database, sqlite_database};
use crate::store::database::Database;
use crate::store::postgres::Tx;

/// The tables that grow with what is leased, with the nodes, and with time.
const BIG: [&str; 7] = [
    "lease",
    "attachment",
    "free_range",
    "history",
    "node",
    "node_boot",
    "pool_change",
];

/// 100,000 leases on 100 nodes, as many past ones and as many free intervals; 10,000 nodes that hold nothing.
const LOAD: &str = "
    insert into vrf (id, name, created_at) values (1000, 'big', now());
    insert into pool (id, name, vrf_id, subnet_first, subnet_last, prefix_len, exclude, routes, dns, labels,
        reuse_delay_s, state, version, created_at, updated_at)
    values (1000, 'big', 1000, '10.0.0.0', '10.255.255.255', 8, '[]', '[]', '{}', '{}', 60, 'ready', 1, now(), now());
    insert into pool_counter (pool_id, fresh_from, returned_from_at, returned_from, probe_at, last_at)
    values (1000, '10.0.0.0', now(), '10.0.0.0', now(), now());
    insert into attachment (id, cluster, node, network, container_id, ifname, released_at, pod_namespace, pod_name)
    select gen_random_uuid(), 'default', 'node-' || n % 100, 'net', md5(n::text), 'eth0',
        case when n % 10 = 0 then now() - n * interval '1 second' end, 'space', 'pod-' || n
    from generate_series(1, 110000) n;
    insert into lease (attachment_id, vrf_id, pool_id, created_at, entry, address)
    select id, 1000, 1000, now(), 0, '10.0.0.0'::inet + row_number() over ()
    from attachment;
    insert into history (attachment_id, entry, vrf_id, address, pool, cluster, node, network, container_id, ifname,
        created_at, released_at, reason)
    select id, 0, 1000, '10.0.0.0'::inet + row_number() over (), 'big', cluster, node, network, container_id, ifname,
        now() - interval '1 day', now(), 'release'
    from attachment;
    insert into free_range (pool_id, first, last, free_at)
    select 1000, '10.128.0.0'::inet + 2 * n, '10.128.0.0'::inet + 2 * n,
        case when n % 2 = 0 then 'epoch' else now() + n * interval '1 second' end
    from generate_series(1, 100000) n;
    insert into node (cluster, name, machine_id, boot_id, created_at)
    select 'big', 'node-' || n, 'machine-' || n, 'boot-2', now() from generate_series(1, 10000) n;
    insert into node_boot (node_id, boot_id, seen_at)
    select id, 'boot-' || n, now() from node, generate_series(1, 2) n;
    insert into pool_change (pool, at, action, settings)
    select 'pool-' || n % 100, now(), 'changed', '{}' from generate_series(1, 10000) n;
    analyze;";

#[tokio::test]
async fn no_statement_scans_a_table_of_a_pool_with_100_000_leases() {
    let Some((database, url)) = postgres_database().await else {
        return;
    };
    run(&url, LOAD).await;
    let mut tx = database.begin().await.expect("begins");
    exercise(&mut tx).await;

    let plans = plans(&mut tx).await;
    assert_none_scans(&plans);
    assert_all_are_planned(&plans, &["write", "write_last"]);
}

/// A batch of attachments on a new database, which knows nothing of its tables yet.
const FIRST: &str = "
    insert into attachment (id, cluster, node, network, container_id, ifname)
    select gen_random_uuid(), 'big', 'node', 'net', md5(n::text), 'eth0'
    from generate_series(1, 256) n;";

/// Plans are kept when the tables have grown. At first any index may look as good as the key's, and the whole table as good
/// as an index.
#[tokio::test]
async fn no_statement_is_planned_for_tables_as_small_as_they_are_at_first() {
    let Some((database, url)) = postgres_database().await else {
        return;
    };
    run(&url, FIRST).await;
    let mut tx = database.begin().await.expect("begins");
    exercise(&mut tx).await;

    let plans = plans(&mut tx).await;
    assert_none_scans(&plans);
    let of_node: BTreeSet<_> = (plans.iter())
        .filter(|plan| plan.contains("attachment_of_node"))
        .filter_map(|plan| plan.strip_prefix("-- ")?.split_whitespace().next())
        .collect();
    let meant = ["holders_of", "holders_on", "list_leases", "view_nodes"];
    assert_eq!(of_node, BTreeSet::from(meant));
}

async fn run(url: &str, statements: &'static str) {
    let mut connection = PgConnection::connect(url).await.expect("connects");
    let ran = sqlx::raw_sql(statements).execute(&mut connection).await;
    ran.expect("runs");
}

fn assert_none_scans(plans: &[String]) {
    let scans: Vec<_> = (plans.iter().map(String::as_str))
        .filter(|plan| scans_a_big_table(plan))
        .collect();
    assert!(scans.is_empty(), "{}", scans.join("\n\n"));
}

/// That no function of a statement was left out but `except`.
fn assert_all_are_planned(plans: &[String], except: &[&str]) {
    let planned: BTreeSet<_> = plans
        .iter()
        .filter_map(|plan| plan.strip_prefix("-- ")?.split_whitespace().next())
        .collect();
    let missing: Vec<_> = functions()
        .filter(|name| !planned.contains(name) && !except.contains(name))
        .collect();
    assert!(
        missing.is_empty(),
        "no statement says in its first line that it is of {missing:?}"
    );
}

/// The text and the plan of each statement that the transaction's session has prepared: the very plans that it runs by,
/// because the store has them made once for all values.
async fn plans(tx: &mut Tx) -> Vec<String> {
    // What was prepared by name was sent all at once, and each has the text of all.
    let prepared: Vec<(String, String, i32)> = sqlx::query_as(
        "select name, case when from_sql then '-- ' || name else statement end, cardinality(parameter_types)
         from pg_prepared_statements",
    )
    .fetch_all(tx.connection())
    .await
    .expect("reads");
    let mut plans = Vec::new();
    for (name, statement, parameters) in prepared {
        let values = vec!["null"; usize::try_from(parameters).expect("a count")].join(", ");
        let values = if values.is_empty() {
            values
        } else {
            format!("({values})")
        };
        // Not prepared itself: the session's statements are as many as it keeps.
        let explain = AssertSqlSafe(format!("explain execute {name} {values}"));
        let rows = sqlx::raw_sql(explain).fetch_all(tx.connection()).await;
        let plan: Vec<String> = rows
            .expect("explains")
            .iter()
            .map(|row| row.get(0))
            .collect();
        plans.push(format!("{statement}\n{}", plan.join("\n")));
    }
    plans
}

/// Walks along the whole of an index that are meant: they stop at a limit.
const ORDERED_WALKS: [&str; 1] = ["prune_history"];

fn scans_a_big_table(plan: &str) -> bool {
    let is_meant = ORDERED_WALKS.iter().any(|name| is_of(plan, name));
    let lines: Vec<_> = plan.lines().collect();
    (0..lines.len()).any(|at| {
        let own: Vec<_> = (lines[at + 1..].iter())
            .take_while(|line| !line.contains("->"))
            .collect();
        let is_bounded = own.iter().any(|line| line.contains("Index Cond:"));
        reads_a_big_table(lines[at], "Seq Scan on ")
            || (!is_bounded && !is_meant && walks_an_index(lines[at]))
    })
}

/// Whether the line of a plan reads a big table along an index.
fn walks_an_index(line: &str) -> bool {
    (line.contains("Index Scan ") || line.contains("Index Only Scan "))
        && reads_a_big_table(line, " on ")
}

fn reads_a_big_table(line: &str, before: &str) -> bool {
    let table = line.split_once(before).map(|(_, rest)| rest);
    let table = table.and_then(|rest| rest.split_whitespace().next());
    table.is_some_and(|table| BIG.contains(&table))
}

/// Whether it is the plan of that function's statement.
fn is_of(plan: &str, name: &str) -> bool {
    let first = plan.lines().next().unwrap_or_default();
    first.strip_prefix("-- ") == Some(name)
}

/// The statements' functions, out of the traits that declare them.
fn functions() -> impl Iterator<Item = &'static str> {
    let text = include_str!("../statements.rs");
    let traits = text.split_once("pub(crate) trait PoolStatements");
    let (_, traits) = traits.expect("the first of the traits");
    let changes = include_str!("../statements/changes.rs");
    [traits, changes, include_str!("../statements/nodes.rs")]
        .into_iter()
        .flat_map(|traits| traits.split("    fn ").skip(1))
        .filter_map(|rest| rest.split(['(', '<']).next())
}

/// SQLite's statements, as they were run; it has no list of them to ask for.
static RUN: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());

/// Notes the text of each statement that is logged.
struct Noted;

impl<S: tracing::Subscriber> Layer<S> for Noted {
    fn on_event(&self, event: &tracing::Event<'_>, _: Context<'_, S>) {
        if event.metadata().target() == "sqlx::query" {
            event.record(&mut Self);
        }
    }
}

impl Visit for Noted {
    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "db.statement" && value.contains("?1") {
            let mut run = RUN.lock().unwrap_or_else(PoisonError::into_inner);
            run.insert(value.to_owned());
        }
    }

    fn record_debug(&mut self, _: &Field, _: &dyn std::fmt::Debug) {}
}

/// Where SQLite has no statement of that name: its clock is the server's, its only lock is the transaction's, several
/// statements are as cheap as one; or the statement has no value by which it is told from PostgreSQL's.
const NOT_NOTED: [&str; 7] = [
    "wall_clock",
    "lock_vrf",
    "lock_counters",
    "lock_pools",
    "write_last",
    "pools_deleting",
    "pools_with_removals",
];

#[tokio::test]
async fn no_statement_of_sqlite_scans_a_table_that_grows() {
    tracing_subscriber::registry()
        .with(Noted)
        .try_init()
        .expect("no other test listens to the log");
    let (database, _folder) = sqlite_database().await;
    let mut tx = database.begin().await.expect("begins");
    exercise(&mut tx).await;

    let run = RUN.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let mut plans = Vec::new();
    for statement in run.iter().map(|text| text.trim()) {
        let explain = AssertSqlSafe(format!("explain query plan {statement}"));
        let rows = sqlx::query(explain).fetch_all(tx.connection()).await;
        let plan: Vec<String> = rows
            .expect("explains")
            .iter()
            .map(|row| row.get("detail"))
            .collect();
        plans.push(format!("{statement}\n{}", plan.join("\n")));
    }
    let scans: Vec<_> = plans
        .iter()
        .filter(|plan| walks_a_big_table(plan))
        .collect();
    assert!(
        scans.is_empty(),
        "{}",
        scans
            .iter()
            .map(|plan| plan.as_str())
            .collect::<Vec<_>>()
            .join("\n\n")
    );
    assert_all_are_planned(&plans, &NOT_NOTED);
}

/// Whether it reads a table from its beginning; or picks fresh space by the key, over all that was returned. Pruning of the
/// history begins at the beginning, and stops at its limit.
fn walks_a_big_table(plan: &str) -> bool {
    let aliases = ["l", "a", "f", "n", "b"];
    let scan = BIG.iter().chain(&aliases).any(|table| {
        let scan = format!("SCAN {table}");
        // A page that was cut off before: how it was found has a line of its own.
        let page = format!("CO-ROUTINE {table}");
        if plan.lines().any(|line| line == page) {
            return false;
        }
        (plan.lines().filter(|line| !line.contains("VIRTUAL TABLE")))
            .any(|line| line == scan || line.starts_with(&format!("{scan} ")))
    });
    let by_key = plan.starts_with("-- fresh_ranges") && plan.contains("USING PRIMARY KEY");
    by_key || (scan && !plan.starts_with("-- prune_history"))
}
