//! What becomes of transactions that do not end as they should.

use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use sqlx::{Connection, Executor, PgConnection};

use super::{postgres_database, sqlite_database};
use crate::error::Error;
use crate::store::changes::Changes;
use crate::store::database::Database;
use crate::store::moment::Moment;
use crate::store::postgres;
use crate::store::retry::once;
use crate::store::rows::{AttachmentRow, CounterRow};
use crate::store::schema::Schema;
use crate::store::statements::{
    ChangeStatements, HolderStatements, PoolStatements, SpaceStatements,
};

fn attachment() -> AttachmentRow {
    AttachmentRow::new(&ipam_api::Attachment {
        cluster: "default".to_owned(),
        node: "node".to_owned(),
        network: "net".to_owned(),
        container_id: "c".to_owned(),
        ifname: "eth0".to_owned(),
    })
}

async fn dropped_transaction_leaves_nothing<D: Database>(database: &D) {
    let mut tx = database.begin().await.expect("begins");
    tx.insert_vrf("lost", Moment(1)).await.expect("inserts");
    drop(tx);
    let mut tx = database.begin().await.expect("begins again");
    assert_eq!(tx.lock_vrf("lost").await.expect("reads"), None);
    D::commit(tx).await.expect("commits");
    let mut tx = database.read().await.expect("begins");
    assert_eq!(tx.vrf_id("lost").await.expect("reads"), None);
    tx.insert_vrf("lost", Moment(1))
        .await
        .expect_err("a reading transaction does not write");
    D::rollback(tx).await.expect("rolls back");
}

#[tokio::test]
async fn a_transaction_of_sqlite_that_is_dropped_leaves_nothing() {
    let (database, _folder) = sqlite_database().await;
    dropped_transaction_leaves_nothing(&database).await;
}

#[tokio::test]
async fn a_transaction_of_postgres_that_is_dropped_leaves_nothing() {
    let Some((database, _)) = postgres_database().await else {
        return;
    };
    dropped_transaction_leaves_nothing(&database).await;
}

