//! The words that the tests of the store are written in.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use ipam_api::{
    Attachment, Claim, Entry, GcRequest, Lease, NewPool, Page, Pool, PoolPatch, PoolState, Range,
    Release, Usage, ValidAttachment,
};
use ipam_server::store::{Cursor, Granted, LeaseFilter, Releasing, Store};
use ipam_server::{Error, Result};
use sqlx::{Connection, PgConnection, SqliteConnection};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Runs a test on an SQLite file of its own.
pub(crate) async fn on_sqlite(test: impl AsyncFn(Store, String)) {
    let folder = tempfile::tempdir().expect("a folder");
    run(test, sqlite_url(&folder)).await;
}

/// Runs a test on a PostgreSQL database of its own.
pub(crate) async fn on_postgres(test: impl AsyncFn(Store, String)) {
    if let Some(url) = harness::postgres::database() {
        run(test, url).await;
    }
}

async fn run(test: impl AsyncFn(Store, String), url: String) {
    let store = open(&url).await;
    Box::pin(test(store.clone(), url)).await;
    audit(&store).await;
    store.close().await;
}

/// Runs statements past the store: what only an intruder, or time, would do to the tables.
pub(crate) async fn sql(url: &str, statements: &'static str) -> sqlx::Result<()> {
    if url.starts_with("sqlite") {
        let mut connection = SqliteConnection::connect(url).await?;
        sqlx::raw_sql(statements).execute(&mut connection).await?;
        return connection.close().await;
    }
    let mut connection = PgConnection::connect(url).await?;
    sqlx::raw_sql(statements).execute(&mut connection).await?;
    connection.close().await
}

pub(crate) fn sqlite_url(folder: &tempfile::TempDir) -> String {
    format!("sqlite://{}/ipam.db", folder.path().display())
}

pub(crate) async fn open(url: &str) -> Store {
    Store::open(url).await.expect("the store opens")
}

/// Free + leased + cooling + quarantined + reserved = size, for every pool, by the store's own look into the tables and by
/// what it answers.
pub(crate) async fn audit(store: &Store) {
    let wrong = store.audit().await.expect("the audit runs");
    assert!(wrong.is_empty(), "the accounting is wrong: {wrong:#?}");
    for pool in all_pools(store).await {
        let usage = &pool.usage;
        let size: u128 = usage.size_exact.parse().expect("a number");
        let free: u128 = usage.free_exact.parse().expect("a number");
        // Reserved saturates: the sum can be taken only where it has not.
        if size < 1 << 53 {
            let parts = usage.leased + usage.cooling + usage.quarantined + usage.reserved;
            assert_eq!(free + u128::from(parts), size, "{}: {usage:?}", pool.name);
            assert_eq!(u128::from(usage.size), size, "{}", pool.name);
            assert_eq!(u128::from(usage.free), free, "{}", pool.name);
        }
    }
}

async fn all_pools(store: &Store) -> Vec<Pool> {
    let (mut pools, mut cursor) = (Vec::new(), first_page(100));
    loop {
        let page = store.pools(None, &cursor).await.expect("a list");
        pools.extend(page.items);
        match page.next_cursor {
            Some(after) => cursor.after = Some(after),
            None => return pools,
        }
    }
}

pub(crate) fn first_page(limit: u32) -> Cursor {
    Cursor { after: None, limit }
}

/// Follows the cursors to the end.
pub(crate) async fn every_page<T>(
    limit: u32,
    list: impl AsyncFn(&Cursor) -> Result<Page<T>>,
) -> Vec<Vec<T>> {
    let (mut pages, mut cursor) = (Vec::new(), first_page(limit));
    loop {
        let page = list(&cursor).await.expect("a page");
        pages.push(page.items);
        match page.next_cursor {
            Some(after) => cursor.after = Some(after),
            None => return pages,
        }
        assert!(pages.len() < 10_000, "the list does not end");
    }
}

