//! Creating, showing and deleting pools.

use std::collections::BTreeMap;

use ipam_api::{Dns, NewPool, PoolPatch, PoolState, Route};
use ipam_server::Error;
use ipam_server::store::{LeaseFilter, Store};

use super::conformance;
use super::support::*;

conformance!(
    a_pool_needs_only_name_and_subnet,
    what_a_pool_was_given_is_shown_and_comes_with_its_addresses,
    the_same_pool_again_is_the_same_and_another_is_refused,
    an_unknown_pool_is_not_found,
    pools_are_listed_by_name_in_pages,
    the_summary_tells_state_and_free_addresses,
    two_pools_share_a_subnet_but_no_address,
    ranges_of_two_pools_may_not_overlap,
    subnets_are_equal_or_apart,
    a_deleted_pool_is_gone_and_its_addresses_can_be_pooled_again,
    a_pool_that_holds_leases_is_not_deleted,
    a_pool_with_resting_addresses_can_be_deleted,
    a_delete_of_another_version_is_stale,
    each_change_of_a_pool_is_remembered,
    a_draining_pool_can_be_created,
);

async fn a_pool_needs_only_name_and_subnet(store: Store) {
    let json = serde_json::json!({"name": "a", "subnet": "10.0.0.0/24"});
    let new: NewPool = serde_json::from_value(json).expect("a pool");
    let made = create(&store, &new).await;
    assert_eq!(made.vrf, "default");
    assert_eq!(made.gateway, Some(ip("10.0.0.1")), "the first usable");
    assert_eq!(made.reuse_delay_s, 60);
    assert_eq!(made.state, PoolState::Ready);
    assert!(made.routes.is_empty(), "a gateway makes no default route");
    assert_eq!(made.usage.free, 253);
    assert_eq!(made.usage.leased, 0);
    assert_eq!(made, store.pool("a").await.expect("the pool").pool);
}

fn rich() -> NewPool {
    NewPool {
        exclude: vec!["10.0.4.0/24".parse().expect("a subnet")],
        gateway: Some(Some(ip("10.0.255.254"))),
        routes: vec![Route {
            dst: "0.0.0.0/0".parse().expect("a subnet"),
            gw: Some(ip("10.0.0.1")),
        }],
        dns: Dns {
            nameservers: vec!["10.0.0.53".to_owned()],
            domain: "example.org".to_owned(),
            search: vec!["a.example.org".to_owned()],
            options: vec!["ndots:2".to_owned()],
        },
        reuse_delay_s: Some(7),
        labels: BTreeMap::from([("team".to_owned(), "blue".to_owned())]),
        ..ranged("a", "10.0.0.0/16", "10.0.0.10", "10.0.255.250")
    }
}

async fn what_a_pool_was_given_is_shown_and_comes_with_its_addresses(store: Store) {
    let new = rich();
    let shown = create(&store, &new).await;
    assert_eq!(shown.subnet, new.subnet);
    assert_eq!(Some(shown.ranges.clone()), new.ranges);
    assert_eq!(shown.exclude, new.exclude);
    assert_eq!(Some(shown.gateway), new.gateway);
    assert_eq!(shown.routes, new.routes);
    assert_eq!(shown.dns, new.dns);
    assert_eq!(shown.labels, new.labels);
    assert_eq!(shown.reuse_delay_s, 7);
    let size = 0xfffa - 0xa + 1;
    assert_eq!(shown.usage.size, size);
    assert_eq!(shown.usage.reserved, 256, "the gateway is outside");
    assert_eq!(shown.usage.free, size - 256);

    let leases = grant(&store, &claim("c1", &["a"])).await.leases;
    let lease = &leases[0];
    assert_eq!(lease.address.prefix(), 16);
    assert_eq!(Some(lease.gateway), new.gateway);
    assert_eq!(lease.routes, new.routes);
    assert_eq!(lease.dns, new.dns);
    assert_eq!((lease.vrf.as_str(), lease.pool.as_str()), ("default", "a"));
    assert_eq!(lease.attachment, key("c1"));
}

