//! What is asked ahead is what would have been answered later, and nothing that was guessed is believed.

use std::cell::RefCell;
use std::time::Duration;

use ipam_api::{Claim, Entry};
use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use serde_json::json;
use sqlx::types::Json;

use super::postgres_database;
use super::stage::{claim, create, let_go, patch};
use crate::store::database::Database;
use crate::store::moment::Moment;
use crate::store::postgres::{self, Call};
use crate::store::statements::{Ahead, AheadStatements, NodeStatements, SpaceStatements};
use crate::store::{Granted, Store};

#[tokio::test]
async fn what_was_asked_ahead_is_answered_once_and_then_asked_again() {
    let Some((database, _)) = postgres_database().await else {
        return;
    };
    let names = [("c".to_owned(), "n".to_owned())];
    let mut early = database.begin().await.expect("begins");
    early.ahead(&[Ahead::Nodes(&names)]).await.expect("asks");
    let mut late = database.begin().await.expect("begins");
    late.lock_node("c", "n", Moment(1)).await.expect("inserts");
    postgres::Database::commit(late).await.expect("commits");
    let first = early.nodes(&names).await.expect("answers").len();
    let second = early.nodes(&names).await.expect("answers").len();
    assert_eq!((first, second), (0, 1));
}

#[tokio::test]
async fn what_is_locked_ahead_stays_locked_until_it_is_forgotten() {
    let Some((_, url)) = postgres_database().await else {
        return;
    };
    let store = Store::open(&url).await.expect("opens");
    create(&store, json!({ "name": "p", "subnet": "10.0.0.0/24" })).await;
    let Store::Postgres(database) = &store else {
        panic!("it is PostgreSQL");
    };
    let mut first = database.begin().await.expect("begins");
    first.ahead(&[Ahead::Locked(&[1], 1)]).await.expect("locks");
    let mut second = database.begin().await.expect("begins");
    let mut waits = tokio::spawn(async move { second.lock_counters(&[1]).await.expect("locks") });
    let early = tokio::time::timeout(Duration::from_millis(200), &mut waits).await;
    assert!(early.is_err(), "it waits");
    first.forget_ahead().await.expect("begins anew");
    assert_eq!(waits.await.expect("ends").len(), 1);
}

fn claim_from(container: &str, pools: &[&str]) -> Claim {
    let pools = pools.iter().map(|&name| name.to_owned()).collect();
    Claim {
        machine_id: Some("m1".to_owned()),
        boot_id: Some("b1".to_owned()),
        issued: Some(1),
        entries: vec![Entry { pools }],
        ..claim(container, None)
    }
}

async fn pool_of(store: &Store, claim: Claim) -> String {
    let mut answers = store.allocate(&[claim]).await;
    let granted: Granted = answers.remove(0).expect("there is room");
    granted.leases[0].pool.clone()
}

/// Another server changes the pools: this one remembers them as they were.
#[tokio::test]
async fn pools_that_are_not_as_they_were_are_asked_anew() {
    let Some((_, url)) = postgres_database().await else {
        return;
    };
    let store = Store::open(&url).await.expect("opens");
    let other = Store::open(&url).await.expect("opens");
    create(&store, json!({ "name": "p", "subnet": "10.0.0.0/24" })).await;
    create(&store, json!({ "name": "q", "subnet": "10.0.1.0/24" })).await;
    let both = ["p", "q"];
    for name in ["c1", "c2"] {
        assert_eq!(pool_of(&store, claim_from(name, &both)).await, "p");
    }
    set_state(&other, "p", "draining").await;
    for name in ["c3", "c4"] {
        assert_eq!(pool_of(&store, claim_from(name, &both)).await, "q");
    }
    // What is held stays, whatever is asked ahead.
    assert_eq!(pool_of(&store, claim_from("c1", &both)).await, "p");
    set_state(&other, "p", "ready").await;
    assert_eq!(pool_of(&store, claim_from("c5", &both)).await, "p");

    create(&other, json!({ "name": "r", "subnet": "10.0.2.0/24" })).await;
    assert_eq!(pool_of(&store, claim_from("c6", &["r"])).await, "r");
    let_go(&store, &["c6"]).await;
    other.delete_pool("r", None).await.expect("deletes");
    create(&other, json!({ "name": "r", "subnet": "10.0.3.0/24" })).await;
    assert_eq!(pool_of(&store, claim_from("c7", &["r"])).await, "r");
    store.close().await;
    other.close().await;
}

/// What has to be escaped, and what means something in an array.
fn word() -> impl Strategy<Value = Option<String>> {
    let special = prop::sample::select(vec![
        "'",
        "\"",
        "\\",
        "{",
        "}",
        ",",
        "null",
        "NULL",
        " ",
        "a",
        "é",
        "\u{1f980}",
        "\n",
        "$1",
        ";--",
    ]);
    let words = prop::collection::vec(special, 0..6).prop_map(|parts| parts.concat());
    prop::option::weighted(0.8, words)
}

type Words = (Json<Vec<Option<String>>>, String, Moment);

#[test]
fn words_and_times_of_a_call_come_back_as_they_were_given() {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    // For what is dropped at the end.
    let _context = runtime.enter();
    let Some((database, _)) = runtime.block_on(postgres_database()) else {
        return;
    };
    let tx = runtime.block_on(async {
        let mut tx = database.begin().await.expect("begins");
        let echo = "prepare echo (text[], text, timestamptz) as select to_json($1), $2, $3";
        let prepared = sqlx::raw_sql(echo).execute(tx.connection()).await;
        prepared.expect("prepares");
        RefCell::new(tx)
    });
    let words = prop::collection::vec(word(), 0..6);
    let times = prop_oneof![
        any::<i64>(),
        -1_000_000_000_000_000..4_000_000_000_000_000_i64
    ];
    let given = (words, word(), times.prop_map(Moment));
    let given =
        given.prop_map(|(words, one, moment)| (Json(words), one.unwrap_or_default(), moment));
    let config = ProptestConfig::with_cases(300);
    let outcome = TestRunner::new(config).run(&given, |given| {
        let mut tx = tx.borrow_mut();
        let (called, bound) = runtime.block_on(both_ways(&mut tx, &given));
        prop_assert_eq!(called, bound);
        Ok(())
    });
    outcome.expect("they come back");
}

/// What comes back of a call, and of values that are bound.
async fn both_ways(tx: &mut postgres::Tx, (words, one, moment): &Words) -> (Words, Words) {
    let call = Call::of("echo")
        .some_words(words.iter().map(Option::as_deref))
        .word(one)
        .value(*moment);
    let mut called: Vec<Words> = tx.call(call).await.expect("answers");
    let mut bound: Words = sqlx::query_as("select to_json($1::text[]), $2, $3")
        .bind(&words.0)
        .bind(one)
        .bind(moment)
        .fetch_one(tx.connection())
        .await
        .expect("answers");
    // `unnest` adds them again.
    while let Some(None) = bound.0.last() {
        bound.0.pop();
    }
    (called.remove(0), bound)
}

async fn set_state(store: &Store, pool: &str, state: &str) {
    let change = patch(json!({ "state": state }));
    let changed = store.change_pool(pool, &change, None).await;
    changed.expect("changes");
}