/// A pool as `{"name", "subnet"}` makes it, but without a rest: most tests want released addresses back at once.
pub(crate) fn pool(name: &str, subnet: &str) -> NewPool {
    NewPool {
        name: name.to_owned(),
        subnet: subnet.parse().expect("a subnet"),
        vrf: None,
        ranges: None,
        exclude: Vec::new(),
        gateway: None,
        routes: Vec::new(),
        dns: ipam_api::Dns::default(),
        reuse_delay_s: Some(0),
        state: PoolState::Ready,
        labels: std::collections::BTreeMap::new(),
    }
}

/// A pool that may lease every address of its subnet that is ever leased.
pub(crate) fn without_gateway(name: &str, subnet: &str) -> NewPool {
    NewPool {
        gateway: Some(None),
        ..pool(name, subnet)
    }
}

/// A pool of exactly these addresses.
pub(crate) fn ranged(name: &str, subnet: &str, first: &str, last: &str) -> NewPool {
    NewPool {
        ranges: Some(vec![range(first, last)]),
        ..pool(name, subnet)
    }
}

pub(crate) fn resting(seconds: u32, pool: NewPool) -> NewPool {
    NewPool {
        reuse_delay_s: Some(seconds),
        ..pool
    }
}

pub(crate) fn range(first: &str, last: &str) -> Range {
    Range {
        first: ip(first),
        last: ip(last),
    }
}

