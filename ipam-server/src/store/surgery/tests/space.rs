//! What is taken out of free space, and what is put in.

use serde_json::json;

use super::*;

#[test]
fn a_range_does_not_go_from_under_a_lease_but_an_exclusion_may_cover_it() {
    on_both(async |store: Store| {
        create(
            &store,
            json!({ "name": "p", "subnet": "10.0.0.0/24", "reuse_delay_s": 0,
            "ranges": [{ "first": "10.0.0.10", "last": "10.0.0.19" }] }),
        )
        .await;
        hold(&store, "10.0.0.12").await;
        hold(&store, "10.0.0.17").await;

        let smaller = patch(json!({ "ranges": [{ "first": "10.0.0.15", "last": "10.0.0.19" }] }));
        let error = store
            .change_pool("p", &smaller, None)
            .await
            .expect_err("in use");
        let text = error.to_string();
        assert!(matches!(error, Error::PoolInUse { total: 1, .. }), "{text}");
        assert!(
            text.contains("10.0.0.12 held by default/node-1/net/10.0.0.12/eth0"),
            "{text}"
        );
        let dry = store
            .try_change_pool("p", &smaller, None)
            .await
            .expect("tried");
        assert!(!dry.possible && dry.pool.is_none());
        assert_eq!(
            (dry.leases_in_the_way_total, dry.leases_in_the_way.len()),
            (1, 1)
        );

        let cover = patch(json!({ "exclude": ["10.0.0.12/30"] }));
        store.change_pool("p", &cover, None).await.expect("changed");
        assert_eq!(parts(&store).await, (5, 2, 0, 3));
        assert_eq!(store.audit().await.expect("audited"), [""; 0]);
        let_go(&store, &["10.0.0.12"]).await;
        assert_eq!(parts(&store).await, (5, 1, 0, 4));
        // Nothing is in the way now, and the other lease is outside of what goes.
        store
            .change_pool("p", &smaller, None)
            .await
            .expect("changed");
        assert_eq!(parts(&store).await, (3, 1, 0, 1));
    });
}

#[test]
fn an_exclusion_that_goes_again_gives_back_neither_leased_nor_resting_addresses() {
    on_both(async |store: Store| {
        create(
            &store,
            json!({ "name": "p", "subnet": "10.0.0.0/28", "reuse_delay_s": 3600 }),
        )
        .await;
        for address in ["10.0.0.4", "10.0.0.5", "10.0.0.6"] {
            hold(&store, address).await;
        }
        let_go(&store, &["10.0.0.4"]).await;
        let cover = patch(json!({ "exclude": ["10.0.0.4/30"] }));
        store.change_pool("p", &cover, None).await.expect("changed");
        // The resting .4 went, and .5, released under the exclusion, does not come back to free space by itself.
        let_go(&store, &["10.0.0.5"]).await;
        assert_eq!(parts(&store).await, (9, 1, 0, 3));
        assert_eq!(store.audit().await.expect("audited"), [""; 0]);

        store
            .change_pool("p", &patch(json!({ "exclude": [] })), None)
            .await
            .expect("changed");
        assert_eq!(parts(&store).await, (10, 1, 2, 0));
        let free = drain(&store).await;
        assert_eq!(free.len(), 10);
        for address in ["10.0.0.4", "10.0.0.5", "10.0.0.6"] {
            assert!(!free.iter().any(|leased| leased == address), "{address}");
        }
        // They rest; wanted, they are given.
        hold(&store, "10.0.0.5").await;
        let_go(&store, &["10.0.0.6"]).await;
        assert_eq!(parts(&store).await, (0, 11, 2, 0));
    });
}

#[test]
fn thousands_of_exclusions_are_cut_out_of_one_interval_and_put_back() {
    on_both(async |store: Store| {
        create(
            &store,
            json!({ "name": "p", "subnet": "fd00::/48", "gateway": null, "reuse_delay_s": 0 }),
        )
        .await;
        let exclude: Vec<_> = (1..=4096)
            .map(|number| format!("fd00::{:x}", number * 2))
            .collect();
        let cut = patch(json!({ "exclude": exclude }));
        store.change_pool("p", &cut, None).await.expect("changed");
        assert_eq!(store.audit().await.expect("audited"), [""; 0]);
        let leased = lease(&store, &[("a", None), ("b", None), ("c", None)]).await;
        let leased: Vec<_> = leased.into_iter().map(|one| one.expect("leased")).collect();
        assert_eq!(leased, ["fd00::1", "fd00::3", "fd00::5"]);
        store
            .change_pool("p", &patch(json!({ "exclude": [] })), None)
            .await
            .expect("changed");
        // What came back lies below where the last pick ended, and is found.
        assert_eq!(
            lease(&store, &[("d", None)])
                .await
                .remove(0)
                .expect("leased"),
            "fd00::2"
        );
    });
}

