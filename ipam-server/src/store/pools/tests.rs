//! Two servers that create pools at once on one PostgreSQL: the lock of the vrf keeps what each of them checks true.

use ipam_api::NewPool;
use serde_json::json;
use tokio::task::JoinSet;

use crate::error::{Error, Result};
use crate::store::Store;

/// Two servers on one database.
async fn servers() -> Option<[Store; 2]> {
    let url = harness::postgres::database()?;
    let open = async || Store::open(&url).await.expect("opens");
    Some([open().await, open().await])
}

/// Creates all of these at once, on either server in turn.
async fn create_all(servers: &[Store; 2], pools: Vec<NewPool>) -> Vec<Result<bool>> {
    let mut tasks = JoinSet::new();
    for (index, new) in pools.into_iter().enumerate() {
        let store = servers[index % 2].clone();
        tasks.spawn(async move { store.create_pool(&new).await.map(|(_, created)| created) });
    }
    let answers = tasks.join_all().await;
    assert_eq!(servers[0].audit().await.expect("audited"), [""; 0]);
    answers
}

fn pool(name: &str, subnet: &str, first: &str, last: &str) -> NewPool {
    let new =
        json!({ "name": name, "subnet": subnet, "ranges": [{ "first": first, "last": last }] });
    serde_json::from_value(new).expect("well-formed")
}

#[tokio::test]
async fn of_pools_with_a_common_address_one_is_created() {
    let Some(servers) = servers().await else {
        return;
    };
    let pools = (1..=16).map(|number| {
        pool(
            &format!("p{number}"),
            "10.0.0.0/24",
            &format!("10.0.0.{number}"),
            &format!("10.0.0.{}", 100 + number),
        )
    });
    let answers = create_all(&servers, pools.collect()).await;
    let created = answers.iter().filter(|answer| matches!(answer, Ok(true)));
    assert_eq!(created.count(), 1, "{answers:?}");
    let refused = answers
        .iter()
        .filter(|answer| matches!(answer, Err(Error::RangesOverlap(_))));
    assert_eq!(refused.count(), 15, "{answers:?}");
}

#[tokio::test]
async fn of_nested_subnets_one_is_created() {
    let Some(servers) = servers().await else {
        return;
    };
    // Their ranges are apart.
    let pools = (12..=27u8).map(|prefix| {
        let own = format!("10.0.0.{prefix}");
        pool(
            &format!("p{prefix}"),
            &format!("10.0.0.0/{prefix}"),
            &own,
            &own,
        )
    });
    let answers = create_all(&servers, pools.collect()).await;
    let created = answers.iter().filter(|answer| matches!(answer, Ok(true)));
    assert_eq!(created.count(), 1, "{answers:?}");
}

#[tokio::test]
async fn a_pool_that_is_created_many_times_at_once_is_created_once() {
    let Some(servers) = servers().await else {
        return;
    };
    let same = vec![pool("p", "10.0.0.0/24", "10.0.0.9", "10.0.0.20"); 16];
    let answers = create_all(&servers, same).await;
    let created = answers.iter().filter(|answer| matches!(answer, Ok(true)));
    assert_eq!(created.count(), 1, "{answers:?}");
    let found = answers.iter().filter(|answer| matches!(answer, Ok(false)));
    assert_eq!(found.count(), 15, "{answers:?}");
}

#[tokio::test]
async fn a_name_that_two_vrfs_ask_for_at_once_is_given_to_one() {
    let Some(servers) = servers().await else {
        return;
    };
    let vrfs: Vec<_> = (0..8).map(|number| format!("vrf-{number}")).collect();
    for vrf in &vrfs {
        assert!(servers[0].create_vrf(vrf).await.expect("created"));
    }
    let pools = vrfs.into_iter().map(|vrf| NewPool {
        vrf: Some(vrf),
        ..pool("p", "10.0.0.0/24", "10.0.0.9", "10.0.0.20")
    });
    let answers = create_all(&servers, pools.collect()).await;
    let created = answers.iter().filter(|answer| matches!(answer, Ok(true)));
    assert_eq!(created.count(), 1, "{answers:?}");
    let refused = answers
        .iter()
        .filter(|answer| matches!(answer, Err(Error::AlreadyExists(_))));
    assert_eq!(refused.count(), 7, "{answers:?}");
}
