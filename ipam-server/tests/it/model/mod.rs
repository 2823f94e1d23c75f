//! Random sequences of operations, answered by the store as a plain model in memory says, on both databases.
//!
//! Each test runs for a few seconds (`IPAM_TEST_MODEL_SECONDS` makes it longer). A failure is shrunk to the shortest
//! sequence that shows it, which the panic prints.

mod driver;
mod ops;
mod pools;
mod space;
mod verbs;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use ipam_server::store::Store;
use proptest::test_runner::{Config, TestCaseError, TestError, TestRunner};

use crate::store::support::{open, sqlite_url};
use driver::Driver;
use ops::Op;

#[test]
fn sqlite_agrees_with_the_model_without_a_reuse_delay() {
    on_sqlite(0);
}

#[test]
fn sqlite_agrees_with_the_model_while_addresses_rest() {
    on_sqlite(100_000);
}

#[test]
fn postgres_agrees_with_the_model_without_a_reuse_delay() {
    on_postgres(0);
}

#[test]
fn postgres_agrees_with_the_model_while_addresses_rest() {
    on_postgres(100_000);
}

fn on_sqlite(reuse_delay_s: u32) {
    let folder = tempfile::tempdir().expect("a folder");
    explore(&sqlite_url(&folder), reuse_delay_s);
}

fn on_postgres(reuse_delay_s: u32) {
    if let Some(url) = harness::postgres::database() {
        explore(&url, reuse_delay_s);
    }
}

/// How long one test goes on.
fn budget() -> Duration {
    let seconds = std::env::var("IPAM_TEST_MODEL_SECONDS").ok();
    let seconds = seconds.and_then(|text| text.parse().ok());
    Duration::from_secs(seconds.unwrap_or(6))
}

/// Runs sequence after sequence on one database: each has a vrf, a node and pools of its own.
fn explore(url: &str, reuse_delay_s: u32) {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let store = runtime.block_on(open(url));
    let deadline = Instant::now() + budget();
    let case = AtomicUsize::new(0);
    let config = Config {
        cases: 1,
        max_shrink_iters: 5_000,
        max_shrink_time: 20_000,
        failure_persistence: None,
        ..Config::default()
    };
    while Instant::now() < deadline {
        // A runner stops for good after its cases.
        let outcome = TestRunner::new(config.clone()).run(&ops::sequences(), |sequence| {
            let number = case.fetch_add(1, Ordering::Relaxed);
            let run = runtime.spawn(run(store.clone(), number, reuse_delay_s, sequence));
            runtime
                .block_on(run)
                .map_err(|panicked| TestCaseError::fail(panic_text(panicked)))
        });
        match outcome {
            Ok(()) => {}
            Err(TestError::Fail(reason, sequence)) => panic!("{reason}\nby {sequence:#?}"),
            Err(other) => panic!("{other}"),
        }
    }
    let done = case.into_inner();
    assert!(done > 3, "only {done} sequences in {:?}", budget());
    runtime.block_on(store.close());
}

fn panic_text(panicked: tokio::task::JoinError) -> String {
    match panicked.try_into_panic() {
        Ok(payload) => match payload.downcast::<String>() {
            Ok(text) => *text,
            Err(other) => format!("{:?}", other.downcast::<&str>()),
        },
        Err(error) => error.to_string(),
    }
}

async fn run(store: Store, case: usize, reuse_delay_s: u32, sequence: Vec<Op>) {
    let mut driver = Driver::start(store, case, reuse_delay_s).await;
    for op in &sequence {
        driver.step(op).await;
    }
    driver.finish().await;
}
