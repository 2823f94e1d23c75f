//! A lease that was answered survives the crash of the database, and a store gets over it.

use std::time::{Duration, Instant};

use harness::postgres::Cluster;
use ipam_server::Error;
use nix::sys::signal::Signal;

use super::support::*;

#[tokio::test]
async fn answered_leases_survive_a_crash_of_postgres_and_the_store_reconnects() {
    let Some(cluster) = Cluster::start() else {
        return harness::require::skip("postgres", "no server binaries");
    };
    let store = open(&cluster.database()).await;
    create(&store, &pool("a", "10.0.0.0/16")).await;
    for signal in [Signal::SIGKILL, Signal::SIGQUIT, Signal::SIGINT] {
        let claims: Vec<_> = (0..50)
            .map(|n| claim(&format!("{signal}-{n}"), &["a"]))
            .collect();
        let mut answered = Vec::new();
        for answer in store.allocate(&claims).await {
            answered.extend(answer.expect("there is room").leases);
        }
        cluster.stop(signal);
        let away = allocate(&store, &claim("while-away", &["a"])).await;
        assert_refused!(away, Error::Unavailable { .. });
        refused(store.ping().await);
        cluster.resume();
        let deadline = Instant::now() + Duration::from_secs(20);
        while let Err(error) = store.ping().await {
            assert!(Instant::now() < deadline, "it does not come back: {error}");
            pass(Duration::from_millis(50)).await;
        }
        for lease in answered {
            assert_eq!(
                store.lease(&lease.id).await.expect("it was answered"),
                lease
            );
        }
        let again = store.allocate(&claims).await;
        assert!(
            again
                .iter()
                .all(|answer| matches!(answer, Ok(granted) if !granted.fresh))
        );
        audit(&store).await;
    }
    store.close().await;
}
