//! Opening a database: once, again, and twice at a time.

use ipam_server::Error;
use ipam_server::store::Store;

use super::support::*;

#[tokio::test]
async fn a_url_of_another_database_is_refused_by_name() {
    for url in ["mysql://localhost/x", "ipam.db", "", "http://localhost"] {
        assert_invalid(Store::open(url).await, &["database"]);
    }
}

#[tokio::test]
async fn one_server_per_sqlite_file() {
    let folder = tempfile::tempdir().expect("a folder");
    let url = sqlite_url(&folder);
    let first = open(&url).await;
    refused(Store::open(&url).await);
    first.ping().await.expect("the first still serves");
    create(&first, &pool("a", "10.0.0.0/24")).await;
    first.close().await;
    drop(first);
    let second = open(&url).await;
    assert_eq!(usage(&second, "a").await.free, 253);
}

#[tokio::test]
async fn sqlite_keeps_leases_and_the_service_id_across_restarts() {
    let folder = tempfile::tempdir().expect("a folder");
    restart(&sqlite_url(&folder)).await;
}

#[tokio::test]
async fn postgres_keeps_leases_and_the_service_id_across_restarts() {
    if let Some(url) = harness::postgres::database() {
        restart(&url).await;
    }
}

async fn restart(url: &str) {
    let store = open(url).await;
    let service = store.service_id().to_owned();
    assert!(!service.is_empty());
    create(&store, &resting(3600, pool("a", "10.0.0.0/29"))).await;
    let granted = grant(&store, &issued("boot-1", 10, claim("c1", &["a"]))).await;
    lease(&store, "c2", "a").await;
    release(&store, del("c2")).await;
    store.close().await;
    drop(store);
    let store = open(url).await;
    assert_eq!(store.service_id(), service);
    let again = grant(&store, &issued("boot-1", 11, claim("c1", &["a"]))).await;
    assert!(!again.fresh);
    assert_eq!(again.leases, granted.leases);
    let usage = usage(&store, "a").await;
    assert_eq!((usage.leased, usage.cooling, usage.free), (1, 1, 3));
    audit(&store).await;
    store.close().await;
}

#[tokio::test]
async fn two_databases_are_two_services() {
    let folders = [(); 2].map(|()| tempfile::tempdir().expect("a folder"));
    let first = open(&sqlite_url(&folders[0])).await;
    let second = open(&sqlite_url(&folders[1])).await;
    assert_ne!(first.service_id(), second.service_id());
}

#[tokio::test]
async fn servers_that_start_at_once_on_an_empty_postgres_are_one_service() {
    let Some(url) = harness::postgres::database() else {
        return;
    };
    let stores = tokio::join!(open(&url), open(&url), open(&url), open(&url));
    let ids = [
        stores.0.service_id(),
        stores.1.service_id(),
        stores.2.service_id(),
        stores.3.service_id(),
    ];
    assert!(ids.iter().all(|id| *id == ids[0]), "{ids:?}");
    create(&stores.0, &pool("a", "10.0.0.0/24")).await;
    let address = lease(&stores.1, "c1", "a").await;
    assert_eq!(held(&stores.2, "c1").await, [address]);
    assert_refused!(
        stores.3.create_pool(&pool("b", "10.0.0.0/16")).await,
        Error::RangesOverlap(_)
    );
    audit(&stores.3).await;
}
