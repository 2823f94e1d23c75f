//! What happens while a lock is held, to the point: a test's own connection holds it.

use std::time::{Duration, Instant};

use ipam_server::Error;
use sqlx::{Connection, PgConnection, PgTransaction};

use super::two_on_postgres;
use crate::store::support::*;

const LOCK_POOL_A: &str = "select c.pool_id from pool_counter c join pool p on p.id = c.pool_id
    where p.name = 'a' for update of c";
const LOCK_C1: &str = "select id from attachment where container_id = 'c1' for update";

async fn hold<'c>(connection: &'c mut PgConnection, lock: &'static str) -> PgTransaction<'c> {
    let mut holding = connection.begin().await.expect("a transaction");
    sqlx::raw_sql(lock)
        .execute(&mut *holding)
        .await
        .expect("the lock");
    holding
}

/// Waits until somebody waits for a lock.
async fn until_somebody_waits(url: &str) {
    let mut connection = PgConnection::connect(url).await.expect("a connection");
    let sql = "select count(*) from pg_stat_activity
        where datname = current_database() and wait_event_type = 'Lock'";
    let deadline = Instant::now() + Duration::from_secs(6);
    loop {
        let waiting: i64 = sqlx::query_scalar(sql)
            .fetch_one(&mut connection)
            .await
            .expect("the activity");
        if waiting > 0 {
            return;
        }
        assert!(Instant::now() < deadline, "nobody waits for the lock");
        pass(Duration::from_millis(10)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_locked_pool_does_not_delay_another() {
    let Some((stores, url)) = two_on_postgres().await else {
        return;
    };
    let store = &stores[0];
    create(store, &pool("a", "10.0.0.0/24")).await;
    create(store, &pool("b", "10.1.0.0/24")).await;
    let mut connection = PgConnection::connect(&url).await.expect("a connection");
    let holding = hold(&mut connection, LOCK_POOL_A).await;
    let waiting = tokio::spawn({
        let store = store.clone();
        async move { lease(&store, "c1", "a").await }
    });
    let start = Instant::now();
    for number in 0..10 {
        let container = format!("d{number}");
        lease(store, &container, "b").await;
        assert_eq!(release(store, del(&container)).await, 1);
    }
    assert!(
        start.elapsed() < Duration::from_secs(6),
        "{:?}",
        start.elapsed()
    );
    assert!(!waiting.is_finished(), "the lock does not hold");
    holding.rollback().await.expect("the end of the lock");
    waiting.await.expect("it goes on");
    audit(store).await;
}

/// The claim has begun before the release has: only a time that is read after the locks sees the address free.
#[tokio::test(flavor = "multi_thread")]
async fn a_claim_that_waited_gets_what_was_freed_meanwhile() {
    let Some((stores, url)) = two_on_postgres().await else {
        return;
    };
    create(&stores[0], &pool("a", "10.0.0.0/30")).await;
    // Its attachment is known, so that it can be locked.
    lease(&stores[0], "c1", "a").await;
    release(&stores[0], del_issued("boot-1", 1, "c1")).await;
    let address = lease(&stores[0], "c2", "a").await;
    let mut connection = PgConnection::connect(&url).await.expect("a connection");
    let holding = hold(&mut connection, LOCK_C1).await;
    let waiting = tokio::spawn({
        let store = stores[0].clone();
        async move { allocate(&store, &claim("c1", &["a"])).await }
    });
    until_somebody_waits(&url).await;
    pass(Duration::from_millis(20)).await;
    assert_eq!(release(&stores[1], del("c2")).await, 1);
    holding.rollback().await.expect("the end of the lock");
    let granted = waiting.await.expect("it goes on").expect("it is free");
    assert_eq!(addresses(&granted.leases), [address]);
    audit(&stores[0]).await;
}

/// The claim has begun before the address has rested: only a time that is read under the pool's lock sees it free.
#[tokio::test(flavor = "multi_thread")]
async fn a_claim_that_waited_for_a_pool_gets_what_has_rested_meanwhile() {
    let Some((stores, url)) = two_on_postgres().await else {
        return;
    };
    create(&stores[0], &resting(2, pool("a", "10.0.0.0/30"))).await;
    let address = lease(&stores[0], "c1", "a").await;
    assert_eq!(release(&stores[0], del("c1")).await, 1);
    let mut connection = PgConnection::connect(&url).await.expect("a connection");
    let holding = hold(&mut connection, LOCK_POOL_A).await;
    let waiting = tokio::spawn({
        let store = stores[0].clone();
        async move { allocate(&store, &claim("c2", &["a"])).await }
    });
    until_somebody_waits(&url).await;
    pass(Duration::from_millis(2_100)).await;
    holding.rollback().await.expect("the end of the lock");
    let granted = waiting.await.expect("it goes on").expect("it has rested");
    assert_eq!(addresses(&granted.leases), [address]);
    audit(&stores[0]).await;
}

/// A claim again, issued after the GC, is served while the GC waits for the attachment.
#[tokio::test(flavor = "multi_thread")]
async fn a_gc_that_waited_for_an_attachment_decides_anew() {
    let Some((stores, url)) = two_on_postgres().await else {
        return;
    };
    create(&stores[0], &pool("a", "10.0.0.0/24")).await;
    let asked = issued("boot-1", 10, claim("c1", &["a"]));
    let granted = grant(&stores[0], &asked).await;
    let mut connection = PgConnection::connect(&url).await.expect("a connection");
    let mut holding = hold(&mut connection, LOCK_C1).await;
    let waiting = tokio::spawn({
        let store = stores[1].clone();
        async move { collect(&store, &gc_issued("boot-1", 20, &[])).await }
    });
    until_somebody_waits(&url).await;
    // What the claim writes, by the hand that holds the lock.
    sqlx::raw_sql("update attachment set claim_issued = 30 where container_id = 'c1'")
        .execute(&mut *holding)
        .await
        .expect("the claim's mark");
    holding.commit().await.expect("the end of the lock");
    assert_eq!(waiting.await.expect("it goes on"), 0);
    assert_eq!(held(&stores[0], "c1").await, addresses(&granted.leases));
    audit(&stores[0]).await;
}

/// A claim and a GC of the boot that the node leaves while they wait.
#[tokio::test(flavor = "multi_thread")]
async fn verbs_that_waited_while_their_node_rebooted_do_nothing() {
    let Some((stores, url)) = two_on_postgres().await else {
        return;
    };
    create(&stores[0], &pool("a", "10.0.0.0/24")).await;
    let granted = grant(&stores[0], &issued("boot-1", 1, claim("c1", &["a"]))).await;
    let mut connection = PgConnection::connect(&url).await.expect("a connection");
    let holding = hold(&mut connection, LOCK_C1).await;
    let claiming = tokio::spawn({
        let store = stores[0].clone();
        async move { allocate(&store, &issued("boot-1", 2, claim("c1", &["a"]))).await }
    });
    let collecting = tokio::spawn({
        let store = stores[1].clone();
        async move { store.collect(&gc_issued("boot-1", 3, &[])).await }
    });
    until_somebody_waits(&url).await;
    // Until both have passed the look at their node.
    pass(Duration::from_millis(300)).await;
    grant(&stores[1], &issued("boot-2", 1, claim("c2", &["a"]))).await;
    holding.rollback().await.expect("the end of the lock");
    let claimed = claiming.await.expect("it goes on");
    assert_refused!(claimed, Error::NodeNameConflict { .. });
    let collected = collecting.await.expect("it goes on");
    assert_refused!(collected, Error::NodeNameConflict { .. });
    assert_eq!(held(&stores[0], "c1").await, addresses(&granted.leases));
    audit(&stores[0]).await;
}
