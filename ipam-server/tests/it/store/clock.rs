//! Time never runs backwards, and no rest is cut short, whatever the wall clock does.

use std::time::{Duration, Instant};

use harness::postgres::{shadow_clock, shift_clock};
use ipam_api::NewPool;
use ipam_server::Error;
use ipam_server::store::Store;

use super::conformance;
use super::support::*;

conformance!(with_url: times_follow_the_last_one_stored_on_the_pool,);

/// The wall clock has been set back by an hour since the pool was used last.
async fn times_follow_the_last_one_stored_on_the_pool(store: Store, url: String) {
    create(&store, &pool("a", "10.0.0.0/30")).await;
    lease(&store, "before", "a").await;
    let ahead = if url.starts_with("sqlite") {
        "update pool_counter set last_at = last_at + 3600000000;
        update lease set created_at = created_at + 3600000000"
    } else {
        "update pool_counter set last_at = last_at + interval '1 hour';
        update lease set created_at = created_at + interval '1 hour'"
    };
    sql(&url, ahead).await.expect("an update");
    assert_eq!(release(&store, del("before")).await, 1);
    for container in ["c1", "c2", "c3"] {
        lease(&store, container, "a").await;
        assert_eq!(release(&store, del(container)).await, 1);
    }
    let past = store
        .history("default", ip("10.0.0.2"), None, &first_page(10))
        .await;
    let past = past.expect("a history").items;
    let order: Vec<_> = past
        .iter()
        .map(|one| one.attachment.container_id.as_str())
        .collect();
    assert_eq!(order, ["c3", "c2", "c1", "before"]);
    let mut times: Vec<_> = past
        .iter()
        .map(|one| (one.created_at, one.released_at))
        .collect();
    times.reverse();
    let mut last = times[0].0;
    for (created, released) in times {
        let released = released.expect("it is over");
        assert!(
            last <= created && created <= released,
            "{last} {created} {released}"
        );
        last = released;
    }
}

/// Half an hour, which is believed: the address rests on, and no longer than it would have.
#[tokio::test]
async fn a_step_ahead_of_the_databases_clock_does_not_end_a_rest() {
    let Some(url) = harness::postgres::database() else {
        return;
    };
    shadow_clock(&url).await.expect("a clock that can be moved");
    let store = open(&url).await;
    let rest = Duration::from_secs(3);
    let only = NewPool {
        reuse_delay_s: Some(3),
        ..without_gateway("only", "10.0.0.1/32")
    };
    create(&store, &only).await;
    lease(&store, "before", "only").await;
    assert_eq!(release(&store, del("before")).await, 1);
    let released = Instant::now();
    shift_clock(&url, 1800).await.expect("it is moved");
    let next = claim("after", &["only"]);
    loop {
        let answers = store.allocate(std::slice::from_ref(&next)).await;
        match answers.into_iter().next().expect("an answer") {
            Ok(_) => break,
            Err(Error::PoolExhausted { retry_after_s, .. }) => {
                assert!(
                    retry_after_s.is_some_and(|seconds| seconds <= 3),
                    "{retry_after_s:?}"
                );
            }
            Err(other) => panic!("{other}"),
        }
        assert!(released.elapsed() < rest * 3, "it rests too long");
        pass(Duration::from_millis(100)).await;
    }
    assert!(
        released.elapsed() >= rest - Duration::from_millis(200),
        "{:?}",
        released.elapsed()
    );
    audit(&store).await;
}
