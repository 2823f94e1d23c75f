//! Who held an address, and when.

use std::net::IpAddr;
use std::time::Duration;

use ipam_api::HistoryEntry;
use ipam_server::Error;
use ipam_server::store::Store;
use time::OffsetDateTime;

use super::conformance;
use super::support::*;

conformance!(
    the_holders_are_told_the_latest_first,
    the_holder_at_a_time_is_told,
    an_address_that_nobody_held_has_no_history,
    the_history_is_paged,
    histories_of_two_vrfs_are_apart,
    the_history_outlives_its_pool,
    what_is_older_than_it_is_kept_is_pruned,
);

async fn past(store: &Store, address: IpAddr, at: Option<OffsetDateTime>) -> Vec<HistoryEntry> {
    let page = store
        .history("default", address, at, &first_page(100))
        .await;
    page.expect("a history").items
}

/// Holds the one address of pool `a` in turn.
async fn tenants(store: &Store, count: usize) -> IpAddr {
    create(store, &pool("a", "10.0.0.0/30")).await;
    for number in 0..count {
        lease(store, &format!("c{number}"), "a").await;
        pass(Duration::from_millis(2)).await;
        release(store, del(&format!("c{number}"))).await;
        pass(Duration::from_millis(2)).await;
    }
    ip("10.0.0.2")
}

fn containers(entries: &[HistoryEntry]) -> Vec<&str> {
    let ids = entries
        .iter()
        .map(|entry| entry.attachment.container_id.as_str());
    ids.collect()
}

async fn the_holders_are_told_the_latest_first(store: Store) {
    let address = tenants(&store, 3).await;
    lease(&store, "now", "a").await;
    let entries = past(&store, address, None).await;
    assert_eq!(containers(&entries), ["now", "c2", "c1", "c0"]);
    let present = &entries[0];
    assert_eq!(
        (present.released_at, present.reason.as_deref()),
        (None, None)
    );
    assert_eq!(present.lease_id, all_leases(&store).await[0].id);
    for entry in &entries {
        assert_eq!((entry.vrf.as_str(), entry.pool.as_str()), ("default", "a"));
        assert_eq!(entry.address, address);
        assert_eq!(entry.attachment.node, "n1");
    }
    for past in &entries[1..] {
        assert_eq!(past.reason.as_deref(), Some("release"));
        assert!(past.released_at.expect("it is over") >= past.created_at);
    }
    for pair in entries.windows(2) {
        let before = pair[1].released_at.expect("it is over");
        assert!(before <= pair[0].created_at, "no two hold it at once");
    }
}

async fn the_holder_at_a_time_is_told(store: Store) {
    let address = tenants(&store, 3).await;
    lease(&store, "now", "a").await;
    let entries = past(&store, address, None).await;
    for entry in &entries {
        let from = entry.created_at;
        assert_eq!(
            containers(&past(&store, address, Some(from)).await),
            containers(std::slice::from_ref(entry))
        );
        let Some(until) = entry.released_at else {
            continue;
        };
        let middle = from + (until - from) / 2;
        let holder = past(&store, address, Some(middle)).await;
        assert_eq!(holder, std::slice::from_ref(entry));
        // Between two tenants.
        assert!(
            past(&store, address, Some(until + Duration::from_millis(1)))
                .await
                .is_empty()
        );
    }
    let first = entries.last().expect("a first tenant").created_at;
    assert!(
        past(&store, address, Some(first - Duration::from_secs(1)))
            .await
            .is_empty()
    );
    assert!(
        past(&store, address, Some(OffsetDateTime::UNIX_EPOCH))
            .await
            .is_empty()
    );
    let later = OffsetDateTime::now_utc() + Duration::from_secs(60);
    assert_eq!(
        containers(&past(&store, address, Some(later)).await),
        ["now"]
    );
}

async fn an_address_that_nobody_held_has_no_history(store: Store) {
    tenants(&store, 1).await;
    assert!(past(&store, ip("10.0.0.3"), None).await.is_empty());
    assert!(past(&store, ip("2001:db8::1"), None).await.is_empty());
    let unknown = store
        .history("nowhere", ip("10.0.0.2"), None, &first_page(1))
        .await;
    assert_refused!(unknown, Error::VrfNotFound(name) if name == "nowhere");
}

async fn the_history_is_paged(store: Store) {
    let address = tenants(&store, 5).await;
    lease(&store, "now", "a").await;
    for limit in [1, 2, 6, 7] {
        let pages = every_page(limit, async |cursor| {
            store.history("default", address, None, cursor).await
        })
        .await;
        assert!(pages.iter().all(|page| page.len() <= limit as usize));
        assert_eq!(
            containers(&pages.concat()),
            ["now", "c4", "c3", "c2", "c1", "c0"]
        );
    }
}

async fn histories_of_two_vrfs_are_apart(store: Store) {
    let address = tenants(&store, 1).await;
    store.create_vrf("blue").await.expect("a vrf");
    let blue = store.history("blue", address, None, &first_page(10)).await;
    assert!(blue.expect("a history").items.is_empty());
}

async fn the_history_outlives_its_pool(store: Store) {
    let address = tenants(&store, 1).await;
    store.delete_pool("a", None).await.expect("it is empty");
    assert_eq!(containers(&past(&store, address, None).await), ["c0"]);
}

async fn what_is_older_than_it_is_kept_is_pruned(store: Store) {
    let address = tenants(&store, 3).await;
    lease(&store, "now", "a").await;
    while store.tidy(Duration::from_secs(3600)).await.expect("tidy") {}
    assert_eq!(
        past(&store, address, None).await.len(),
        4,
        "all of it is young"
    );
    while store.tidy(Duration::ZERO).await.expect("tidy") {}
    assert_eq!(containers(&past(&store, address, None).await), ["now"]);
}