async fn the_same_pool_again_is_the_same_and_another_is_refused(store: Store) {
    let new = rich();
    let (first, fresh) = store.create_pool(&new).await.expect("a new pool");
    assert!(fresh);
    lease(&store, "c1", "a").await;
    let (again, fresh) = store.create_pool(&new).await.expect("the same");
    assert!(!fresh);
    assert_eq!(first.version, again.version);
    assert_eq!(again.pool.usage.leased, 1);
    let differing = [
        NewPool {
            exclude: Vec::new(),
            ..new.clone()
        },
        NewPool {
            subnet: "10.9.0.0/16".parse().expect("a subnet"),
            ..pool("a", "10.9.0.0/16")
        },
        NewPool {
            reuse_delay_s: Some(8),
            ..new.clone()
        },
        NewPool {
            gateway: Some(None),
            ..new
        },
    ];
    for other in differing {
        assert_refused!(store.create_pool(&other).await, Error::AlreadyExists(_));
    }
}

async fn an_unknown_pool_is_not_found(store: Store) {
    assert_refused!(store.pool("nope").await, Error::PoolNotFound(name) if name == "nope");
    let patch = PoolPatch::default();
    assert_refused!(
        store.change_pool("nope", &patch, None).await,
        Error::PoolNotFound(_)
    );
    assert_refused!(
        store.try_change_pool("nope", &patch, None).await,
        Error::PoolNotFound(_)
    );
    assert_refused!(
        store.delete_pool("nope", None).await,
        Error::PoolNotFound(_)
    );
    assert_refused!(
        store.try_delete_pool("nope", None).await,
        Error::PoolNotFound(_)
    );
    let unknown = claim("c1", &["nope"]);
    assert_refused!(allocate(&store, &unknown).await, Error::PoolNotFound(name) if name == "nope");
}

async fn pools_are_listed_by_name_in_pages(store: Store) {
    for number in [3, 1, 5, 2, 4] {
        create(
            &store,
            &pool(&format!("p{number}"), &format!("10.{number}.0.0/24")),
        )
        .await;
    }
    let pages = every_page(2, async |cursor| store.pools(None, cursor).await).await;
    let names: Vec<Vec<_>> = pages
        .iter()
        .map(|page| page.iter().map(|pool| pool.name.as_str()).collect())
        .collect();
    assert_eq!(names.concat(), ["p1", "p2", "p3", "p4", "p5"]);
    assert!(pages[..2].iter().all(|page| page.len() == 2));
}

async fn the_summary_tells_state_and_free_addresses(store: Store) {
    create(&store, &pool("a", "10.0.0.0/29")).await;
    create(&store, &resting(60, pool("b", "10.1.0.0/29"))).await;
    create(&store, &pool("huge", "2001:db8::/48")).await;
    lease(&store, "c1", "a").await;
    lease(&store, "c2", "b").await;
    release(&store, del("c2")).await;
    let state = Some(PoolState::Disabled);
    change(
        &store,
        "a",
        PoolPatch {
            state,
            ..PoolPatch::default()
        },
    )
    .await;
    let mut summary = store.summary().await.expect("a summary");
    summary.sort_by(|one, other| one.name.cmp(&other.name));
    let seen: Vec<_> = summary
        .iter()
        .map(|pool| (pool.name.as_str(), pool.state, pool.free))
        .collect();
    let expected = [
        ("a", PoolState::Disabled, 4),
        ("b", PoolState::Ready, 4),
        ("huge", PoolState::Ready, (1 << 53) - 1),
    ];
    assert_eq!(seen, expected);
}

