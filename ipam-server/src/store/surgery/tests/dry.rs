//! Dry runs, versions, and changes that change nothing.

use serde_json::json;

use super::*;

#[test]
fn a_dry_run_tells_what_the_change_does_and_does_nothing() {
    on_both(async |store: Store| {
        with_returned(&store, 3600).await;
        hold(&store, "10.0.0.3").await;
        let before = store.pool("p").await.expect("there");
        let wanted = patch(json!({ "exclude": ["10.0.0.0/28"], "state": "draining" }));
        let dry = store
            .try_change_pool("p", &wanted, None)
            .await
            .expect("tried");
        assert!(dry.possible);
        assert_eq!(store.pool("p").await.expect("there"), before);
        assert_eq!(store.audit().await.expect("audited"), [""; 0]);

        let told = dry.pool.expect("told");
        let done = store
            .change_pool("p", &wanted, None)
            .await
            .expect("changed")
            .pool;
        assert_eq!(told.usage, done.usage);
        assert_eq!((told.exclude, told.state), (done.exclude, done.state));
        assert_eq!(
            store
                .pool_changes("p", &PAGE)
                .await
                .expect("listed")
                .items
                .len(),
            2
        );

        let dry = store.try_delete_pool("p", None).await.expect("tried");
        assert!(!dry.possible);
        assert_eq!(dry.leases_in_the_way[0].attachment.container_id, "10.0.0.3");
    });
}

#[test]
fn a_patch_that_changes_nothing_makes_no_version() {
    on_both(async |store: Store| {
        with_returned(&store, 0).await;
        let before = store.pool("p").await.expect("there");
        let same =
            patch(json!({ "exclude": [], "gateway": null, "ranges": null, "state": "ready" }));
        let after = store
            .change_pool("p", &same, Some(before.version))
            .await
            .expect("same");
        assert_eq!(after, before);
        assert_eq!(
            store
                .pool_changes("p", &PAGE)
                .await
                .expect("listed")
                .items
                .len(),
            1
        );
    });
}

#[test]
fn a_change_of_a_version_that_is_gone_is_refused() {
    on_both(async |store: Store| {
        with_returned(&store, 0).await;
        let drain = patch(json!({ "state": "draining" }));
        let changed = store
            .change_pool("p", &drain, Some(1))
            .await
            .expect("changed");
        assert_eq!(changed.version, 2);
        let ready = patch(json!({ "state": "ready" }));
        let stale = [
            store.change_pool("p", &ready, Some(1)).await.map(drop),
            store.try_change_pool("p", &ready, Some(1)).await.map(drop),
            store.delete_pool("p", Some(1)).await,
            store.try_delete_pool("p", Some(1)).await.map(drop),
        ];
        for answer in stale {
            assert!(
                matches!(answer, Err(Error::Stale { present: 2, .. })),
                "{answer:?}"
            );
        }
    });
}

#[test]
fn a_drained_pool_leases_nothing_new_and_keeps_what_it_leased() {
    on_both(async |store: Store| {
        with_returned(&store, 0).await;
        hold(&store, "10.0.0.3").await;
        for state in ["draining", "disabled"] {
            let patch = patch(json!({ "state": state }));
            store.change_pool("p", &patch, None).await.expect("changed");
            let refused = lease(&store, &[("c", None)]).await.remove(0);
            assert!(
                matches!(refused, Err(Error::PoolExhausted { .. })),
                "{refused:?}"
            );
        }
        assert_eq!(parts(&store).await, (253, 1, 0, 0));
    });
}
