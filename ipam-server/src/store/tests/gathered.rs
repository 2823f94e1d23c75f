//! Batches are gathered until their transaction has begun.

use std::time::Duration;

use serde_json::json;
use tokio::time::{Instant, sleep, timeout};

use super::stage::{claim, create, on_both, parts};
use crate::allocator::Allocator;
use crate::error::Error;
use crate::store::{Begun, Store};

/// Begins transactions until no connection is left for another.
async fn occupy(store: &Store) -> Vec<Begun> {
    let mut occupied = Vec::new();
    while let Ok(begun) = timeout(Duration::from_millis(100), store.begin()).await {
        occupied.push(begun.expect("begins"));
    }
    occupied
}

async fn leave(occupied: Vec<Begun>) {
    for begun in occupied {
        begun.give_up().await;
    }
}

#[test]
fn what_arrives_while_a_transaction_begins_goes_with_it() {
    on_both(async |store| {
        create(&store, json!({ "name": "p", "subnet": "10.0.0.0/24" })).await;
        let allocator = Allocator::new(&store, 100);
        let occupied = occupy(&store).await;
        let names = ["a", "b", "c", "d", "e"];
        let all = names.map(|name| allocator.claim(claim(name, None), Instant::now()));
        let [a, b, c, d, e] = all;
        let answers = async { tokio::join!(a, b, c, d, e) };
        let later = async {
            sleep(Duration::from_millis(100)).await;
            leave(occupied).await;
        };
        let ((a, b, c, d, e), ()) = tokio::join!(answers, later);
        let times = [a, b, c, d, e].map(|answer| answer.expect("leased").leases[0].created_at);
        assert_eq!(times, [times[0]; 5], "the time is the transaction's");
    });
}

#[test]
fn a_claim_whose_deadline_passes_while_its_transaction_begins_leases_nothing() {
    on_both(async |store| {
        create(&store, json!({ "name": "p", "subnet": "10.0.0.0/24" })).await;
        let before = parts(&store).await;
        let allocator = Allocator::new(&store, 100);
        let occupied = occupy(&store).await;
        let mut late = claim("late", None);
        late.deadline_ms = Some(50);
        let begun = Instant::now();
        let answer = async {
            let answer = allocator.claim(late, begun).await;
            (answer, begun.elapsed())
        };
        let later = async {
            sleep(Duration::from_millis(500)).await;
            leave(occupied).await;
            allocator.drained().await;
        };
        let ((refused, took), ()) = tokio::join!(answer, later);
        assert!(matches!(refused, Err(Error::Unavailable { .. })));
        assert!(took < Duration::from_millis(500), "{took:?}");
        assert_eq!(parts(&store).await, before);
    });
}
