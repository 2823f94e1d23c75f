//! Many at once, through two stores on one PostgreSQL, and through one on SQLite: no address twice, none lost, no failure
//! while one is free, no deadlock.

mod creating;
mod locks;
mod processes;
mod scene;

use ipam_api::GcRequest;
use ipam_server::Error;
use ipam_server::store::Store;
use scene::Scene;
use sqlx::{Connection, PgConnection};
use tokio::task::JoinSet;

use crate::store::support::*;

const TASKS: usize = 64;

async fn join(mut tasks: JoinSet<()>) {
    while let Some(done) = tasks.join_next().await {
        done.expect("a task failed");
    }
}

/// Two servers' stores on one database.
async fn two_on_postgres() -> Option<(Vec<Store>, String)> {
    let url = harness::postgres::database()?;
    let stores = vec![open(&url).await, open(&url).await];
    Some((stores, url))
}

async fn assert_no_deadlock(url: &str) {
    let mut connection = PgConnection::connect(url).await.expect("a connection");
    let sql = "select deadlocks from pg_stat_database where datname = current_database()";
    let deadlocks: i64 = sqlx::query_scalar(sql)
        .fetch_one(&mut connection)
        .await
        .expect("the statistics");
    assert_eq!(deadlocks, 0, "deadlocks in PostgreSQL");
}

/// As many addresses as tasks.
async fn exact_fit(scene: &Scene) {
    let new = ranged("a", "10.0.0.0/24", "10.0.0.64", "10.0.0.127");
    create(&scene.stores[0], &new).await;
    let mut tasks = JoinSet::new();
    for task in 0..TASKS {
        tasks.spawn(scene.clone().churn(task, &["a"]));
    }
    join(tasks).await;
    // And all of them at once.
    let mut tasks = JoinSet::new();
    for task in 0..TASKS {
        let scene = scene.clone();
        tasks.spawn(async move {
            let asked = scene.claim(task, &format!("last-{task}"), &["a"]);
            let granted = grant(scene.store(task), &asked).await;
            scene.judge.took(&granted.leases);
        });
    }
    join(tasks).await;
    assert_eq!(usage(&scene.stores[0], "a").await.free, 0);
    let one_more = allocate(&scene.stores[0], &claim("one-more", &["a"])).await;
    assert_refused!(one_more, Error::PoolExhausted { .. });
    for node in 0..4 {
        let gc = GcRequest {
            node: format!("n{node}"),
            ..gc(&[])
        };
        assert_eq!(collect(scene.store(node), &gc).await, 16);
    }
    scene.end(&["a"]).await;
}

