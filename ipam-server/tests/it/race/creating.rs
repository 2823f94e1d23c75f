//! Pools that are created at once, on two servers.

use ipam_server::Error;
use tokio::task::JoinSet;

use super::{assert_no_deadlock, two_on_postgres};
use crate::store::support::*;

#[tokio::test(flavor = "multi_thread")]
async fn of_pools_that_overlap_and_are_created_at_once_one_is_made() {
    let Some((stores, url)) = two_on_postgres().await else {
        return;
    };
    for round in 0..8 {
        let mut tasks = JoinSet::new();
        for task in 0..8 {
            let store = stores[task % 2].clone();
            let subnet = format!("10.{round}.0.0/{}", 16 + task);
            let new = pool(&format!("p{round}-{task}"), &subnet);
            tasks.spawn(async move { store.create_pool(&new).await });
        }
        let answers = tasks.join_all().await;
        let made = answers.iter().filter(|answer| answer.is_ok()).count();
        assert_eq!(made, 1, "{answers:?}");
        for answer in answers.into_iter().filter(Result::is_err) {
            assert_refused!(answer, Error::RangesOverlap(_));
        }
    }
    audit(&stores[0]).await;
    assert_no_deadlock(&url).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_pool_created_by_many_at_once_is_made_once() {
    let Some((stores, _)) = two_on_postgres().await else {
        return;
    };
    let mut tasks = JoinSet::new();
    for task in 0..8 {
        let store = stores[task % 2].clone();
        tasks.spawn(async move { store.create_pool(&pool("a", "10.0.0.0/24")).await });
        let store = stores[task % 2].clone();
        let name = format!("b{task}");
        let subnet = format!("10.1.{task}.0/24");
        tasks.spawn(async move { store.create_pool(&pool(&name, &subnet)).await });
    }
    let answers = tasks.join_all().await;
    let fresh = answers
        .iter()
        .map(|answer| answer.as_ref().expect("made, or the same").1);
    assert_eq!(fresh.filter(|fresh| *fresh).count(), 1 + 8);
    audit(&stores[1]).await;
}
