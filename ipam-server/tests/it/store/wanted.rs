//! Addresses that a claim names.

use ipam_api::{PoolPatch, PoolState};
use ipam_server::Error;
use ipam_server::store::Store;

use super::conformance;
use super::support::*;

conformance!(
    a_wanted_address_is_given,
    a_wanted_address_that_fits_nowhere_is_refused_by_name,
    a_wanted_address_that_is_held_names_its_holder,
    a_wanted_address_is_given_while_it_rests,
    a_wanted_address_of_a_closed_pool_is_not_given,
    a_wanted_address_goes_to_the_first_entry_that_may_lease_it,
    a_wanted_address_of_a_fallback_pool_is_given_from_there,
    the_other_entries_stay_dynamic,
    more_wanted_addresses_than_entries_are_refused,
    wanted_addresses_fill_the_entries_in_order,
    a_wanted_address_splits_free_space_wherever_it_is,
    a_claim_whose_wanted_address_is_held_keeps_nothing,
    a_wanted_address_passes_over_an_entry_that_has_one,
    a_claim_that_replaces_may_want_the_address_that_it_gives_up,
);

async fn a_wanted_address_is_given(store: Store) {
    create(&store, &pool("a", "10.0.0.0/16")).await;
    for (container, address) in [
        ("c1", "10.0.7.7"),
        ("c2", "10.0.0.2"),
        ("c3", "10.0.255.254"),
    ] {
        let granted = grant(&store, &wanting(container, &["a"], &[address])).await;
        assert!(granted.fresh);
        assert_eq!(addresses(&granted.leases), [ip(address)]);
        let again = grant(&store, &wanting(container, &["a"], &[address])).await;
        assert!(!again.fresh);
        assert_eq!(again.leases, granted.leases);
    }
    let usage = usage(&store, "a").await;
    assert_eq!((usage.leased, usage.free), (3, (1 << 16) - 3 - 3));
}

async fn a_wanted_address_that_fits_nowhere_is_refused_by_name(store: Store) {
    create(
        &store,
        &ranged("a", "10.0.0.0/24", "10.0.0.10", "10.0.0.20"),
    )
    .await;
    create(&store, &pool("b", "10.1.0.0/24")).await;
    for outside in [
        "10.0.0.9",
        "10.0.0.21",
        "10.1.0.5",
        "10.9.9.9",
        "2001:db8::1",
        "0.0.0.0",
        "255.255.255.255",
    ] {
        let wanted = wanting("c1", &["a"], &[outside]);
        assert_invalid(allocate(&store, &wanted).await, &["wanted", outside]);
    }
    let half = wanting("c1", &["a", "b"], &["10.0.0.10", "10.9.9.9"]);
    assert_invalid(allocate(&store, &half).await, &["10.9.9.9"]);
    assert!(all_leases(&store).await.is_empty());
}

async fn a_wanted_address_that_is_held_names_its_holder(store: Store) {
    create(&store, &pool("a", "10.0.0.0/24")).await;
    let address = lease(&store, "c1", "a").await;
    let wanted = wanting("c2", &["a"], &[&address.to_string()]);
    let error = refused(allocate(&store, &wanted).await);
    match &error {
        Error::AddressTaken {
            address: taken,
            pool,
            holder,
        } => {
            assert_eq!((*taken, pool.as_str()), (address, "a"));
            assert!(holder.contains("c1"), "{holder}");
        }
        other => panic!("not AddressTaken: {other:?}"),
    }
    release(&store, del("c1")).await;
    assert_eq!(addresses(&grant(&store, &wanted).await.leases), [address]);
}

async fn a_wanted_address_is_given_while_it_rests(store: Store) {
    create(&store, &resting(3600, pool("a", "10.0.0.0/30"))).await;
    let address = lease(&store, "c1", "a").await;
    release(&store, del("c1")).await;
    let dynamic = claim("c2", &["a"]);
    assert_refused!(
        allocate(&store, &dynamic).await,
        Error::PoolExhausted { .. }
    );
    let wanted = wanting("c2", &["a"], &[&address.to_string()]);
    assert_eq!(addresses(&grant(&store, &wanted).await.leases), [address]);
    let usage = usage(&store, "a").await;
    assert_eq!((usage.leased, usage.cooling, usage.free), (1, 0, 0));
}

async fn a_wanted_address_of_a_closed_pool_is_not_given(store: Store) {
    create(&store, &pool("a", "10.0.0.0/24")).await;
    create(&store, &pool("b", "10.1.0.0/24")).await;
    for state in [PoolState::Draining, PoolState::Disabled] {
        let state = Some(state);
        change(
            &store,
            "a",
            PoolPatch {
                state,
                ..PoolPatch::default()
            },
        )
        .await;
        for entries in [&["a"][..], &["a,b"], &["a", "b"]] {
            let error = refused(allocate(&store, &wanting("c1", entries, &["10.0.0.7"])).await);
            assert!(
                matches!(error, Error::PoolExhausted { .. } | Error::Invalid(_)),
                "{error:?}"
            );
            assert!(error.to_string().contains("\"a\"") || error.to_string().contains("10.0.0.7"));
        }
    }
    assert!(all_leases(&store).await.is_empty());
}