async fn two_pools_share_a_subnet_but_no_address(store: Store) {
    create(
        &store,
        &ranged("a", "10.0.0.0/24", "10.0.0.10", "10.0.0.11"),
    )
    .await;
    create(
        &store,
        &ranged("b", "10.0.0.0/24", "10.0.0.12", "10.0.0.13"),
    )
    .await;
    let leases = grant(&store, &claim("c1", &["a", "a", "b", "b"]))
        .await
        .leases;
    let mut leased = addresses(&leases);
    leased.sort();
    let all = ["10.0.0.10", "10.0.0.11", "10.0.0.12", "10.0.0.13"];
    assert_eq!(leased, all.map(ip));
    assert_eq!(usage(&store, "a").await.free, 0);
    assert_eq!(usage(&store, "b").await.free, 0);
}

async fn ranges_of_two_pools_may_not_overlap(store: Store) {
    create(
        &store,
        &ranged("a", "10.0.0.0/24", "10.0.0.10", "10.0.0.20"),
    )
    .await;
    for (first, last) in [
        ("10.0.0.20", "10.0.0.30"),
        ("10.0.0.2", "10.0.0.10"),
        ("10.0.0.12", "10.0.0.13"),
        ("10.0.0.10", "10.0.0.20"),
        ("10.0.0.2", "10.0.0.200"),
    ] {
        let new = ranged("b", "10.0.0.0/24", first, last);
        let error = refused(store.create_pool(&new).await);
        assert!(matches!(error, Error::RangesOverlap(_)), "{error:?}");
        let text = error.to_string();
        assert!(text.contains("\"a\"") || text.contains("10.0.0."), "{text}");
    }
    let whole = pool("b", "10.0.0.0/24");
    assert_refused!(store.create_pool(&whole).await, Error::RangesOverlap(_));
    create(
        &store,
        &ranged("b", "10.0.0.0/24", "10.0.0.21", "10.0.0.30"),
    )
    .await;
    create(&store, &ranged("c", "10.0.0.0/24", "10.0.0.2", "10.0.0.9")).await;
}

async fn subnets_are_equal_or_apart(store: Store) {
    create(
        &store,
        &ranged("a", "10.0.16.0/20", "10.0.16.10", "10.0.16.20"),
    )
    .await;
    for (subnet, first, last) in [
        ("10.0.0.0/16", "10.0.200.1", "10.0.200.2"),
        ("10.0.17.0/24", "10.0.17.1", "10.0.17.2"),
        ("10.0.31.0/24", "10.0.31.1", "10.0.31.2"),
        ("10.0.16.0/21", "10.0.17.1", "10.0.17.2"),
        ("10.0.0.0/8", "10.200.0.1", "10.200.0.2"),
    ] {
        let new = ranged("b", subnet, first, last);
        let error = refused(store.create_pool(&new).await);
        assert!(
            matches!(error, Error::RangesOverlap(_)),
            "{subnet}: {error:?}"
        );
    }
    for (name, subnet) in [("below", "10.0.0.0/20"), ("above", "10.0.32.0/20")] {
        create(&store, &pool(name, subnet)).await;
    }
    create(&store, &pool("six", "2001:db8::/48")).await;
    let nested = pool("seven", "2001:db8:0:8000::/64");
    assert_refused!(store.create_pool(&nested).await, Error::RangesOverlap(_));
}

async fn a_deleted_pool_is_gone_and_its_addresses_can_be_pooled_again(store: Store) {
    create(&store, &pool("a", "10.0.0.0/24")).await;
    let first = lease(&store, "c1", "a").await;
    release(&store, del("c1")).await;
    store.delete_pool("a", None).await.expect("it is empty");
    assert_refused!(store.pool("a").await, Error::PoolNotFound(_));
    assert_refused!(store.delete_pool("a", None).await, Error::PoolNotFound(_));
    let listed = store.pools(None, &first_page(10)).await.expect("a list");
    assert!(listed.items.is_empty());
    assert!(store.summary().await.expect("a summary").is_empty());
    audit(&store).await;
    create(&store, &pool("b", "10.0.0.0/16")).await;
    let wanted = wanting("c2", &["b"], &[&first.to_string()]);
    assert_eq!(addresses(&grant(&store, &wanted).await.leases), [first]);
    release(&store, del("c2")).await;
    store.delete_pool("b", None).await.expect("it is empty");
    create(&store, &pool("a", "10.0.0.0/24")).await;
}