#[tokio::test]
async fn a_transaction_that_is_dropped_closes_its_connection_and_one_that_ends_keeps_it() {
    let Some((database, url)) = postgres_database().await else {
        return;
    };
    let backend = async || {
        let mut tx = database.begin().await.expect("begins");
        let pid: i32 = sqlx::query_scalar("select pg_backend_pid()")
            .fetch_one(tx.connection())
            .await
            .expect("reads");
        (tx, pid)
    };
    let (tx, first) = backend().await;
    postgres::Database::commit(tx).await.expect("commits");
    let mut other = PgConnection::connect(&url).await.expect("connects");
    let mut lives = async |pid: i32| -> bool {
        sqlx::query_scalar("select exists (select from pg_stat_activity where pid = $1)")
            .bind(pid)
            .fetch_one(&mut other)
            .await
            .expect("reads")
    };
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert!(lives(first).await, "the connection is kept");
    let (tx, dropped) = backend().await;
    drop(tx);
    for _ in 0..200 {
        if !lives(dropped).await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("the connection of the dropped transaction is still there");
}

/// The server was stopped in the middle of it, say. (Over a unix socket the connection is cut before the reason is read.)
#[tokio::test]
async fn a_transaction_that_idled_for_too_long_tells_of_a_database_that_cannot_serve() {
    let Some((database, _)) = postgres_database().await else {
        return;
    };
    let outcome = once(async {
        let mut tx = database.begin().await?;
        let idled = "do $$ begin raise sqlstate '25P03'; end $$";
        tx.connection().execute(idled).await?;
        Ok(())
    });
    let outcome = outcome.await;
    assert!(
        matches!(outcome, Err(Error::Unavailable { .. })),
        "{outcome:?}"
    );
}

#[tokio::test]
async fn connections_that_died_while_idle_are_passed_by() {
    let Some((database, url)) = postgres_database().await else {
        return;
    };
    let mut open = Vec::new();
    for _ in 0..5 {
        open.push(database.begin().await.expect("begins"));
    }
    for tx in open {
        postgres::Database::commit(tx).await.expect("commits");
    }
    tokio::time::sleep(Duration::from_millis(50)).await;
    let mut other = PgConnection::connect(&url).await.expect("connects");
    let killed: i64 = sqlx::query_scalar(
        "select count(pg_terminate_backend(pid))
         from pg_stat_activity
         where application_name = 'ipam-server'
             and datname = current_database()",
    )
    .fetch_one(&mut other)
    .await
    .expect("kills");
    assert!(killed >= 2, "{killed}");
    let mut tx = database.begin().await.expect("begins on a new connection");
    assert!(tx.vrf_id("default").await.expect("reads").is_some());
}

#[tokio::test]
async fn a_connection_that_falls_silent_is_passed_by() {
    let Some(cluster) = harness::postgres::Cluster::start() else {
        harness::require::skip("postgres", "no server to stop");
        return;
    };
    let database = postgres::Database::open(&cluster.database(), Schema::Migrate)
        .await
        .expect("opens");
    let mut tx = database.begin().await.expect("begins");
    let pid: i32 = sqlx::query_scalar("select pg_backend_pid()")
        .fetch_one(tx.connection())
        .await
        .expect("reads");
    postgres::Database::commit(tx).await.expect("commits");
    tokio::time::sleep(Duration::from_millis(100)).await;
    kill(Pid::from_raw(pid), Signal::SIGSTOP).expect("stops");
    let begun = tokio::time::timeout(Duration::from_secs(6), database.begin()).await;
    kill(Pid::from_raw(pid), Signal::SIGCONT).expect("goes on");
    let mut tx = begun.expect("in time").expect("begins on another");
    assert!(tx.vrf_id("default").await.expect("reads").is_some());
}

#[tokio::test]
async fn a_server_waits_for_a_postgres_that_starts_after_it() {
    let Some(cluster) = harness::postgres::Cluster::start() else {
        harness::require::skip("postgres", "no server to stop");
        return;
    };
    let url = cluster.database();
    cluster.stop(Signal::SIGINT);
    let opens = tokio::spawn(async move { postgres::Database::open(&url, Schema::Migrate).await });
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert!(!opens.is_finished(), "it waits");
    let _cluster = tokio::task::spawn_blocking(move || {
        cluster.resume();
        cluster
    })
    .await
    .expect("starts");
    opens.await.expect("ends").expect("opens");
}

#[tokio::test]
async fn a_transaction_with_a_failed_statement_does_not_commit_without_a_word() {
    let Some((database, _)) = postgres_database().await else {
        return;
    };
    let mut tx = database.begin().await.expect("begins");
    tx.insert_vrf("kept", Moment(1)).await.expect("inserts");
    tx.insert_pool_change("p", Moment(1), "create", &serde_json::Value::Null)
        .await
        .expect("inserts");
    sqlx::query("select 1 / 0")
        .execute(tx.connection())
        .await
        .expect_err("fails");
    postgres::Database::commit(tx)
        .await
        .expect_err("it has been rolled back");
}

#[tokio::test]
async fn who_waited_for_an_attachment_or_a_counter_sees_what_the_other_wrote() {
    let Some((database, _)) = postgres_database().await else {
        return;
    };
    let mut tx = database.begin().await.expect("begins");
    let mut row = attachment();
    tx.upsert_attachments(std::slice::from_ref(&row))
        .await
        .expect("inserts");
    let mut counter = pool_with_counter(&mut tx).await;
    postgres::Database::commit(tx).await.expect("commits");

    let mut first = database.begin().await.expect("begins");
    let mut second = database.begin().await.expect("begins");
    first
        .upsert_attachments(&[attachment()])
        .await
        .expect("locks");
    first
        .lock_counters(&[counter.pool_id])
        .await
        .expect("locks");
    let waits = tokio::spawn(async move {
        let attachments = second.upsert_attachments(&[attachment()]).await;
        let counters = second.lock_counters(&[1]).await;
        (attachments.expect("locks"), counters.expect("locks"))
    });
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert!(!waits.is_finished(), "it waits");
    row.claim_issued = Some(7);
    row.released_at = Some(Moment(5));
    counter.leased = 3;
    let changes = Changes {
        attachments: vec![row.clone()],
        ..Changes::of_counter(counter.clone())
    };
    first.write(&changes).await.expect("saves");
    postgres::Database::commit(first).await.expect("commits");
    let seen = waits.await.expect("ends");
    counter.version += 1;
    assert_eq!(seen, (vec![row], vec![counter]));
}

/// The key of a counter has its version in it: a lock that was waited for must not miss the row under its new key.
#[tokio::test]
async fn who_waited_for_a_counter_alone_gets_it_as_the_last_of_many_left_it() {
    let Some((database, _)) = postgres_database().await else {
        return;
    };
    let mut tx = database.begin().await.expect("begins");
    let pool_id = pool_with_counter(&mut tx).await.pool_id;
    postgres::Database::commit(tx).await.expect("commits");
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..8 {
        let database = database.clone();
        tasks.spawn(async move {
            for _ in 0..25 {
                add_a_lease(&database, pool_id).await;
            }
        });
    }
    tasks.join_all().await;
    let mut tx = database.begin().await.expect("begins");
    let counters = tx.counters(&[pool_id]).await.expect("reads");
    assert_eq!((counters[0].leased, counters[0].version), (200, 200));
}

async fn add_a_lease(database: &postgres::Database, pool_id: i64) {
    let mut tx = database.begin().await.expect("begins");
    let mut counters = tx.lock_counters(&[pool_id]).await.expect("locks");
    assert_eq!(counters.len(), 1, "it is found");
    counters[0].leased += 1;
    let changes = Changes::of_counter(counters.remove(0));
    tx.write(&changes).await.expect("saves");
    postgres::Database::commit(tx).await.expect("commits");
}

async fn pool_with_counter(tx: &mut postgres::Tx) -> CounterRow {
    sqlx::query(
        "insert into pool (id, name, vrf_id, subnet_first, subnet_last, prefix_len, exclude, routes, dns, labels,
             reuse_delay_s, state, version, created_at, updated_at)
         values (1, 'p', 1, '10.0.0.0', '10.0.0.255', 24, '[]', '[]', '{}', '{}', 60, 'ready', 1, now(), now())",
    )
    .execute(tx.connection())
    .await
    .expect("inserts");
    let first = crate::store::Addr(0xffff_0a00_0000);
    let counter = CounterRow {
        pool_id: 1,
        leased: 0,
        leased_reserved: 0,
        quarantined: 0,
        returned: 0,
        fresh_from: first,
        returned_from_at: Moment::NEVER,
        returned_from: first,
        returned_first: false,
        probe_at: Moment::NEVER,
        last_at: Moment::NEVER,
        version: 0,
    };
    tx.insert_counter(&counter).await.expect("inserts");
    counter
}
