//! Counted work, which does not depend on the machine's mood: the round trips of a batch, whatever its size.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use ipam_api::Claim;
use serde_json::json;
use tracing::field::{Field, Visit};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};

use super::stage::{claim, create, let_go};
use crate::store::Store;

/// Round trips of a transaction of new claims on PostgreSQL, its begin and commit included.
const CLAIMS: usize = 3;
/// The same when one of them wants an address, which has to be looked for.
const WANTED: usize = 4;
/// The same of releases.
const RELEASES: usize = 4;

/// Notes the statements that are sent.
#[derive(Clone, Default)]
struct Sent(Arc<Mutex<Vec<String>>>);

impl<S: tracing::Subscriber> Layer<S> for Sent {
    fn on_event(&self, event: &tracing::Event<'_>, _: Context<'_, S>) {
        if event.metadata().target() == "sqlx::query" {
            event.record(&mut self.clone());
        }
    }
}

impl Visit for Sent {
    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "summary" {
            let mut sent = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            sent.push(value.to_owned());
        }
    }

    fn record_debug(&mut self, _: &Field, _: &dyn std::fmt::Debug) {}
}

impl Sent {
    fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Claims of containers that were never seen, from one boot of one node.
fn claims(count: usize) -> Vec<Claim> {
    static NUMBER: AtomicUsize = AtomicUsize::new(0);
    (0..count)
        .map(|_| Claim {
            machine_id: Some("m1".to_owned()),
            boot_id: Some("b1".to_owned()),
            issued: Some(1),
            ..claim(
                &format!("c{}", NUMBER.fetch_add(1, Ordering::Relaxed)),
                None,
            )
        })
        .collect()
}

async fn allocate(store: &Store, claims: &[Claim]) {
    for answer in store.allocate(claims).await {
        answer.expect("there is room");
    }
}

/// In SQLite a statement is a call, not a journey.
#[tokio::test]
async fn a_batch_takes_as_many_round_trips_as_a_single_claim_on_postgres() {
    let Some(url) = harness::postgres::database() else {
        return;
    };
    let sent = Sent::default();
    let subscriber = tracing_subscriber::registry().with(sent.clone());
    let _listening = tracing::subscriber::set_default(subscriber);
    let store = Store::open(&url).await.expect("opens");
    create(&store, json!({ "name": "p", "subnet": "10.0.0.0/16" })).await;
    // So that the node is known.
    allocate(&store, &claims(1)).await;
    for count in [1, 64, 256] {
        let claims = claims(count);
        sent.take();
        allocate(&store, &claims).await;
        assert_within(&sent, CLAIMS);
        let names = claims
            .iter()
            .map(|one| one.attachment.container_id.as_str());
        let_go(&store, &names.collect::<Vec<_>>()).await;
        assert_within(&sent, RELEASES);
    }
    let mut claims = claims(64);
    claims[0].wanted = vec!["10.0.128.1".parse().expect("an address")];
    allocate(&store, &claims).await;
    assert_within(&sent, WANTED);
    store.close().await;
}

fn assert_within(sent: &Sent, most: usize) {
    let sent = sent.take();
    assert!(sent.len() > 2, "they are not noted: {sent:?}");
    assert!(
        sent.len() <= most,
        "{} instead of {most}: {sent:#?}",
        sent.len()
    );
}
