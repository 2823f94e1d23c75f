//! Changing pools while leases live.

use std::net::IpAddr;

use ipam_api::{NewPool, PoolPatch, PoolState, Range};
use ipam_server::Error;
use ipam_server::store::Store;

use super::conformance;
use super::exclusions::exclude;
use super::support::*;

conformance!(
    a_range_that_holds_leases_does_not_go,
    an_empty_range_goes_and_comes_back,
    a_range_grows_and_shrinks_around_its_leases,
    a_range_may_not_grow_into_another_pool,
    no_ranges_mean_all_of_the_subnet,
    a_draining_pool_leases_nothing_new_and_keeps_what_it_has,
    another_gateway_frees_the_old_one,
    a_gateway_can_be_taken_away,
    settings_that_are_left_out_stay,
    a_patch_of_another_version_is_stale,
    of_two_patches_of_one_version_one_wins,
    a_dry_run_tells_and_changes_nothing,
    a_dry_run_names_at_most_a_hundred_leases,
    a_wrong_patch_is_refused_by_name,
    a_range_with_thousands_of_returned_addresses_goes,
);

fn ranges(ranges: &[(&str, &str)]) -> PoolPatch {
    let ranges: Vec<Range> = ranges
        .iter()
        .map(|(first, last)| range(first, last))
        .collect();
    PoolPatch {
        ranges: Some(Some(ranges)),
        ..PoolPatch::default()
    }
}

fn gateway(gateway: Option<&str>) -> PoolPatch {
    PoolPatch {
        gateway: Some(gateway.map(ip)),
        ..PoolPatch::default()
    }
}

fn state(state: PoolState) -> PoolPatch {
    PoolPatch {
        state: Some(state),
        ..PoolPatch::default()
    }
}

async fn a_range_that_holds_leases_does_not_go(store: Store) {
    create(&store, &ranged("a", "10.0.0.0/24", "10.0.0.8", "10.0.0.15")).await;
    let granted = grant(&store, &wanting("c1", &["a"], &["10.0.0.12"])).await;
    let before = store.pool("a").await.expect("the pool");
    let patch = ranges(&[("10.0.0.8", "10.0.0.11")]);
    let error = refused(store.change_pool("a", &patch, None).await);
    assert!(
        matches!(&error, Error::PoolInUse { total: 1, .. }),
        "{error:?}"
    );
    assert!(error.to_string().contains("10.0.0.12"), "{error}");
    assert_eq!(store.pool("a").await.expect("the pool"), before);
    let dry = store
        .try_change_pool("a", &patch, None)
        .await
        .expect("a dry run");
    assert!(!dry.possible);
    assert_eq!(dry.leases_in_the_way_total, 1);
    assert_eq!(dry.leases_in_the_way, granted.leases);
    release(&store, del("c1")).await;
    let usage = change(&store, "a", patch).await.usage;
    assert_eq!((usage.size, usage.free), (4, 4));
}

async fn an_empty_range_goes_and_comes_back(store: Store) {
    let two = [("10.0.0.8", "10.0.0.11"), ("10.0.0.20", "10.0.0.23")];
    let new = NewPool {
        ranges: Some(two.iter().map(|(first, last)| range(first, last)).collect()),
        ..pool("a", "10.0.0.0/24")
    };
    create(&store, &new).await;
    // Returned addresses, resting or not, go with their range.
    for container in ["c1", "c2", "c3", "c4", "c5"] {
        lease(&store, container, "a").await;
        release(&store, del(container)).await;
    }
    let usage = change(&store, "a", ranges(&two[..1])).await.usage;
    assert_eq!((usage.size, usage.free, usage.leased), (4, 4, 0));
    audit(&store).await;
    let wanted = wanting("c1", &["a"], &["10.0.0.20"]);
    assert_invalid(allocate(&store, &wanted).await, &["10.0.0.20"]);
    let usage = change(&store, "a", ranges(&two)).await.usage;
    assert_eq!((usage.size, usage.free), (8, 8));
    let granted = grant(&store, &wanted).await;
    assert_eq!(addresses(&granted.leases), [ip("10.0.0.20")]);
    for number in 2..9 {
        lease(&store, &format!("c{number}"), "a").await;
    }
    refused(allocate(&store, &claim("c9", &["a"])).await);
}

