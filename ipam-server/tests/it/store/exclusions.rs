//! Exclusions that come and go while leases live.

use ipam_api::PoolPatch;
use ipam_server::Error;
use ipam_server::store::Store;

use super::conformance;
use super::support::*;

conformance!(
    an_exclusion_reserves_free_addresses_and_its_end_frees_them,
    a_lease_on_an_excluded_address_lives_on_and_is_the_last_there,
    an_exclusion_over_leases_can_be_taken_back_while_they_live,
    an_exclusion_reserves_resting_addresses,
    half_of_a_slash_8_is_excluded_at_once,
);

pub(super) fn exclude(subnets: &[&str]) -> PoolPatch {
    PoolPatch {
        exclude: Some(
            subnets
                .iter()
                .map(|s| s.parse().expect("a subnet"))
                .collect(),
        ),
        ..PoolPatch::default()
    }
}

async fn an_exclusion_reserves_free_addresses_and_its_end_frees_them(store: Store) {
    create(&store, &ranged("a", "10.0.0.0/24", "10.0.0.8", "10.0.0.15")).await;
    let usage = change(&store, "a", exclude(&["10.0.0.10/31", "10.0.0.15/32"]))
        .await
        .usage;
    assert_eq!((usage.size, usage.reserved, usage.free), (8, 3, 5));
    for never in ["10.0.0.10", "10.0.0.11", "10.0.0.15"] {
        let wanted = wanting("w", &["a"], &[never]);
        assert_invalid(allocate(&store, &wanted).await, &[never]);
    }
    for number in 0..5 {
        let leased = lease(&store, &format!("c{number}"), "a").await;
        assert!(![ip("10.0.0.10"), ip("10.0.0.11"), ip("10.0.0.15")].contains(&leased));
    }
    let full = claim("c5", &["a"]);
    assert_refused!(allocate(&store, &full).await, Error::PoolExhausted { .. });
    let usage = change(&store, "a", exclude(&["10.0.0.10/32"])).await.usage;
    assert_eq!((usage.reserved, usage.leased, usage.free), (1, 5, 2));
    let mut last = [
        lease(&store, "c5", "a").await,
        lease(&store, "c6", "a").await,
    ];
    last.sort();
    assert_eq!(last, [ip("10.0.0.11"), ip("10.0.0.15")]);
}

async fn a_lease_on_an_excluded_address_lives_on_and_is_the_last_there(store: Store) {
    create(&store, &ranged("a", "10.0.0.0/24", "10.0.0.8", "10.0.0.9")).await;
    let address = lease(&store, "c1", "a").await;
    let usage = change(&store, "a", exclude(&[&format!("{address}/32")]))
        .await
        .usage;
    assert_eq!((usage.size, usage.leased, usage.free), (2, 1, 1));
    let again = grant(&store, &claim("c1", &["a"])).await;
    assert!(!again.fresh);
    assert_eq!(addresses(&again.leases), [address]);
    audit(&store).await;
    assert_eq!(release(&store, del("c1")).await, 1);
    let usage = self::usage(&store, "a").await;
    assert_eq!(
        (usage.reserved, usage.leased, usage.cooling, usage.free),
        (1, 0, 0, 1)
    );
    assert_ne!(lease(&store, "c2", "a").await, address);
    let wanted = wanting("c3", &["a"], &[&address.to_string()]);
    assert_invalid(allocate(&store, &wanted).await, &[&address.to_string()]);
    assert_refused!(
        allocate(&store, &claim("c3", &["a"])).await,
        Error::PoolExhausted { .. }
    );
}

async fn an_exclusion_over_leases_can_be_taken_back_while_they_live(store: Store) {
    create(&store, &ranged("a", "10.0.0.0/24", "10.0.0.8", "10.0.0.11")).await;
    let address = lease(&store, "c1", "a").await;
    change(&store, "a", exclude(&["10.0.0.8/30"])).await;
    audit(&store).await;
    let usage = change(&store, "a", exclude(&[])).await.usage;
    assert_eq!((usage.reserved, usage.leased, usage.free), (0, 1, 3));
    audit(&store).await;
    for container in ["c2", "c3", "c4"] {
        assert_ne!(lease(&store, container, "a").await, address);
    }
    release(&store, del("c1")).await;
    assert_eq!(lease(&store, "c5", "a").await, address);
}

async fn an_exclusion_reserves_resting_addresses(store: Store) {
    create(
        &store,
        &resting(3600, ranged("a", "10.0.0.0/24", "10.0.0.8", "10.0.0.11")),
    )
    .await;
    for container in ["c1", "c2", "c3"] {
        lease(&store, container, "a").await;
    }
    for container in ["c1", "c2", "c3"] {
        release(&store, del(container)).await;
    }
    assert_eq!(usage(&store, "a").await.cooling, 3);
    let usage = change(&store, "a", exclude(&["10.0.0.8/30"])).await.usage;
    assert_eq!((usage.cooling, usage.reserved, usage.free), (0, 4, 0));
}

async fn half_of_a_slash_8_is_excluded_at_once(store: Store) {
    create(&store, &pool("a", "10.0.0.0/8")).await;
    create(&store, &pool("b", "2001:db8::/48")).await;
    lease(&store, "c1", "a").await;
    let usage = change(&store, "a", exclude(&["10.128.0.0/9"])).await.usage;
    // The broadcast address is in the excluded half, and not in the pool's ranges.
    assert_eq!(usage.reserved, (1 << 23) - 1);
    assert_eq!(usage.free, (1 << 23) - 3);
    let usage = change(&store, "b", exclude(&["2001:db8:0:8000::/49"]))
        .await
        .usage;
    assert_eq!(usage.free_exact, ((1_u128 << 79) - 2).to_string());
    change(&store, "a", exclude(&[])).await;
    assert_eq!(self::usage(&store, "a").await.free, (1 << 24) - 4);
}