async fn a_pool_that_holds_leases_is_not_deleted(store: Store) {
    create(&store, &pool("a", "10.0.0.0/24")).await;
    let address = lease(&store, "c1", "a").await;
    lease(&store, "c2", "a").await;
    let error = refused(store.delete_pool("a", None).await);
    assert!(
        matches!(&error, Error::PoolInUse { total: 2, .. }),
        "{error:?}"
    );
    assert!(error.to_string().contains(&address.to_string()), "{error}");
    let dry = store.try_delete_pool("a", None).await.expect("a dry run");
    assert!(!dry.possible);
    assert_eq!(dry.leases_in_the_way_total, 2);
    assert_eq!(dry.leases_in_the_way.len(), 2);
    lease(&store, "c3", "a").await;
    for container in ["c1", "c2", "c3"] {
        release(&store, del(container)).await;
    }
    let dry = store.try_delete_pool("a", None).await.expect("a dry run");
    assert!(dry.possible && dry.leases_in_the_way.is_empty());
    assert_eq!(
        usage(&store, "a").await.leased,
        0,
        "a dry run changes nothing"
    );
    store.delete_pool("a", None).await.expect("it is empty");
}

async fn a_pool_with_resting_addresses_can_be_deleted(store: Store) {
    create(&store, &resting(3600, pool("a", "10.0.0.0/24"))).await;
    for number in 0..10 {
        lease(&store, &format!("c{number}"), "a").await;
    }
    for number in 0..10 {
        release(&store, del(&format!("c{number}"))).await;
    }
    assert_eq!(usage(&store, "a").await.cooling, 10);
    store.delete_pool("a", None).await.expect("it is empty");
    let leases = store.leases(&LeaseFilter::default(), &first_page(10)).await;
    assert!(leases.expect("a list").items.is_empty());
}

async fn a_delete_of_another_version_is_stale(store: Store) {
    create(&store, &pool("a", "10.0.0.0/24")).await;
    let version = store.pool("a").await.expect("the pool").version;
    let other = Some(version + 1);
    assert_refused!(store.delete_pool("a", other).await, Error::Stale { present, .. } if present == version);
    assert_refused!(store.try_delete_pool("a", other).await, Error::Stale { .. });
    store.delete_pool("a", Some(version)).await.expect("fits");
}

async fn each_change_of_a_pool_is_remembered(store: Store) {
    create(&store, &pool("a", "10.0.0.0/24")).await;
    for delay in [5, 6] {
        let reuse_delay_s = Some(delay);
        change(
            &store,
            "a",
            PoolPatch {
                reuse_delay_s,
                ..PoolPatch::default()
            },
        )
        .await;
    }
    store.delete_pool("a", None).await.expect("it is empty");
    let pages = every_page(2, async |cursor| store.pool_changes("a", cursor).await).await;
    let changes = pages.concat();
    let actions: Vec<_> = changes
        .iter()
        .map(|change| change.action.as_str())
        .collect();
    assert_eq!(actions, ["delete", "change", "change", "create"]);
    let delays: Vec<_> = changes
        .iter()
        .map(|change| change.settings["reuse_delay_s"].as_u64())
        .collect();
    assert_eq!(delays, [Some(6), Some(6), Some(5), Some(0)]);
    assert!(changes.windows(2).all(|pair| pair[0].at >= pair[1].at));
    assert!(changes.iter().all(|change| change.pool == "a"));
}

async fn a_draining_pool_can_be_created(store: Store) {
    for (name, subnet, state) in [
        ("a", "10.0.0.0/24", PoolState::Draining),
        ("b", "10.1.0.0/24", PoolState::Disabled),
    ] {
        let new = NewPool {
            state,
            ..pool(name, subnet)
        };
        assert_eq!(create(&store, &new).await.state, state);
        let refused = allocate(&store, &claim("c1", &[name])).await;
        assert_refused!(refused, Error::PoolExhausted { .. });
    }
}