async fn a_range_grows_and_shrinks_around_its_leases(store: Store) {
    create(&store, &ranged("a", "10.0.0.0/24", "10.0.0.8", "10.0.0.15")).await;
    grant(&store, &wanting("c1", &["a"], &["10.0.0.12"])).await;
    for (first, last, size) in [
        ("10.0.0.12", "10.0.0.12", 1),
        ("10.0.0.11", "10.0.0.12", 2),
        ("10.0.0.2", "10.0.0.200", 199),
        ("10.0.0.12", "10.0.0.40", 29),
    ] {
        let usage = change(&store, "a", ranges(&[(first, last)])).await.usage;
        assert_eq!((usage.size, usage.leased, usage.free), (size, 1, size - 1));
        audit(&store).await;
    }
    assert_eq!(held(&store, "c1").await, [ip("10.0.0.12")]);
}

async fn a_range_may_not_grow_into_another_pool(store: Store) {
    create(&store, &ranged("a", "10.0.0.0/24", "10.0.0.8", "10.0.0.15")).await;
    create(
        &store,
        &ranged("b", "10.0.0.0/24", "10.0.0.16", "10.0.0.31"),
    )
    .await;
    let patch = ranges(&[("10.0.0.8", "10.0.0.16")]);
    let changed = store.change_pool("a", &patch, None).await;
    assert_refused!(changed, Error::RangesOverlap(_));
    let patch = PoolPatch {
        ranges: Some(None),
        ..PoolPatch::default()
    };
    let changed = store.change_pool("a", &patch, None).await;
    assert_refused!(changed, Error::RangesOverlap(_));
    change(&store, "b", ranges(&[("10.0.0.17", "10.0.0.31")])).await;
    let usage = change(&store, "a", ranges(&[("10.0.0.8", "10.0.0.16")]))
        .await
        .usage;
    assert_eq!(usage.free, 9);
}

async fn no_ranges_mean_all_of_the_subnet(store: Store) {
    create(&store, &ranged("a", "10.0.0.0/29", "10.0.0.4", "10.0.0.5")).await;
    lease(&store, "c1", "a").await;
    let patch = PoolPatch {
        ranges: Some(None),
        ..PoolPatch::default()
    };
    let usage = change(&store, "a", patch).await.usage;
    assert_eq!((usage.leased, usage.free), (1, 4));
    for number in 2..6 {
        lease(&store, &format!("c{number}"), "a").await;
    }
    refused(allocate(&store, &claim("c6", &["a"])).await);
}

async fn a_draining_pool_leases_nothing_new_and_keeps_what_it_has(store: Store) {
    create(&store, &pool("a", "10.0.0.0/24")).await;
    create(&store, &pool("b", "10.1.0.0/24")).await;
    let address = lease(&store, "c1", "a").await;
    for closed in [PoolState::Draining, PoolState::Disabled] {
        assert_eq!(change(&store, "a", state(closed)).await.state, closed);
        let again = grant(&store, &claim("c1", &["a"])).await;
        assert!(!again.fresh);
        assert_eq!(addresses(&again.leases), [address]);
        let refused = allocate(&store, &claim("c2", &["a"])).await;
        assert_refused!(refused, Error::PoolExhausted { .. });
        let elsewhere = grant(&store, &claim("c3", &["a,b"])).await;
        assert_eq!(elsewhere.leases[0].pool, "b");
        release(&store, del("c3")).await;
    }
    change(&store, "a", state(PoolState::Ready)).await;
    lease(&store, "c2", "a").await;
    change(&store, "a", state(PoolState::Draining)).await;
    assert_eq!(release(&store, del("c1")).await, 1);
    assert_eq!(release(&store, del("c2")).await, 1);
    store
        .delete_pool("a", None)
        .await
        .expect("it has run empty");
}

