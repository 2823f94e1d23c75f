//! Many at once, through two stores on one PostgreSQL, and through one on SQLite: no address twice, none lost, no failure
//! while one is free, no deadlock.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use ipam_api::{Attachment, Claim, GcRequest, ValidAttachment};
use ipam_server::Error;
use ipam_server::store::{Releasing, Store};
use sqlx::{Connection, PgConnection};
use tokio::task::JoinSet;

use crate::store::support::*;

const TASKS: usize = 64;
/// ADD, ADD again and DEL, so many times by each task.
const ROUNDS: usize = 6;

/// Who believes to hold what: the judge over the store's answers.
#[derive(Clone, Default)]
struct Judge {
    holders: Arc<Mutex<HashMap<(String, IpAddr), String>>>,
}

impl Judge {
    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<(String, IpAddr), String>> {
        self.holders.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn took(&self, leases: &[ipam_api::Lease]) {
        let mut holders = self.lock();
        for lease in leases {
            let key = (lease.vrf.clone(), lease.address.ip());
            let holder = lease.attachment.to_string();
            if let Some(other) = holders.insert(key, holder.clone()) {
                panic!("{} is held by {other} and by {holder}", lease.address);
            }
        }
    }

    /// Before the release is sent: as soon as it is served somebody else may get them.
    fn gives_back(&self, leases: &[ipam_api::Lease]) {
        let mut holders = self.lock();
        for lease in leases {
            holders.remove(&(lease.vrf.clone(), lease.address.ip()));
        }
    }
}

/// A node: a clock for its verbs, and what its runtime knows.
#[derive(Default)]
struct Node {
    clock: AtomicI64,
    known: Mutex<Vec<String>>,
}

impl Node {
    fn now(&self) -> i64 {
        self.clock.fetch_add(1, Ordering::SeqCst) + 1
    }

    fn known(&self) -> std::sync::MutexGuard<'_, Vec<String>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What all tasks share.
#[derive(Clone)]
struct Scene {
    stores: Vec<Store>,
    judge: Judge,
    nodes: Arc<[Node; 4]>,
    /// Whether tasks ask for addresses by name.
    wants: bool,
}

impl Scene {
    fn new(stores: Vec<Store>) -> Self {
        Self {
            stores,
            judge: Judge::default(),
            nodes: Arc::default(),
            wants: true,
        }
    }

    fn store(&self, number: usize) -> &Store {
        &self.stores[number % self.stores.len()]
    }

    fn claim(&self, task: usize, container: &str, entries: &[&str]) -> Claim {
        let node = task % self.nodes.len();
        Claim {
            attachment: Attachment {
                node: format!("n{node}"),
                ..key(container)
            },
            boot_id: Some(format!("boot-of-n{node}")),
            issued: Some(self.nodes[node].now()),
            ..claim(container, entries)
        }
    }

    fn release(&self, task: usize, claim: &Claim) -> Releasing {
        let node = task % self.nodes.len();
        let at = self.nodes[node].now();
        let mut releasing = del_issued("", at, &claim.attachment.container_id);
        releasing.release.node.clone_from(&claim.attachment.node);
        releasing.release.boot_id.clone_from(&claim.boot_id);
        releasing
    }

    /// ADD, ADD again, DEL. Each has at most one address per entry, so that there is always one left for everybody.
    async fn churn(self, task: usize, entries: &'static [&'static str]) {
        let mut last: Option<IpAddr> = None;
        for round in 0..ROUNDS {
            let container = format!("c{task}-{round}");
            let node = &self.nodes[task % self.nodes.len()];
            node.known().push(container.clone());
            let asked = self.claim(task, &container, entries);
            let leases = match last.filter(|_| self.wants && round % 3 == 2) {
                Some(wanted) => self.want(task, &asked, wanted).await,
                None => grant(self.store(task), &asked).await.leases,
            };
            self.judge.took(&leases);
            let repeat = Claim {
                issued: Some(node.now()),
                ..asked.clone()
            };
            let again = grant(self.store(task + 1), &repeat).await;
            assert!(!again.fresh);
            assert_eq!(again.leases, leases);
            last = Some(leases[0].address.ip());
            self.judge.gives_back(&leases);
            let releasing = self.release(task, &asked);
            let freed = release(self.store(task + round), releasing).await;
            assert_eq!(freed, leases.len() as u64, "{container}");
            node.known().retain(|known| *known != container);
        }
    }

