//! A crash between the transactions of a change or a deletion.

use ipam_api::NewPool;
use serde_json::json;

use super::super::{change, delete};
use super::*;

#[test]
fn a_crash_between_a_change_and_its_removals_leaves_a_right_pool_and_tidy_ends_it() {
    on_both(async |store: Store| {
        with_returned(&store, 0).await;
        let wanted = patch(json!({ "exclude": ["10.0.0.0/27"] }));
        assert!(first_step!(&store, change, "p", &wanted, None).expect("changed"));
        assert_eq!(parts(&store).await, (254 - 31, 0, 0, 31));
        assert_eq!(store.audit().await.expect("audited"), [""; 0]);
        let refused = lease(&store, &[("c", Some("10.0.0.7"))]).await.remove(0);
        assert!(matches!(refused, Err(Error::Invalid(_))), "{refused:?}");
        while store.tidy(WEEK).await.expect("tidied") {}
        assert_eq!(store.audit().await.expect("audited"), [""; 0]);
        let rest = drain(&store).await;
        assert_eq!(rest.len(), 223);
        assert!(
            rest.iter()
                .all(|address| !address.ends_with(".31") && !address.ends_with(".7"))
        );
    });
}

#[test]
fn without_tidy_what_is_on_its_way_out_is_not_leased_either() {
    on_both(async |store: Store| {
        with_returned(&store, 0).await;
        let wanted = patch(json!({ "exclude": ["10.0.0.0/27"] }));
        assert!(first_step!(&store, change, "p", &wanted, None).expect("changed"));
        assert_eq!(drain(&store).await.len(), 223);
    });
}

#[test]
fn a_change_that_meets_removals_under_way_ends_them_first() {
    on_both(async |store: Store| {
        with_returned(&store, 0).await;
        let wanted = patch(json!({ "exclude": ["10.0.0.0/27"] }));
        assert!(first_step!(&store, change, "p", &wanted, None).expect("changed"));
        let back = patch(json!({ "exclude": [] }));
        store.change_pool("p", &back, None).await.expect("changed");
        assert_eq!(parts(&store).await, (254, 0, 0, 0));
        assert_eq!(drain(&store).await.len(), 254);
    });
}

#[test]
fn removals_go_in_chunks() {
    on_both(async |store: Store| {
        create(
            &store,
            json!({ "name": "p", "subnet": "10.0.0.0/16", "reuse_delay_s": 0 }),
        )
        .await;
        let names: Vec<_> = (0..6_000).map(|number| format!("c{number}")).collect();
        for names in names.chunks(1000) {
            let claims: Vec<_> = names.iter().map(|name| (name.as_str(), None)).collect();
            assert!(lease(&store, &claims).await.iter().all(Result::is_ok));
        }
        for names in names.chunks(1000) {
            let names: Vec<_> = names.iter().map(String::as_str).collect();
            let_go(&store, &names).await;
        }
        let wanted = patch(json!({ "exclude": ["10.0.0.0/17"] }));
        assert!(first_step!(&store, change, "p", &wanted, None).expect("changed"));
        assert_eq!(store.audit().await.expect("audited"), [""; 0]);
        assert!(
            store.tidy(WEEK).await.expect("tidied"),
            "one chunk is not all"
        );
        assert_eq!(store.audit().await.expect("audited"), [""; 0]);
        assert!(!store.tidy(WEEK).await.expect("tidied"), "two chunks are");
    });
}

#[test]
fn a_pool_holding_leases_is_not_deleted() {
    on_both(async |store: Store| {
        with_returned(&store, 0).await;
        hold(&store, "10.0.0.9").await;
        let error = store.delete_pool("p", None).await.expect_err("in use");
        let text = error.to_string();
        assert!(matches!(error, Error::PoolInUse { total: 1, .. }), "{text}");
        assert!(
            text.contains("10.0.0.9 held by default/node-1/net/10.0.0.9/eth0"),
            "{text}"
        );
        let_go(&store, &["10.0.0.9"]).await;
        store.delete_pool("p", None).await.expect("deleted");
        let error = store.pool("p").await.expect_err("gone");
        assert!(matches!(error, Error::PoolNotFound(_)), "{error}");
        let changes = store
            .pool_changes("p", &PAGE)
            .await
            .expect("its past stays")
            .items;
        let actions: Vec<_> = changes
            .iter()
            .map(|change| change.action.as_str())
            .collect();
        assert_eq!(actions, ["delete", "create"]);
        assert_eq!(changes[0].settings, changes[1].settings);
    });
}

#[test]
fn a_crash_in_a_deletion_leaves_nothing_to_see_and_tidy_ends_it() {
    on_both(async |store: Store| {
        with_returned(&store, 0).await;
        assert!(first_step!(&store, delete, "p", None).expect("deleted"));
        let again = json!({ "name": "p", "subnet": "10.0.0.0/24" });
        let again: NewPool = serde_json::from_value(again).expect("well-formed");

        assert_eq!(store.pools(None, &PAGE).await.expect("listed").items, []);
        assert_eq!(store.summary().await.expect("summed up"), []);
        assert!(matches!(store.pool("p").await, Err(Error::PoolNotFound(_))));
        let nothing = patch(json!({}));
        let changed = store.change_pool("p", &nothing, None).await;
        assert!(
            matches!(changed, Err(Error::PoolNotFound(_))),
            "{changed:?}"
        );
        let deleted = store.delete_pool("p", None).await;
        assert!(
            matches!(deleted, Err(Error::PoolNotFound(_))),
            "{deleted:?}"
        );
        let leased = lease(&store, &[("c", None)]).await.remove(0);
        assert!(leased.is_err(), "{leased:?}");
        let created = store
            .create_pool(&again)
            .await
            .expect_err("the name is taken");
        assert!(
            created.to_string().contains("is being deleted"),
            "{created}"
        );

        while store.tidy(WEEK).await.expect("tidied") {}
        store.create_pool(&again).await.expect("created");
        // What was released a moment ago rests in the new pool too.
        assert_eq!(parts(&store).await, (214, 0, 39, 0));
    });
}
