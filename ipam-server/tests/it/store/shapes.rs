//! Which addresses of which subnets are leased, and which shapes are refused.

use std::collections::BTreeSet;
use std::net::IpAddr;

use ipam_api::NewPool;
use ipam_server::store::Store;

use super::conformance;
use super::support::*;

conformance!(
    point_to_point_subnets_lease_every_address,
    network_and_broadcast_and_the_gateway_are_never_leased,
    the_routers_anycast_address_is_never_leased,
    a_gateway_inside_a_range_is_reserved,
    without_a_gateway_the_first_address_is_leased,
    the_last_address_of_a_48_is_leased_by_name_like_its_first,
    a_huge_pool_counts_exactly,
    the_largest_subnets_are_refused_or_counted,
    wrong_subnets_are_refused_by_name,
    wrong_ranges_are_refused_by_name,
    wrong_exclusions_and_gateways_are_refused_by_name,
    a_reuse_delay_above_a_year_is_refused,
);

/// Leases what there is.
async fn drain(store: &Store, pool: &str) -> BTreeSet<IpAddr> {
    let free = usage(store, pool).await.free;
    let mut leased = BTreeSet::new();
    for number in 0..free {
        let container = format!("{pool}-{number}");
        leased.insert(lease(store, &container, pool).await);
    }
    refused(allocate(store, &claim("one-too-many", &[pool])).await);
    assert_eq!(leased.len() as u64, free);
    leased
}

async fn point_to_point_subnets_lease_every_address(store: Store) {
    for (name, subnet, expected) in [
        ("a", "10.0.0.4/31", vec!["10.0.0.4", "10.0.0.5"]),
        ("b", "10.0.0.9/32", vec!["10.0.0.9"]),
        ("c", "2001:db8::4/127", vec!["2001:db8::4", "2001:db8::5"]),
        ("d", "2001:db8::9/128", vec!["2001:db8::9"]),
        ("zero", "10.1.0.0/32", vec!["10.1.0.0"]),
        ("edge", "10.1.0.254/31", vec!["10.1.0.254", "10.1.0.255"]),
    ] {
        let made = create(&store, &without_gateway(name, subnet)).await;
        assert_eq!(made.usage.size, expected.len() as u64, "{subnet}");
        let expected: BTreeSet<_> = expected.into_iter().map(ip).collect();
        assert_eq!(drain(&store, name).await, expected, "{subnet}");
    }
}

async fn network_and_broadcast_and_the_gateway_are_never_leased(store: Store) {
    create(&store, &pool("a", "10.0.0.0/29")).await;
    let expected: BTreeSet<_> = (2..=6).map(|n| ip(&format!("10.0.0.{n}"))).collect();
    assert_eq!(drain(&store, "a").await, expected);
    for never in ["10.0.0.0", "10.0.0.1", "10.0.0.7"] {
        let wanted = wanting("w", &["a"], &[never]);
        assert_invalid(allocate(&store, &wanted).await, &[never]);
    }
    let given = NewPool {
        gateway: Some(Some(ip("10.0.1.4"))),
        ..pool("b", "10.0.1.0/29")
    };
    create(&store, &given).await;
    let expected = [1, 2, 3, 5, 6].map(|n| ip(&format!("10.0.1.{n}")));
    assert_eq!(drain(&store, "b").await, BTreeSet::from(expected));
    create(&store, &pool("c", "10.0.2.0/30")).await;
    let only = BTreeSet::from([ip("10.0.2.2")]);
    assert_eq!(drain(&store, "c").await, only);
}

async fn the_routers_anycast_address_is_never_leased(store: Store) {
    let new = without_gateway("a", "2001:db8::/126");
    create(&store, &new).await;
    let expected = ["2001:db8::1", "2001:db8::2", "2001:db8::3"].map(ip);
    assert_eq!(drain(&store, "a").await, BTreeSet::from(expected));
    let made = create(&store, &pool("b", "2001:db8:0:1::/126")).await;
    assert_eq!(made.gateway, Some(ip("2001:db8:0:1::1")));
    let expected = ["2001:db8:0:1::2", "2001:db8:0:1::3"].map(ip);
    assert_eq!(drain(&store, "b").await, BTreeSet::from(expected));
}

async fn a_gateway_inside_a_range_is_reserved(store: Store) {
    let new = NewPool {
        gateway: Some(Some(ip("10.0.0.12"))),
        ..ranged("a", "10.0.0.0/24", "10.0.0.10", "10.0.0.13")
    };
    let usage = create(&store, &new).await.usage;
    assert_eq!((usage.size, usage.reserved, usage.free), (4, 1, 3));
    let expected = ["10.0.0.10", "10.0.0.11", "10.0.0.13"].map(ip);
    assert_eq!(drain(&store, "a").await, BTreeSet::from(expected));
}

async fn without_a_gateway_the_first_address_is_leased(store: Store) {
    let made = create(&store, &without_gateway("a", "10.0.0.0/30")).await;
    assert_eq!(made.gateway, None);
    let expected = ["10.0.0.1", "10.0.0.2"].map(ip);
    assert_eq!(drain(&store, "a").await, BTreeSet::from(expected));
    let leases = all_leases(&store).await;
    assert!(leases.iter().all(|lease| lease.gateway.is_none()));
}