#[test]
fn ranges_are_added_and_taken_away() {
    on_both(async |store: Store| {
        create(
            &store,
            json!({ "name": "p", "subnet": "10.0.0.0/24", "reuse_delay_s": 0,
            "ranges": [{ "first": "10.0.0.100", "last": "10.0.0.103" }] }),
        )
        .await;
        assert_eq!(drain(&store).await.len(), 4);
        let wider = patch(
            json!({ "ranges": [{ "first": "10.0.0.50", "last": "10.0.0.51" },
            { "first": "10.0.0.100", "last": "10.0.0.104" }] }),
        );
        store.change_pool("p", &wider, None).await.expect("changed");
        for (container, address) in [("x", "10.0.0.50"), ("y", "10.0.0.51"), ("z", "10.0.0.104")] {
            let leased = lease(&store, &[(container, None)]).await.remove(0);
            assert_eq!(leased.expect("leased"), address);
        }
        let_go(&store, &["x", "y"]).await;
        let narrower =
            patch(json!({ "ranges": [{ "first": "10.0.0.100", "last": "10.0.0.104" }] }));
        store
            .change_pool("p", &narrower, None)
            .await
            .expect("changed");
        assert_eq!(parts(&store).await, (0, 5, 0, 0));
        let all = patch(json!({ "ranges": null }));
        store.change_pool("p", &all, None).await.expect("changed");
        assert_eq!(parts(&store).await, (248, 5, 0, 0));
    });
}

#[test]
fn a_pool_without_ranges_has_others_when_its_gateway_moves() {
    on_both(async |store: Store| {
        create(
            &store,
            json!({ "name": "p", "subnet": "10.0.0.0/29", "reuse_delay_s": 0 }),
        )
        .await;
        hold(&store, "10.0.0.2").await;
        let on_lease = patch(json!({ "gateway": "10.0.0.2" }));
        let error = store
            .change_pool("p", &on_lease, None)
            .await
            .expect_err("leased");
        assert!(
            matches!(error, Error::PoolInUse { total: 1, .. }),
            "{error}"
        );

        let moved = patch(json!({ "gateway": "10.0.0.6" }));
        let shown = store
            .change_pool("p", &moved, None)
            .await
            .expect("changed")
            .pool;
        assert_eq!(shown.ranges.len(), 1);
        assert_eq!(shown.ranges[0].first.to_string(), "10.0.0.1");
        assert_eq!(shown.ranges[0].last.to_string(), "10.0.0.5");
        assert_eq!(
            drain(&store).await,
            ["10.0.0.1", "10.0.0.3", "10.0.0.4", "10.0.0.5"]
        );
    });
}

#[test]
fn ranges_of_a_vrf_stay_apart_when_they_change() {
    on_both(async |store: Store| {
        let half = |name, first, last| {
            json!({ "name": name, "subnet": "10.0.0.0/24",
            "ranges": [{ "first": first, "last": last }] })
        };
        create(&store, half("p", "10.0.0.1", "10.0.0.99")).await;
        create(&store, half("q", "10.0.0.100", "10.0.0.200")).await;
        let over = patch(json!({ "ranges": [{ "first": "10.0.0.1", "last": "10.0.0.100" }] }));
        let error = store
            .change_pool("p", &over, None)
            .await
            .expect_err("overlaps");
        let text = error.to_string();
        assert!(matches!(error, Error::RangesOverlap(_)), "{text}");
        assert!(
            text.contains("10.0.0.1-10.0.0.100 of pool \"p\"") && text.contains("pool \"q\""),
            "{text}"
        );
        assert_eq!(store.audit().await.expect("audited"), [""; 0]);
        store.delete_pool("q", None).await.expect("deleted");
        store.change_pool("p", &over, None).await.expect("changed");
    });
}