async fn a_wanted_address_goes_to_the_first_entry_that_may_lease_it(store: Store) {
    create(&store, &pool("a", "10.0.0.0/24")).await;
    create(&store, &pool("b", "10.1.0.0/24")).await;
    let granted = grant(&store, &wanting("c1", &["a", "b", "b"], &["10.1.0.9"])).await;
    let leased = addresses(&granted.leases);
    assert_eq!(leased[1], ip("10.1.0.9"));
    assert_ne!(leased[2], ip("10.1.0.9"));
}

async fn a_wanted_address_of_a_fallback_pool_is_given_from_there(store: Store) {
    create(&store, &pool("a", "10.0.0.0/24")).await;
    create(&store, &pool("b", "10.1.0.0/24")).await;
    let granted = grant(&store, &wanting("c1", &["a,b"], &["10.1.0.9"])).await;
    assert_eq!(granted.leases[0].pool, "b");
    assert_eq!(addresses(&granted.leases), [ip("10.1.0.9")]);
}

async fn the_other_entries_stay_dynamic(store: Store) {
    create(&store, &pool("v4", "10.0.0.0/24")).await;
    create(&store, &pool("v6", "2001:db8::/64")).await;
    let granted = grant(&store, &wanting("c1", &["v4", "v6"], &["2001:db8::77"])).await;
    let leased = addresses(&granted.leases);
    assert!(leased[0].is_ipv4());
    assert_eq!(leased[1], ip("2001:db8::77"));
}

async fn more_wanted_addresses_than_entries_are_refused(store: Store) {
    create(&store, &pool("a", "10.0.0.0/24")).await;
    let wanted = wanting("c1", &["a"], &["10.0.0.7", "10.0.0.8"]);
    assert_invalid(allocate(&store, &wanted).await, &["10.0.0.8"]);
    assert!(all_leases(&store).await.is_empty());
}

async fn wanted_addresses_fill_the_entries_in_order(store: Store) {
    create(&store, &pool("a", "10.0.0.0/24")).await;
    let wanted = wanting("c1", &["a", "a"], &["10.0.0.8", "10.0.0.7"]);
    let granted = grant(&store, &wanted).await;
    assert_eq!(addresses(&granted.leases), [ip("10.0.0.8"), ip("10.0.0.7")]);
    let again = grant(&store, &wanted).await;
    assert_eq!(again.leases, granted.leases);
}

async fn a_wanted_address_splits_free_space_wherever_it_is(store: Store) {
    create(&store, &without_gateway("a", "10.0.0.0/28")).await;
    let order = [7, 1, 14, 6, 8, 2, 13, 4, 10, 3, 5, 9, 11, 12];
    for number in order {
        let address = format!("10.0.0.{number}");
        let container = format!("c{number}");
        grant(&store, &wanting(&container, &["a"], &[&address])).await;
        audit(&store).await;
    }
    assert_eq!(usage(&store, "a").await.free, 0);
    for number in order {
        assert_eq!(release(&store, del(&format!("c{number}"))).await, 1);
    }
    assert_eq!(usage(&store, "a").await.free, 14);
}

async fn a_claim_whose_wanted_address_is_held_keeps_nothing(store: Store) {
    create(&store, &pool("v4", "10.0.0.0/24")).await;
    create(&store, &pool("v6", "2001:db8::/64")).await;
    grant(&store, &wanting("c1", &["v6"], &["2001:db8::77"])).await;
    let wanted = wanting("c2", &["v4", "v6"], &["10.0.0.7", "2001:db8::77"]);
    assert_refused!(allocate(&store, &wanted).await, Error::AddressTaken { .. });
    assert_eq!(usage(&store, "v4").await.leased, 0);
    grant(&store, &wanting("c3", &["v4"], &["10.0.0.7"])).await;
}

async fn a_wanted_address_passes_over_an_entry_that_has_one(store: Store) {
    create(
        &store,
        &ranged("one", "10.2.0.0/24", "10.2.0.9", "10.2.0.10"),
    )
    .await;
    create(
        &store,
        &ranged("half", "10.3.0.0/24", "10.3.0.9", "10.3.0.9"),
    )
    .await;
    let asked = wanting("c1", &["half,one", "one"], &["10.3.0.9", "10.2.0.9"]);
    let granted = grant(&store, &asked).await;
    assert_eq!(addresses(&granted.leases), [ip("10.3.0.9"), ip("10.2.0.9")]);
}

async fn a_claim_that_replaces_may_want_the_address_that_it_gives_up(store: Store) {
    create(&store, &resting(3600, pool("a", "10.0.0.0/30"))).await;
    create(&store, &pool("b", "10.1.0.0/24")).await;
    let first = grant(&store, &issued("boot-1", 1, claim("c1", &["a"]))).await;
    let address = addresses(&first.leases)[0].to_string();
    let asked = wanting("c1", &["a", "b"], &[&address]);
    let second = grant(&store, &issued("boot-2", 1, asked)).await;
    assert!(second.fresh);
    assert_eq!(addresses(&second.leases)[0], addresses(&first.leases)[0]);
    assert_ne!(second.leases[0].id, first.leases[0].id);
    // One that cannot be granted leaves everything as it was.
    let failing = wanting("c1", &["a", "b", "a"], &[&address]);
    refused(allocate(&store, &issued("boot-3", 1, failing)).await);
    assert_eq!(held(&store, "c1").await.len(), 2);
    audit(&store).await;
}
