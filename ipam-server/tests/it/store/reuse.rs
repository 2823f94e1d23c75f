//! When a released address is leased again.

use std::time::Duration;

use ipam_api::PoolPatch;
use ipam_server::Error;
use ipam_server::store::Store;

use super::conformance;
use super::support::*;

conformance!(
    never_used_addresses_go_first,
    of_the_used_ones_the_longest_released_goes_first,
    a_released_address_rests_as_long_as_its_pool_says,
    without_a_delay_an_address_is_free_at_once,
    another_delay_is_for_later_releases,
    a_resting_address_counts_as_cooling_until_it_is_free,
    a_collected_address_rests_too,
);

async fn never_used_addresses_go_first(store: Store) {
    create(&store, &pool("a", "10.0.0.0/28")).await;
    let mut seen = std::collections::BTreeSet::new();
    for number in 0..13 {
        let container = format!("c{number}");
        assert!(seen.insert(lease(&store, &container, "a").await));
        release(&store, del(&container)).await;
    }
    assert!(
        !seen.insert(lease(&store, "c13", "a").await),
        "all were used"
    );
}

async fn of_the_used_ones_the_longest_released_goes_first(store: Store) {
    create(&store, &pool("a", "10.0.0.0/29")).await;
    let mut leased = Vec::new();
    for number in 0..5 {
        leased.push(lease(&store, &format!("c{number}"), "a").await);
    }
    let order = [3, 0, 4, 1, 2];
    for number in order {
        release(&store, del(&format!("c{number}"))).await;
    }
    for number in order {
        let next = lease(&store, &format!("d{number}"), "a").await;
        assert_eq!(next, leased[number]);
    }
}

async fn a_released_address_rests_as_long_as_its_pool_says(store: Store) {
    create(&store, &resting(1, pool("a", "10.0.0.0/30"))).await;
    let address = lease(&store, "c1", "a").await;
    release(&store, del("c1")).await;
    let released = std::time::Instant::now();
    let early = allocate(&store, &claim("c2", &["a"])).await;
    // On a machine that stops for a second this shows nothing, and fails nothing.
    if released.elapsed() < Duration::from_millis(900) {
        assert_refused!(
            early,
            Error::PoolExhausted {
                retry_after_s: Some(1),
                ..
            }
        );
    }
    pass(Duration::from_millis(1_100)).await;
    let granted = grant(&store, &claim("c2", &["a"])).await;
    assert_eq!(addresses(&granted.leases), [address]);
}

async fn without_a_delay_an_address_is_free_at_once(store: Store) {
    create(&store, &pool("a", "10.0.0.0/30")).await;
    lease(&store, "c1", "a").await;
    release(&store, del("c1")).await;
    let usage = usage(&store, "a").await;
    assert_eq!((usage.cooling, usage.free), (0, 1));
    lease(&store, "c2", "a").await;
}

async fn another_delay_is_for_later_releases(store: Store) {
    create(&store, &resting(3600, pool("a", "10.0.0.0/29"))).await;
    for container in ["c1", "c2"] {
        lease(&store, container, "a").await;
    }
    release(&store, del("c1")).await;
    let reuse_delay_s = Some(0);
    change(
        &store,
        "a",
        PoolPatch {
            reuse_delay_s,
            ..PoolPatch::default()
        },
    )
    .await;
    release(&store, del("c2")).await;
    let usage = usage(&store, "a").await;
    assert_eq!((usage.cooling, usage.free), (1, 4));
}

async fn a_resting_address_counts_as_cooling_until_it_is_free(store: Store) {
    create(&store, &resting(1, pool("a", "10.0.0.0/24"))).await;
    let claims: Vec<_> = (0..20).map(|n| claim(&format!("c{n}"), &["a"])).collect();
    for answer in store.allocate(&claims).await {
        answer.expect("there is room");
    }
    let releases: Vec<_> = (0..15).map(|n| del(&format!("c{n}"))).collect();
    store.release(&releases).await;
    let now = usage(&store, "a").await;
    assert_eq!(now.leased, 5);
    assert_eq!(now.cooling + now.free, 248);
    pass(Duration::from_millis(1_100)).await;
    let later = usage(&store, "a").await;
    assert_eq!((later.leased, later.cooling, later.free), (5, 0, 248));
}

async fn a_collected_address_rests_too(store: Store) {
    create(&store, &resting(3600, pool("a", "10.0.0.0/30"))).await;
    lease(&store, "c1", "a").await;
    assert_eq!(collect(&store, &gc(&[])).await, 1);
    assert_eq!(usage(&store, "a").await.cooling, 1);
    assert_refused!(
        allocate(&store, &claim("c2", &["a"])).await,
        Error::PoolExhausted { .. }
    );
}
