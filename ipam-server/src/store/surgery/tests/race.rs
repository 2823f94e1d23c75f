//! Claims, releases, changes and tidying at once, from two servers on one PostgreSQL.

use tokio::task::JoinSet;

use super::*;

const ROUNDS: usize = 25;

/// Claims and releases, one after the other; what is excluded or exhausted meanwhile is passed over.
async fn tenant(store: Store, name: String) {
    for round in 0..ROUNDS {
        let container = format!("{name}-{round}");
        match lease(&store, &[(&container, None)]).await.remove(0) {
            Ok(_) => let_go(&store, &[&container]).await,
            Err(Error::PoolExhausted { .. }) => {}
            Err(other) => panic!("{other}"),
        }
    }
}

/// Excludes and puts back; then does the same with a range, as far as leases let it.
async fn admin(store: Store, half: &'static str) {
    for round in 0..ROUNDS {
        let wanted = match round % 4 {
            0 => patch(json!({ "exclude": [half] })),
            1 => patch(json!({ "exclude": [] })),
            2 => patch(json!({ "ranges": [{ "first": "10.0.0.2", "last": "10.0.0.20" }] })),
            _ => patch(json!({ "ranges": null })),
        };
        match store.change_pool("p", &wanted, None).await {
            Ok(_) | Err(Error::PoolInUse { .. }) => {}
            Err(other) => panic!("{other}"),
        }
        assert_eq!(store.audit().await.expect("audited"), [""; 0]);
    }
}

async fn housekeeper(store: Store) {
    for _ in 0..ROUNDS {
        store.tidy(WEEK).await.expect("tidied");
    }
}

#[tokio::test]
async fn claims_and_changes_that_meet_do_each_other_no_harm() {
    let Some(url) = harness::postgres::database() else {
        return;
    };
    let one = Store::open(&url).await.expect("opens");
    let two = Store::open(&url).await.expect("opens");
    create(
        &one,
        json!({ "name": "p", "subnet": "10.0.0.0/26", "reuse_delay_s": 0 }),
    )
    .await;
    let mut tasks = JoinSet::new();
    for number in 0..4 {
        let store = if number % 2 == 0 { &one } else { &two };
        tasks.spawn(tenant(store.clone(), format!("tenant-{number}")));
    }
    tasks.spawn(admin(one.clone(), "10.0.0.0/27"));
    tasks.spawn(admin(two.clone(), "10.0.0.32/27"));
    tasks.spawn(housekeeper(two.clone()));
    tasks.join_all().await;
    store_is_empty(&one).await;
}

async fn store_is_empty(store: &Store) {
    assert_eq!(store.audit().await.expect("audited"), [""; 0]);
    assert_eq!(parts(store).await.1, 0);
    store.delete_pool("p", None).await.expect("deleted");
}

#[tokio::test]
async fn of_two_deletions_at_once_one_is_done_and_no_claim_outlives_it() {
    let Some(url) = harness::postgres::database() else {
        return;
    };
    let one = Store::open(&url).await.expect("opens");
    let two = Store::open(&url).await.expect("opens");
    for round in 0..ROUNDS {
        create(&one, json!({ "name": "p", "subnet": "10.0.0.0/26" })).await;
        let container = format!("c{round}");
        let wanted = [(container.as_str(), None)];
        let drain = patch(json!({ "state": "draining" }));
        let (first, second, leased, _) = tokio::join!(
            one.delete_pool("p", None),
            two.delete_pool("p", None),
            lease(&two, &wanted),
            one.change_pool("p", &drain, None),
        );
        let deleted = [first, second]
            .iter()
            .filter(|answer| answer.is_ok())
            .count();
        assert!(deleted <= 1);
        assert_eq!(one.audit().await.expect("audited"), [""; 0]);
        if leased.into_iter().any(|answer| answer.is_ok()) {
            assert_eq!(deleted, 0, "a pool went from under a lease");
            let_go(&one, &[&container]).await;
        }
        if deleted == 0 {
            one.delete_pool("p", None).await.expect("deleted");
        }
    }
}
