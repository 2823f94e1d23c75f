//! Address spaces and pools.

use ipam_api::Dns;
use sqlx::types::Json;

use super::{NOW, addr};
use crate::store::rows::{IntervalRow, PoolRow};
use crate::store::statements::PoolStatements;

pub(super) async fn vrfs<T: PoolStatements>(tx: &mut T) -> i64 {
    let clock = tx.wall_clock().await.expect("reads");
    assert!(clock > NOW, "{clock:?}");
    assert!(tx.insert_vrf("exercise", NOW).await.expect("inserts"));
    assert!(!tx.insert_vrf("exercise", NOW).await.expect("passes"));
    let names = tx.vrf_names("default", 9).await.expect("reads");
    assert_eq!(names, ["exercise"]);
    let vrf_id = tx.vrf_id("exercise").await.expect("reads");
    assert_eq!(tx.lock_vrf("exercise").await.expect("locks"), vrf_id);
    assert_eq!(tx.lock_vrf("absent").await.expect("passes"), None);
    vrf_id.expect("is there")
}

pub(super) async fn pools<T: PoolStatements>(tx: &mut T, vrf_id: i64) -> PoolRow {
    let mut pool = PoolRow {
        id: 0,
        name: "exercise".to_owned(),
        vrf_id,
        vrf: "exercise".to_owned(),
        subnet_first: addr("10.9.0.0"),
        subnet_last: addr("10.9.255.255"),
        prefix_len: 16,
        gateway: Some(addr("10.9.0.1")),
        ranges: None,
        exclude: Json(vec!["10.9.4.0/24".parse().expect("a network")]),
        routes: Json(Vec::new()),
        dns: Json(Dns::default()),
        labels: Json([("team".to_owned(), "a".to_owned())].into()),
        reuse_delay_s: 60,
        state: "deleting".to_owned(),
        version: 1,
        created_at: NOW,
        updated_at: NOW,
    };
    pool.id = tx.insert_pool(&pool).await.expect("inserts");
    let deleting = tx.pools_deleting().await.expect("reads");
    assert!(deleting.iter().any(|found| found.id == pool.id));
    let shown = tx.list_pools(Some(vrf_id), "", 9).await.expect("reads");
    assert_eq!(shown.len(), 0, "a pool that goes is not listed");
    pool.state = "ready".to_owned();
    pool.version = 2;
    pool.gateway = None;
    tx.update_pool(&pool).await.expect("updates");
    for found in [
        tx.pools_by_name(&["exercise".to_owned(), "absent".to_owned()])
            .await
            .expect("reads"),
        tx.pools_by_id(&[pool.id, -1]).await.expect("reads"),
        tx.list_pools(Some(vrf_id), "exercisd", 9)
            .await
            .expect("reads"),
        tx.list_pools(None, "exercisd", 1).await.expect("reads"),
    ] {
        assert_eq!(format!("{found:?}"), format!("{:?}", [&pool]));
    }
    let settings = serde_json::json!({"state": "ready"});
    for action in ["create", "change"] {
        tx.insert_pool_change("exercise", NOW, action, &settings)
            .await
            .expect("inserts");
    }
    let changes = tx
        .pool_changes("exercise", i64::MAX, 9)
        .await
        .expect("reads");
    let actions: Vec<_> = changes
        .iter()
        .map(|change| change.action.as_str())
        .collect();
    assert_eq!(actions, ["change", "create"]);
    assert_eq!(changes[0].settings.0, settings);
    let rest = tx
        .pool_changes("exercise", changes[0].id, 9)
        .await
        .expect("reads");
    assert_eq!(rest.len(), 1);
    pool
}

pub(super) async fn ranges<T: PoolStatements>(tx: &mut T, pool: &PoolRow) {
    let range = |first, last| IntervalRow {
        pool_id: pool.id,
        first: addr(first),
        last: addr(last),
    };
    let low = range("10.9.0.10", "10.9.0.20");
    let high = range("10.9.1.0", "10.9.1.255");
    for ranges in [&[low][..], &[low, high], &[], &[low, high]] {
        tx.replace_ranges(pool.vrf_id, pool.id, ranges)
            .await
            .expect("replaces");
    }
    let vrf_id = pool.vrf_id;
    for (last, except, expected) in [
        ("10.9.2.0", 0, Some(high)),
        ("10.9.0.255", 0, Some(low)),
        ("10.9.0.9", 0, None),
        ("10.9.2.0", pool.id, None),
        // The other family is never in the way: what is found there does not reach.
        ("::1", 0, None),
        ("2001:db8::", 0, None),
    ] {
        let found = tx
            .range_at_or_before(vrf_id, addr(last), except)
            .await
            .expect("reads")
            .filter(|range| expected.is_some() || range.last >= addr(last));
        assert_eq!(found, expected, "at or before {last}");
    }
    for (last, expected) in [("10.9.0.0", true), ("10.8.255.255", false), ("::1", false)] {
        let found = tx
            .subnet_at_or_before(vrf_id, addr(last))
            .await
            .expect("reads");
        assert_eq!(found.is_some(), expected, "at or before {last}");
    }
}
