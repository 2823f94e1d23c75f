//! Surgery on both databases, also when a crash comes between its transactions. Each test ends with the audit.

/// Only the first transaction of a change or a deletion: what a crash leaves.
macro_rules! first_step {
    ($store:expr, $module:ident, $($argument:expr),+) => {
        match $store {
            Store::Postgres(db) => $module::first_step(db, $($argument),+).await.map($crate::store::surgery::tests::is_done),
            Store::Sqlite(db) => $module::first_step(db, $($argument),+).await.map($crate::store::surgery::tests::is_done),
        }
    };
}

mod crash;
mod dry;
mod race;
mod random;
mod space;

use serde_json::json;

use super::Attempt;
use crate::error::Error;
use crate::store::Store;
use crate::store::tests::stage::*;

fn is_done<T>(attempt: Attempt<T>) -> bool {
    matches!(attempt, Attempt::Done(_))
}

/// A pool of 254 addresses whose first 40 were leased and released, so that each is a row.
async fn with_returned(store: &Store, delay: u32) {
    create(
        store,
        json!({ "name": "p", "subnet": "10.0.0.0/24", "gateway": null, "reuse_delay_s": delay }),
    )
    .await;
    let names: Vec<_> = (1..=40).map(|number| format!("10.0.0.{number}")).collect();
    for name in &names {
        hold(store, name).await;
    }
    let names: Vec<_> = names.iter().map(String::as_str).collect();
    let_go(store, &names).await;
}