async fn another_gateway_frees_the_old_one(store: Store) {
    create(&store, &pool("a", "10.0.0.0/29")).await;
    let changed = change(&store, "a", gateway(Some("10.0.0.6"))).await;
    assert_eq!(changed.gateway, Some(ip("10.0.0.6")));
    assert_eq!(changed.usage.free, 5);
    let mut leased: Vec<IpAddr> = Vec::new();
    for number in 1..=5 {
        leased.push(lease(&store, &format!("c{number}"), "a").await);
    }
    leased.sort();
    let expected: Vec<_> = (1..=5).map(|n| ip(&format!("10.0.0.{n}"))).collect();
    assert_eq!(leased, expected);
    let lease = &all_leases(&store).await[0];
    assert_eq!(
        lease.gateway,
        Some(ip("10.0.0.6")),
        "leases show the new one"
    );
}

async fn a_gateway_can_be_taken_away(store: Store) {
    create(&store, &pool("a", "10.0.0.0/30")).await;
    let changed = change(&store, "a", gateway(None)).await;
    assert_eq!((changed.gateway, changed.usage.free), (None, 2));
    let wanted = wanting("c1", &["a"], &["10.0.0.1"]);
    assert_eq!(
        addresses(&grant(&store, &wanted).await.leases),
        [ip("10.0.0.1")]
    );
}

async fn settings_that_are_left_out_stay(store: Store) {
    let new = NewPool {
        labels: [("k".to_owned(), "v".to_owned())].into(),
        ..ranged("a", "10.0.0.0/24", "10.0.0.8", "10.0.0.15")
    };
    create(&store, &new).await;
    let before = store.pool("a").await.expect("the pool");
    let changed = store
        .change_pool("a", &state(PoolState::Draining), None)
        .await;
    let changed = changed.expect("a change");
    assert!(changed.version > before.version);
    assert!(changed.pool.updated_at >= before.pool.updated_at);
    let expected = ipam_api::Pool {
        state: PoolState::Draining,
        updated_at: changed.pool.updated_at,
        ..before.pool
    };
    assert_eq!(changed.pool, expected);
    assert_eq!(store.pool("a").await.expect("the pool"), changed);
}

async fn a_patch_of_another_version_is_stale(store: Store) {
    create(&store, &pool("a", "10.0.0.0/24")).await;
    let first = store.pool("a").await.expect("the pool").version;
    let draining = state(PoolState::Draining);
    let changed = store
        .change_pool("a", &draining, Some(first))
        .await
        .expect("fits");
    let ready = state(PoolState::Ready);
    let stale = store.change_pool("a", &ready, Some(first)).await;
    assert_refused!(stale, Error::Stale { pool, present, .. } if pool == "a" && present == changed.version);
    let stale = store.try_change_pool("a", &ready, Some(first)).await;
    assert_refused!(stale, Error::Stale { .. });
    let now = store.pool("a").await.expect("the pool");
    assert_eq!(now.pool.state, PoolState::Draining);
    store
        .change_pool("a", &ready, Some(now.version))
        .await
        .expect("fits");
}

async fn of_two_patches_of_one_version_one_wins(store: Store) {
    create(&store, &pool("a", "10.0.0.0/24")).await;
    let version = Some(store.pool("a").await.expect("the pool").version);
    let (one, other) = (exclude(&["10.0.0.8/32"]), exclude(&["10.0.0.9/32"]));
    let (first, second) = tokio::join!(
        store.change_pool("a", &one, version),
        store.change_pool("a", &other, version),
    );
    let (won, lost) = match (first, second) {
        (Ok(won), Err(lost)) | (Err(lost), Ok(won)) => (won, lost),
        both => panic!("one of them wins: {both:?}"),
    };
    assert!(matches!(lost, Error::Stale { .. }), "{lost:?}");
    assert_eq!(won.pool.usage.free, 252);
}

