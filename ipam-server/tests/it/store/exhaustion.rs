//! Pools that have no address left.

use std::collections::BTreeSet;

use ipam_api::NewPool;
use ipam_server::Error;
use ipam_server::store::Store;

use super::conformance;
use super::support::*;

conformance!(
    a_pool_leases_exactly_what_it_has,
    a_full_pool_says_how_full_it_is,
    a_full_pool_serves_again_after_a_release,
    resting_addresses_tell_when_to_come_back,
    a_full_pool_without_resting_addresses_does_not_say_when,
    of_two_pools_the_sooner_one_tells_when_to_come_back,
    a_fragmented_pool_leases_its_last_address,
);

async fn a_pool_leases_exactly_what_it_has(store: Store) {
    let new = NewPool {
        ranges: Some(vec![
            range("10.0.0.5", "10.0.0.9"),
            range("10.0.0.11", "10.0.0.11"),
            range("10.0.0.250", "10.0.0.254"),
        ]),
        exclude: vec!["10.0.0.8/31".parse().expect("a subnet")],
        ..pool("a", "10.0.0.0/24")
    };
    create(&store, &new).await;
    let mut leased = BTreeSet::new();
    for number in 0..9 {
        leased.insert(lease(&store, &format!("c{number}"), "a").await);
    }
    let expected = [5, 6, 7, 11, 250, 251, 252, 253, 254].map(|n| ip(&format!("10.0.0.{n}")));
    assert_eq!(leased, BTreeSet::from(expected));
    assert_refused!(
        allocate(&store, &claim("c9", &["a"])).await,
        Error::PoolExhausted { .. }
    );
    let usage = usage(&store, "a").await;
    assert_eq!(
        (usage.size, usage.leased, usage.reserved, usage.free),
        (11, 9, 2, 0)
    );
}

async fn a_full_pool_says_how_full_it_is(store: Store) {
    create(&store, &resting(3600, pool("narrow", "10.0.0.0/29"))).await;
    for number in 0..5 {
        lease(&store, &format!("c{number}"), "narrow").await;
    }
    for number in 0..2 {
        release(&store, del(&format!("c{number}"))).await;
    }
    let error = refused(allocate(&store, &claim("c9", &["narrow"])).await);
    let text = error.to_string();
    // Which pool, its size, leased and cooling addresses.
    for part in ["narrow", "5", "3", "2"] {
        assert!(text.contains(part), "{text:?} does not tell {part:?}");
    }
}

async fn a_full_pool_serves_again_after_a_release(store: Store) {
    create(&store, &pool("a", "10.0.0.0/29")).await;
    for number in 0..5 {
        lease(&store, &format!("c{number}"), "a").await;
    }
    for round in 0..10 {
        let (old, new) = (format!("c{round}"), format!("c{}", round + 5));
        let freed = held(&store, &old).await;
        refused(allocate(&store, &claim(&new, &["a"])).await);
        release(&store, del(&old)).await;
        assert_eq!([lease(&store, &new, "a").await], freed[..]);
    }
}

async fn retry_after(store: &Store, pools: &str) -> Option<u64> {
    match allocate(store, &claim("late", &[pools])).await {
        Err(Error::PoolExhausted { retry_after_s, .. }) => retry_after_s,
        other => panic!("not PoolExhausted: {other:?}"),
    }
}

async fn resting_addresses_tell_when_to_come_back(store: Store) {
    create(&store, &resting(100, pool("a", "10.0.0.0/30"))).await;
    lease(&store, "c1", "a").await;
    release(&store, del("c1")).await;
    let seconds = retry_after(&store, "a")
        .await
        .expect("only resting ones are left");
    assert!((50..=100).contains(&seconds), "{seconds}");
}

async fn a_full_pool_without_resting_addresses_does_not_say_when(store: Store) {
    create(&store, &resting(100, pool("a", "10.0.0.0/30"))).await;
    lease(&store, "c1", "a").await;
    assert_eq!(retry_after(&store, "a").await, None);
}

async fn of_two_pools_the_sooner_one_tells_when_to_come_back(store: Store) {
    create(&store, &resting(2000, pool("a", "10.0.0.0/30"))).await;
    create(&store, &resting(100, pool("b", "10.1.0.0/30"))).await;
    for (container, pool) in [("c1", "a"), ("c2", "b")] {
        lease(&store, container, pool).await;
        release(&store, del(container)).await;
    }
    let seconds = retry_after(&store, "a,b").await.expect("both rest");
    assert!((50..=100).contains(&seconds), "{seconds}");
}

async fn a_fragmented_pool_leases_its_last_address(store: Store) {
    create(&store, &pool("a", "10.0.0.0/24")).await;
    let claims: Vec<_> = (0..253).map(|n| claim(&format!("c{n}"), &["a"])).collect();
    for answer in store.allocate(&claims).await {
        answer.expect("there is room");
    }
    let every_other: Vec<_> = (0..253).step_by(2).map(|n| del(&format!("c{n}"))).collect();
    for answer in store.release(&every_other).await {
        assert_eq!(answer.expect("a release"), 1);
    }
    audit(&store).await;
    let again: Vec<_> = (0..127).map(|n| claim(&format!("d{n}"), &["a"])).collect();
    for answer in store.allocate(&again).await {
        answer.expect("there is room");
    }
    assert_refused!(
        allocate(&store, &claim("e", &["a"])).await,
        Error::PoolExhausted { .. }
    );
}