async fn the_last_address_of_a_48_is_leased_by_name_like_its_first(store: Store) {
    create(&store, &without_gateway("a", "2001:db8::/48")).await;
    let (first, last) = ("2001:db8::1", "2001:db8:0:ffff:ffff:ffff:ffff:ffff");
    let granted = grant(&store, &wanting("c1", &["a"], &[last])).await;
    assert_eq!(addresses(&granted.leases), [ip(last)]);
    let granted = grant(&store, &wanting("c2", &["a"], &[first])).await;
    assert_eq!(addresses(&granted.leases), [ip(first)]);
    for outside in ["2001:db8::", "2001:db8:1::", "2001:db7:ffff:ffff::"] {
        let wanted = wanting("c3", &["a"], &[outside]);
        assert_invalid(allocate(&store, &wanted).await, &[outside]);
    }
    assert_eq!(usage(&store, "a").await.leased, 2);
}

async fn a_huge_pool_counts_exactly(store: Store) {
    let most = (1 << 53) - 1;
    let made = create(&store, &pool("a", "2001:db8::/48")).await;
    let exact = (1_u128 << 80) - 2;
    assert_eq!(made.usage.size_exact, exact.to_string());
    assert_eq!(made.usage.free_exact, exact.to_string());
    assert_eq!((made.usage.size, made.usage.free), (most, most));
    for number in 0..3 {
        lease(&store, &format!("c{number}"), "a").await;
    }
    let usage = usage(&store, "a").await;
    assert_eq!(usage.free_exact, (exact - 3).to_string());
    assert_eq!(usage.leased, 3);
    let v4 = create(&store, &pool("b", "10.0.0.0/8")).await;
    assert_eq!(v4.usage.free, (1 << 24) - 3);
    assert_eq!(v4.usage.free_exact, ((1 << 24) - 3).to_string());
}

async fn the_largest_subnets_are_refused_or_counted(store: Store) {
    for (number, subnet) in ["::/0", "0.0.0.0/0", "::/1", "fc00::/7"].iter().enumerate() {
        let name = format!("p{number}");
        let made = store.create_pool(&pool(&name, subnet)).await;
        match made {
            Ok((made, _)) => {
                assert_ne!(made.pool.usage.free, 0, "{subnet}");
                lease(&store, "c1", &name).await;
                audit(&store).await;
                release(&store, del("c1")).await;
                store.delete_pool(&name, None).await.expect("it is empty");
            }
            Err(error) => assert_invalid::<()>(Err(error), &["subnet", subnet]),
        }
    }
}

async fn wrong_subnets_are_refused_by_name(store: Store) {
    for subnet in ["10.0.0.1/24", "2001:db8::1/64", "10.0.0.128/24"] {
        let made = store.create_pool(&pool("a", subnet)).await;
        assert_invalid(made, &["subnet", subnet]);
    }
    // It would be the same 16 bytes as an IPv4 subnet.
    let mapped = pool("a", "::ffff:10.0.0.0/120");
    assert_invalid(store.create_pool(&mapped).await, &["subnet"]);
}

async fn wrong_ranges_are_refused_by_name(store: Store) {
    for (first, last) in [
        ("10.0.0.20", "10.0.0.10"),
        ("10.0.0.20", "10.0.1.10"),
        ("9.255.255.255", "10.0.0.10"),
        ("10.0.0.10", "2001:db8::1"),
        ("2001:db8::1", "2001:db8::2"),
        ("::ffff:10.0.0.10", "::ffff:10.0.0.20"),
    ] {
        let made = store
            .create_pool(&ranged("a", "10.0.0.0/24", first, last))
            .await;
        assert_invalid(made, &["ranges"]);
    }
    let inverted = ranged("a", "10.0.0.0/24", "10.0.0.20", "10.0.0.10");
    let names = ["10.0.0.20", "10.0.0.10"];
    assert_invalid(store.create_pool(&inverted).await, &names);
    let overlapping = NewPool {
        ranges: Some(vec![
            range("10.0.0.10", "10.0.0.20"),
            range("10.0.0.20", "10.0.0.30"),
        ]),
        ..pool("a", "10.0.0.0/24")
    };
    refused(store.create_pool(&overlapping).await);
    let listed = store.pools(None, &first_page(10)).await.expect("a list");
    assert!(listed.items.is_empty());
}

async fn wrong_exclusions_and_gateways_are_refused_by_name(store: Store) {
    for (exclude, named) in [
        ("10.1.0.0/24", "10.1.0.0"),
        ("2001:db8::/64", "2001:db8::"),
        ("10.0.0.0/8", "10.0.0.0"),
    ] {
        let new = NewPool {
            exclude: vec![exclude.parse().expect("a subnet")],
            ..pool("a", "10.0.0.0/24")
        };
        assert_invalid(store.create_pool(&new).await, &["exclude", named]);
    }
    for gateway in ["10.1.0.1", "2001:db8::1"] {
        let new = NewPool {
            gateway: Some(Some(ip(gateway))),
            ..pool("a", "10.0.0.0/24")
        };
        assert_invalid(store.create_pool(&new).await, &["gateway", gateway]);
    }
}

async fn a_reuse_delay_above_a_year_is_refused(store: Store) {
    let year = 365 * 24 * 3600;
    let long = resting(year + 1, pool("a", "10.0.0.0/24"));
    assert_invalid(store.create_pool(&long).await, &["reuse_delay_s"]);
    create(&store, &resting(year, pool("a", "10.0.0.0/24"))).await;
}