    /// Claims the address that the task had last; somebody else may have it by now.
    async fn want(&self, task: usize, asked: &Claim, wanted: IpAddr) -> Vec<ipam_api::Lease> {
        let wanting = Claim {
            wanted: vec![wanted],
            ..asked.clone()
        };
        match allocate(self.store(task), &wanting).await {
            Ok(granted) => {
                assert_eq!(granted.leases[0].address.ip(), wanted);
                granted.leases
            }
            Err(Error::AddressTaken { .. }) => grant(self.store(task), asked).await.leases,
            Err(other) => panic!("{wanted}: {other}"),
        }
    }

    /// GCs of a node whose runtime knows all that is there.
    async fn collect_nothing(self, node: usize) {
        for round in 0..ROUNDS {
            let gc = {
                let known = self.nodes[node].known();
                GcRequest {
                    node: format!("n{node}"),
                    valid: known
                        .iter()
                        .map(|container| ValidAttachment {
                            container_id: container.clone(),
                            ifname: "eth0".to_owned(),
                        })
                        .collect(),
                    ..gc_issued(&format!("boot-of-n{node}"), self.nodes[node].now(), &[])
                }
            };
            assert_eq!(collect(self.store(node + round), &gc).await, 0);
            pass(Duration::from_millis(5)).await;
        }
    }

    async fn end(&self, pools: &[&str]) {
        let store = &self.stores[0];
        audit(store).await;
        assert!(all_leases(store).await.is_empty());
        for pool in pools {
            let usage = usage(store, pool).await;
            assert_eq!(usage.free, usage.size - usage.reserved, "nothing is lost");
        }
        for store in &self.stores {
            store.close().await;
        }
    }
}

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

#[tokio::test(flavor = "multi_thread")]
async fn of_pools_that_overlap_and_are_created_at_once_one_is_made() {
    let Some((stores, url)) = two_on_postgres().await else {
        return;
    };
    for round in 0..8 {
        let mut tasks = JoinSet::new();
        for task in 0..8 {
            let store = stores[task % 2].clone();
            let subnet = format!("10.{round}.0.0/{}", 16 + task);
            let new = pool(&format!("p{round}-{task}"), &subnet);
            tasks.spawn(async move { store.create_pool(&new).await });
        }
        let answers = tasks.join_all().await;
        let made = answers.iter().filter(|answer| answer.is_ok()).count();
        assert_eq!(made, 1, "{answers:?}");
        for answer in answers.into_iter().filter(Result::is_err) {
            assert_refused!(answer, Error::RangesOverlap(_));
        }
    }
    audit(&stores[0]).await;
    assert_no_deadlock(&url).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_pool_created_by_many_at_once_is_made_once() {
    let Some((stores, _)) = two_on_postgres().await else {
        return;
    };
    let mut tasks = JoinSet::new();
    for task in 0..8 {
        let store = stores[task % 2].clone();
        tasks.spawn(async move { store.create_pool(&pool("a", "10.0.0.0/24")).await });
        let store = stores[task % 2].clone();
        let name = format!("b{task}");
        let subnet = format!("10.1.{task}.0/24");
        tasks.spawn(async move { store.create_pool(&pool(&name, &subnet)).await });
    }
    let answers = tasks.join_all().await;
    let fresh = answers
        .iter()
        .map(|answer| answer.as_ref().expect("made, or the same").1);
    assert_eq!(fresh.filter(|fresh| *fresh).count(), 1 + 8);
    audit(&stores[1]).await;
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

#[tokio::test(flavor = "multi_thread")]
async fn a_locked_pool_does_not_delay_another() {
    let Some((stores, url)) = two_on_postgres().await else {
        return;
    };
    let store = &stores[0];
    create(store, &pool("a", "10.0.0.0/24")).await;
    create(store, &pool("b", "10.1.0.0/24")).await;
    let mut connection = PgConnection::connect(&url).await.expect("a connection");
    let mut holding = connection.begin().await.expect("a transaction");
    let lock = "select c.pool_id from pool_counter c join pool p on p.id = c.pool_id where p.name = 'a' for update of c";
    sqlx::query(lock)
        .fetch_one(&mut *holding)
        .await
        .expect("the pool's lock");
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