async fn a_dry_run_tells_and_changes_nothing(store: Store) {
    create(&store, &pool("a", "10.0.0.0/24")).await;
    lease(&store, "c1", "a").await;
    let before = store.pool("a").await.expect("the pool");
    let patch = PoolPatch {
        exclude: exclude(&["10.0.0.128/25"]).exclude,
        state: Some(PoolState::Draining),
        ..PoolPatch::default()
    };
    let dry = store
        .try_change_pool("a", &patch, None)
        .await
        .expect("a dry run");
    assert!(dry.possible);
    assert_eq!(dry.leases_in_the_way_total, 0);
    let would = dry.pool.expect("the pool as it would be");
    assert_eq!(would.state, PoolState::Draining);
    assert_eq!(store.pool("a").await.expect("the pool"), before);
    let changed = change(&store, "a", patch).await;
    assert_eq!(would.usage, changed.usage);
    assert_eq!(would.exclude, changed.exclude);
}

async fn a_dry_run_names_at_most_a_hundred_leases(store: Store) {
    create(&store, &pool("a", "10.0.0.0/24")).await;
    let claims: Vec<_> = (0..120).map(|n| claim(&format!("c{n}"), &["a"])).collect();
    for answer in store.allocate(&claims).await {
        answer.expect("there is room");
    }
    let dry = store.try_delete_pool("a", None).await.expect("a dry run");
    assert_eq!((dry.possible, dry.leases_in_the_way_total), (false, 120));
    assert_eq!(dry.leases_in_the_way.len(), 100);
    assert!(dry.pool.is_none());
}

async fn a_wrong_patch_is_refused_by_name(store: Store) {
    create(&store, &pool("a", "10.0.0.0/24")).await;
    let before = store.pool("a").await.expect("the pool");
    for (patch, field) in [
        (ranges(&[("10.0.0.9", "10.0.0.8")]), "ranges"),
        (ranges(&[("10.0.0.9", "10.0.1.8")]), "ranges"),
        (exclude(&["10.0.1.0/25"]), "exclude"),
        (gateway(Some("10.0.1.1")), "gateway"),
        (
            PoolPatch {
                reuse_delay_s: Some(u32::MAX),
                ..PoolPatch::default()
            },
            "reuse_delay_s",
        ),
    ] {
        assert_invalid(store.change_pool("a", &patch, None).await, &[field]);
        assert_invalid(store.try_change_pool("a", &patch, None).await, &[field]);
    }
    assert_eq!(store.pool("a").await.expect("the pool"), before);
}

async fn a_range_with_thousands_of_returned_addresses_goes(store: Store) {
    let two = [("10.0.0.8", "10.0.15.255"), ("10.0.20.0", "10.0.20.255")];
    let new = NewPool {
        ranges: Some(two.iter().map(|(first, last)| range(first, last)).collect()),
        ..pool("a", "10.0.0.0/16")
    };
    create(&store, &new).await;
    for round in 0..8 {
        let names: Vec<_> = (0..500).map(|n| format!("c{round}-{n}")).collect();
        let claims: Vec<_> = names.iter().map(|name| claim(name, &["a"])).collect();
        for answer in store.allocate(&claims).await {
            answer.expect("there is room");
        }
        let releases: Vec<_> = names.iter().map(|name| del(name)).collect();
        for answer in store.release(&releases).await {
            assert_eq!(answer.expect("a release"), 1);
        }
    }
    let usage = change(&store, "a", ranges(&two[1..])).await.usage;
    assert_eq!((usage.size, usage.free), (256, 256));
    while store
        .tidy(std::time::Duration::from_secs(3600))
        .await
        .expect("tidy")
    {}
    audit(&store).await;
    lease(&store, "c", "a").await;
}
