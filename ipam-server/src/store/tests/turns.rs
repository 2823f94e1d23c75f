//! Servers that are at work on the same pools take turns, and depend on none.

use std::time::Duration;

use serde_json::json;
use sqlx::{Connection, Executor, PgConnection};
use tokio::time::{Instant, sleep};

use super::stage::{claim, create, let_go};
use crate::allocator::Allocator;
use crate::store::Store;

/// Two servers of one database, with the pool `p`.
async fn two_servers() -> Option<(String, Store, Store)> {
    let url = harness::postgres::database()?;
    let first = Store::open(&url).await.expect("opens");
    let second = Store::open(&url).await.expect("opens");
    create(&first, json!({ "name": "p", "subnet": "10.0.0.0/24" })).await;
    Some((url, first, second))
}

async fn lease(store: &Store, container: &str) {
    let mut answers = store.allocate(&[claim(container, None)]).await;
    answers.remove(0).expect("there is room");
}

/// Both are at work, one after the other, until each has seen the other's.
async fn work_on_both(first: &Store, second: &Store) {
    for (index, store) in [first, second, first, second].into_iter().enumerate() {
        lease(store, &format!("earlier-{index}")).await;
    }
}

/// Takes the pool's turn for as long as the connection is open.
async fn take_turn(url: &str) -> PgConnection {
    let mut other = PgConnection::connect(url).await.expect("a connection");
    let turn = "begin; select pg_advisory_xact_lock(hashtextextended('{p}', 0))";
    other.execute(sqlx::raw_sql(turn)).await.expect("its turn");
    other
}

async fn time_of_claim(store: &Store, container: &str) -> Duration {
    let allocator = Allocator::new(store, 10);
    let began = Instant::now();
    let granted = allocator.claim(claim(container, None), began).await;
    granted.expect("leased");
    began.elapsed()
}

#[tokio::test]
async fn what_arrives_while_another_server_has_its_turn_goes_into_one_transaction() {
    let Some((_, first, second)) = two_servers().await else {
        return;
    };
    work_on_both(&first, &second).await;
    let allocator = Allocator::new(&first, 100);
    let turn = second.begin_in_turn(&["p".to_owned()]).await;
    let turn = turn.expect("begins");
    let [a, b, c] = [("a", 0), ("b", 50), ("c", 100)].map(|(name, after)| {
        let allocator = &allocator;
        async move {
            sleep(Duration::from_millis(after)).await;
            let granted = allocator.claim(claim(name, None), Instant::now()).await;
            granted.expect("leased").leases[0].created_at
        }
    });
    let later = async {
        sleep(Duration::from_millis(300)).await;
        turn.give_up().await;
    };
    let (a, b, c, ()) = tokio::join!(a, b, c, later);
    assert_eq!([a, b], [c; 2], "the time is the transaction's");
    first.close().await;
    second.close().await;
}

#[tokio::test]
async fn a_turn_that_does_not_come_is_not_waited_for() {
    let Some((url, first, second)) = two_servers().await else {
        return;
    };
    work_on_both(&first, &second).await;
    let turn = take_turn(&url).await;
    let took = time_of_claim(&first, "a").await;
    let expected = Duration::from_millis(900)..Duration::from_secs(2);
    assert!(expected.contains(&took), "{took:?}");
    turn.close().await.expect("closes");
    first.close().await;
    second.close().await;
}

#[tokio::test]
async fn no_turn_is_taken_while_no_other_server_is_at_work() {
    let Some((url, first, second)) = two_servers().await else {
        return;
    };
    work_on_both(&first, &second).await;
    // Alone again: its own claims and releases are nobody else's.
    for name in ["a", "b", "c"] {
        lease(&first, name).await;
        let_go(&first, &[name]).await;
    }
    let turn = take_turn(&url).await;
    let took = time_of_claim(&first, "d").await;
    assert!(took < Duration::from_millis(900), "{took:?}");
    turn.close().await.expect("closes");
    first.close().await;
    second.close().await;
}
