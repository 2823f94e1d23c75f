//! Address spaces.

use ipam_api::NewPool;
use ipam_server::Error;
use ipam_server::store::Store;

use super::conformance;
use super::support::*;

conformance!(
    the_default_vrf_exists,
    a_vrf_is_created_once_and_listed_by_name,
    a_pool_in_a_vrf_that_was_not_created_is_refused,
    one_address_is_leased_once_in_each_vrf,
    pools_of_two_vrfs_may_cover_each_other,
    a_list_of_pools_shows_one_vrf,
);

fn pool_in(vrf: &str, name: &str, subnet: &str) -> NewPool {
    NewPool {
        vrf: Some(vrf.to_owned()),
        ..pool(name, subnet)
    }
}

async fn the_default_vrf_exists(store: Store) {
    let vrfs = store.vrfs(&first_page(10)).await.expect("a list");
    assert_eq!(vrfs.items.len(), 1);
    assert_eq!(vrfs.items[0].name, "default");
    assert!(!store.create_vrf("default").await.expect("it exists"));
}

async fn a_vrf_is_created_once_and_listed_by_name(store: Store) {
    for name in ["red", "blue", "green"] {
        assert!(store.create_vrf(name).await.expect("a new vrf"));
        assert!(!store.create_vrf(name).await.expect("an old vrf"));
    }
    let pages = every_page(3, async |cursor| store.vrfs(cursor).await).await;
    let names =
        |page: &Vec<ipam_api::Vrf>| -> Vec<_> { page.iter().map(|vrf| vrf.name.clone()).collect() };
    let pages: Vec<_> = pages.iter().map(names).collect();
    assert_eq!(pages.concat(), ["blue", "default", "green", "red"]);
    assert_eq!(pages[0].len(), 3, "a page has as many as were asked for");
}

async fn a_pool_in_a_vrf_that_was_not_created_is_refused(store: Store) {
    let new = pool_in("nowhere", "a", "10.0.0.0/24");
    assert_refused!(store.create_pool(&new).await, Error::VrfNotFound(name) if name == "nowhere");
    let new = pool_in("", "b", "10.0.0.0/24");
    refused(store.create_pool(&new).await);
    let pools = store.pools(None, &first_page(10)).await.expect("a list");
    assert!(pools.items.is_empty());
}

async fn one_address_is_leased_once_in_each_vrf(store: Store) {
    store.create_vrf("blue").await.expect("a vrf");
    create(&store, &ranged("a", "10.0.0.0/24", "10.0.0.7", "10.0.0.7")).await;
    let blue = NewPool {
        vrf: Some("blue".to_owned()),
        ..ranged("b", "10.0.0.0/24", "10.0.0.7", "10.0.0.7")
    };
    create(&store, &blue).await;
    let both = grant(&store, &claim("c1", &["a", "b"])).await.leases;
    assert_eq!(addresses(&both), [ip("10.0.0.7"), ip("10.0.0.7")]);
    assert_eq!(
        (both[0].vrf.as_str(), both[1].vrf.as_str()),
        ("default", "blue")
    );
    assert_refused!(
        allocate(&store, &claim("c2", &["b"])).await,
        Error::PoolExhausted { .. }
    );
    assert_eq!(release(&store, del("c1")).await, 2);
}

async fn pools_of_two_vrfs_may_cover_each_other(store: Store) {
    store.create_vrf("blue").await.expect("a vrf");
    create(&store, &pool("wide", "10.0.0.0/8")).await;
    create(&store, &pool_in("blue", "narrow", "10.0.0.0/24")).await;
    let inside = pool("inside", "10.0.0.0/24");
    assert_refused!(store.create_pool(&inside).await, Error::RangesOverlap(_));
}

async fn a_list_of_pools_shows_one_vrf(store: Store) {
    store.create_vrf("blue").await.expect("a vrf");
    create(&store, &pool("a", "10.0.0.0/24")).await;
    create(&store, &pool_in("blue", "b", "10.0.0.0/24")).await;
    let blue = store.pools(Some("blue"), &first_page(10)).await;
    let blue = blue.expect("a list").items;
    assert_eq!(blue.len(), 1);
    assert_eq!((blue[0].name.as_str(), blue[0].vrf.as_str()), ("b", "blue"));
    let all = store.pools(None, &first_page(10)).await.expect("a list");
    assert_eq!(all.items.len(), 2);
}