/// Fallbacks in both orders, two families, wanted addresses and GCs; just enough addresses in all.
async fn crossed_fallbacks(scene: &Scene) {
    let first = &scene.stores[0];
    create(first, &ranged("a", "10.0.0.0/24", "10.0.0.64", "10.0.0.95")).await;
    create(first, &ranged("b", "10.1.0.0/24", "10.1.0.64", "10.1.0.95")).await;
    create(
        first,
        &ranged("s", "2001:db8::/64", "2001:db8::40", "2001:db8::7f"),
    )
    .await;
    let mut tasks = JoinSet::new();
    for task in 0..TASKS {
        let entries: &[&str] = [&["a,b", "s"][..], &["b,a", "s"]][task % 2];
        tasks.spawn(scene.clone().churn(task, entries));
    }
    for node in 0..4 {
        tasks.spawn(scene.clone().collect_nothing(node));
    }
    join(tasks).await;
    scene.end(&["a", "b", "s"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn exactly_as_many_addresses_as_tasks_are_enough_on_sqlite() {
    let folder = tempfile::tempdir().expect("a folder");
    exact_fit(&Scene::new(vec![open(&sqlite_url(&folder)).await])).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn exactly_as_many_addresses_as_tasks_are_enough_on_postgres() {
    if let Some((stores, url)) = two_on_postgres().await {
        exact_fit(&Scene::new(stores)).await;
        assert_no_deadlock(&url).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn fallbacks_that_cross_neither_fail_nor_deadlock_on_sqlite() {
    let folder = tempfile::tempdir().expect("a folder");
    crossed_fallbacks(&Scene::new(vec![open(&sqlite_url(&folder)).await])).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn fallbacks_that_cross_neither_fail_nor_deadlock_on_postgres() {
    if let Some((stores, url)) = two_on_postgres().await {
        crossed_fallbacks(&Scene::new(stores)).await;
        assert_no_deadlock(&url).await;
    }
}

/// Sixteen claims of one attachment at once: one makes the leases, the others get the same.
#[tokio::test(flavor = "multi_thread")]
async fn one_attachment_claimed_by_many_at_once_gets_one_answer() {
    let Some((stores, url)) = two_on_postgres().await else {
        return;
    };
    create(&stores[0], &pool("a", "10.0.0.0/24")).await;
    let scene = Scene::new(stores);
    for round in 0..5 {
        let mut tasks = JoinSet::new();
        for task in 0..16 {
            let scene = scene.clone();
            let asked = claim(&format!("c{round}"), &["a", "a"]);
            tasks.spawn(async move { grant(scene.store(task), &asked).await });
        }
        let answers = tasks.join_all().await;
        let fresh = answers.iter().filter(|answer| answer.fresh).count();
        assert_eq!(fresh, 1);
        assert!(
            answers
                .iter()
                .all(|answer| answer.leases == answers[0].leases)
        );
    }
    assert_eq!(usage(&scene.stores[1], "a").await.leased, 10);
    audit(&scene.stores[1]).await;
    assert_no_deadlock(&url).await;
}

/// Batches of two servers that name the same attachments, in opposite orders.
#[tokio::test(flavor = "multi_thread")]
async fn batches_in_opposite_orders_do_not_deadlock() {
    let Some((stores, url)) = two_on_postgres().await else {
        return;
    };
    create(&stores[0], &pool("a", "10.0.0.0/20")).await;
    let names: Vec<_> = (0..100).map(|n| format!("c{n}")).collect();
    let forward: Vec<_> = names.iter().map(|name| claim(name, &["a"])).collect();
    let backward: Vec<_> = forward.iter().rev().cloned().collect();
    let releases: Vec<_> = names.iter().map(|name| del(name)).collect();
    let garbage = gc(&["c1"]);
    for _ in 0..5 {
        let (one, other, freed, _) = tokio::join!(
            stores[0].allocate(&forward),
            stores[1].allocate(&backward),
            stores[1].release(&releases),
            collect(&stores[0], &garbage),
        );
        assert!(one.iter().chain(&other).all(Result::is_ok));
        assert!(freed.iter().all(Result::is_ok));
    }
    audit(&stores[0]).await;
    assert_no_deadlock(&url).await;
}

/// Claims while the pool's exclusions come and go.
#[tokio::test(flavor = "multi_thread")]
async fn claims_during_surgery_get_nothing_that_is_excluded() {
    let Some((stores, url)) = two_on_postgres().await else {
        return;
    };
    create(
        &stores[0],
        &ranged("a", "10.0.0.0/24", "10.0.0.64", "10.0.0.191"),
    )
    .await;
    let scene = Scene {
        wants: false,
        ..Scene::new(stores.clone())
    };
    let mut tasks = JoinSet::new();
    for task in 0..16 {
        tasks.spawn(scene.clone().churn(task, &["a"]));
    }
    tasks.spawn(async move {
        for round in 0..10 {
            let half = ["10.0.0.64/26", "10.0.0.128/26"][round % 2];
            let patch = ipam_api::PoolPatch {
                exclude: Some(vec![half.parse().expect("a subnet")]),
                ..ipam_api::PoolPatch::default()
            };
            change(&stores[round % 2], "a", patch).await;
        }
    });
    join(tasks).await;
    let store = &scene.stores[0];
    for number in 0..64 {
        let got = lease(store, &format!("d{number}"), "a").await;
        assert!(got < ip("10.0.0.128"), "{got} is excluded");
    }
    refused(allocate(store, &claim("e", &["a"])).await);
    audit(store).await;
    assert_no_deadlock(&url).await;
}