pub(crate) fn ip(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

pub(crate) async fn create(store: &Store, new: &NewPool) -> Pool {
    let (versioned, fresh) = store.create_pool(new).await.expect("the pool is created");
    assert!(fresh, "{} existed already", new.name);
    versioned.pool
}

pub(crate) async fn change(store: &Store, name: &str, patch: PoolPatch) -> Pool {
    let changed = store.change_pool(name, &patch, None).await;
    changed.expect("the pool is changed").pool
}

pub(crate) async fn usage(store: &Store, name: &str) -> Usage {
    store.pool(name).await.expect("the pool").pool.usage
}

/// What most tests are about: the container on node `n1`, network `net`.
pub(crate) fn key(container: &str) -> Attachment {
    Attachment {
        cluster: "default".to_owned(),
        node: "n1".to_owned(),
        network: "net".to_owned(),
        container_id: container.to_owned(),
        ifname: "eth0".to_owned(),
    }
}

/// A claim with one entry per text; a text is a list of pools, as `a,b`.
pub(crate) fn claim(container: &str, entries: &[&str]) -> Claim {
    Claim {
        attachment: key(container),
        machine_id: None,
        boot_id: None,
        issued: None,
        pod: None,
        owner: None,
        entries: entries
            .iter()
            .map(|pools| Entry {
                pools: pools.split(',').map(str::to_owned).collect(),
            })
            .collect(),
        wanted: Vec::new(),
        deadline_ms: None,
    }
}

pub(crate) fn wanting(container: &str, entries: &[&str], wanted: &[&str]) -> Claim {
    Claim {
        wanted: wanted.iter().map(|text| ip(text)).collect(),
        ..claim(container, entries)
    }
}

/// The claim as a plugin sends it: issued then, in that boot.
pub(crate) fn issued(boot: &str, at: i64, claim: Claim) -> Claim {
    Claim {
        boot_id: Some(boot.to_owned()),
        issued: Some(at),
        ..claim
    }
}

/// How many verbs are under way at once on one database, as behind the server's queue: more tasks than connections would
/// wait for one, and on a busy machine some for too long.
const LANES: usize = 12;

/// A turn at the store.
async fn turn(store: &Store) -> OwnedSemaphorePermit {
    static LANES_OF: Mutex<BTreeMap<String, Arc<Semaphore>>> = Mutex::new(BTreeMap::new());
    let lanes = {
        let mut all = LANES_OF.lock().unwrap_or_else(PoisonError::into_inner);
        let service = all.entry(store.service_id().to_owned());
        Arc::clone(service.or_insert_with(|| Arc::new(Semaphore::new(LANES))))
    };
    lanes.acquire_owned().await.expect("it is never closed")
}

pub(crate) async fn allocate(store: &Store, claim: &Claim) -> Result<Granted> {
    let _turn = turn(store).await;
    let mut answers = store.allocate(std::slice::from_ref(claim)).await;
    assert_eq!(answers.len(), 1, "one answer for one claim");
    answers.remove(0)
}

/// A claim that must succeed.
pub(crate) async fn grant(store: &Store, claim: &Claim) -> Granted {
    let granted = allocate(store, claim).await;
    granted.unwrap_or_else(|error| panic!("{}: {error}", claim.attachment))
}

/// Leases one new address and answers it.
pub(crate) async fn lease(store: &Store, container: &str, pools: &str) -> IpAddr {
    let granted = grant(store, &claim(container, &[pools])).await;
    assert!(granted.fresh, "{container} held an address already");
    addresses(&granted.leases)[0]
}

pub(crate) fn addresses(leases: &[Lease]) -> Vec<IpAddr> {
    leases.iter().map(|lease| lease.address.ip()).collect()
}

/// A DEL without an order of its own.
pub(crate) fn del(container: &str) -> Releasing {
    let key = key(container);
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

/// A DEL as a plugin sends it.
pub(crate) fn del_issued(boot: &str, at: i64, container: &str) -> Releasing {
    let mut releasing = del(container);
    releasing.release.boot_id = Some(boot.to_owned());
    releasing.release.issued = Some(at);
    releasing
}

/// Releases one attachment; how many leases that freed.
pub(crate) async fn release(store: &Store, releasing: Releasing) -> u64 {
    let _turn = turn(store).await;
    let mut answers = store.release(std::slice::from_ref(&releasing)).await;
    assert_eq!(answers.len(), 1, "one answer for one release");
    answers.remove(0).expect("a release succeeds")
}

pub(crate) fn gc(valid: &[&str]) -> GcRequest {
    GcRequest {
        cluster: "default".to_owned(),
        node: "n1".to_owned(),
        network: "net".to_owned(),
        machine_id: None,
        boot_id: None,
        issued: None,
        valid: valid
            .iter()
            .map(|container| ValidAttachment {
                container_id: (*container).to_owned(),
                ifname: "eth0".to_owned(),
            })
            .collect(),
    }
}

pub(crate) fn gc_issued(boot: &str, at: i64, valid: &[&str]) -> GcRequest {
    GcRequest {
        boot_id: Some(boot.to_owned()),
        issued: Some(at),
        ..gc(valid)
    }
}

pub(crate) async fn collect(store: &Store, gc: &GcRequest) -> u64 {
    let _turn = turn(store).await;
    store.collect(gc).await.expect("the gc succeeds")
}

/// Every lease, in the list's order.
pub(crate) async fn all_leases(store: &Store) -> Vec<Lease> {
    let filter = LeaseFilter::default();
    let pages = every_page(500, async |cursor| store.leases(&filter, cursor).await).await;
    pages.into_iter().flatten().collect()
}

/// The addresses that the container of node `n1` holds.
pub(crate) async fn held(store: &Store, container: &str) -> Vec<IpAddr> {
    let leases = all_leases(store).await;
    let own = leases.iter().filter(|one| one.attachment == key(container));
    own.map(|lease| lease.address.ip()).collect()
}

/// The error of something that must fail.
pub(crate) fn refused<T>(result: Result<T>) -> Error {
    match result {
        Ok(_) => panic!("this must be refused"),
        Err(error) => error,
    }
}

/// Fails unless the error is `Invalid` and its text names all of these.
pub(crate) fn assert_invalid<T>(result: Result<T>, names: &[&str]) {
    let error = refused(result);
    assert!(matches!(error, Error::Invalid(_)), "not Invalid: {error:?}");
    let text = error.to_string();
    for name in names {
        assert!(text.contains(name), "{text:?} does not name {name:?}");
    }
}

/// Fails unless the result is an error of this variant.
macro_rules! assert_refused {
    ($result:expr, $pattern:pat $(if $guard:expr)?) => {
        match $result {
            Err($pattern) $(if $guard)? => {}
            Err(other) => panic!("not {}: {other:?}", stringify!($pattern $(if $guard)?)),
            Ok(_) => panic!("this must be refused: {}", stringify!($pattern $(if $guard)?)),
        }
    };
}
pub(crate) use assert_refused;

pub(crate) async fn pass(duration: Duration) {
    tokio::time::sleep(duration).await;
}
