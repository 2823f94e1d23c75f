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
mod random;
mod space;

use std::future::Future;
use std::time::Duration;

use ipam_api::{Attachment, Claim, Entry, NewPool, Pod, PoolPatch, Release};
use serde_json::{Value, json};

use super::Attempt;
use crate::error::Error;
use crate::store::{Cursor, Releasing, Store};

const PAGE: Cursor = Cursor {
    after: None,
    limit: 10,
};
const WEEK: Duration = Duration::from_secs(7 * 24 * 3600);

/// Runs the test on a fresh SQLite file, and on a fresh PostgreSQL database when there is one.
fn on_both<F: Future<Output = ()>>(test: impl Fn(Store) -> F) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    let folder = tempfile::tempdir().expect("a folder");
    let file = format!("sqlite://{}/ipam.db", folder.path().display());
    let urls = std::iter::once(file).chain(harness::postgres::database());
    for url in urls {
        runtime.block_on(async {
            let store = Store::open(&url).await.expect("opens");
            test(store.clone()).await;
            assert_eq!(store.audit().await.expect("audited"), [""; 0], "{url}");
            store.close().await;
        });
    }
}

fn is_done<T>(attempt: Attempt<T>) -> bool {
    matches!(attempt, Attempt::Done(_))
}

async fn create(store: &Store, settings: Value) {
    let new: NewPool = serde_json::from_value(settings).expect("well-formed");
    store.create_pool(&new).await.expect("created");
}

fn patch(settings: Value) -> PoolPatch {
    serde_json::from_value(settings).expect("well-formed")
}

fn key(container: &str) -> Attachment {
    Attachment {
        cluster: "default".to_owned(),
        node: "node-1".to_owned(),
        network: "net".to_owned(),
        container_id: container.to_owned(),
        ifname: "eth0".to_owned(),
    }
}

fn claim(container: &str, wanted: Option<&str>) -> Claim {
    Claim {
        attachment: key(container),
        machine_id: None,
        boot_id: None,
        issued: None,
        pod: Some(Pod::default()),
        owner: None,
        entries: vec![Entry {
            pools: vec!["p".to_owned()],
        }],
        wanted: wanted
            .map(|text| text.parse().expect("an address"))
            .into_iter()
            .collect(),
        deadline_ms: None,
    }
}

/// Claims for these containers, of any address or of wanted ones; the addresses.
async fn lease(store: &Store, wanted: &[(&str, Option<&str>)]) -> Vec<Result<String, Error>> {
    let claims: Vec<_> = wanted
        .iter()
        .map(|(name, wanted)| claim(name, *wanted))
        .collect();
    let answers = store.allocate(&claims).await;
    let address = |granted: crate::store::Granted| granted.leases[0].address.ip().to_string();
    answers
        .into_iter()
        .map(|answer| answer.map(address))
        .collect()
}

/// Leases the wanted address to a container of its name.
async fn hold(store: &Store, address: &str) {
    let mut answers = lease(store, &[(address, Some(address))]).await;
    assert_eq!(answers.remove(0).expect("leased"), address);
}

async fn let_go(store: &Store, containers: &[&str]) {
    let releases: Vec<_> = containers
        .iter()
        .map(|container| {
            let Attachment {
                cluster,
                node,
                network,
                container_id,
                ifname,
            } = key(container);
            Releasing {
                release: Release {
                    cluster,
                    node,
                    network,
                    container_id,
                    ifname,
                    boot_id: None,
                    issued: None,
                    claim_issued: None,
                },
                earlier_boot: false,
            }
        })
        .collect();
    for freed in store.release(&releases).await {
        assert_eq!(freed.expect("released"), 1);
    }
}

/// (free, leased, cooling, reserved)
async fn parts(store: &Store) -> (u64, u64, u64, u64) {
    let usage = store.pool("p").await.expect("there").pool.usage;
    let sum = usage.free + usage.leased + usage.cooling + usage.quarantined + usage.reserved;
    assert_eq!(sum, usage.size);
    (usage.free, usage.leased, usage.cooling, usage.reserved)
}

/// Every free address of the pool, leased one by one.
async fn drain(store: &Store) -> Vec<String> {
    let mut addresses = Vec::new();
    for number in 0.. {
        let mut answers = lease(store, &[(&format!("drain-{number}"), None)]).await;
        match answers.remove(0) {
            Ok(address) => addresses.push(address),
            Err(Error::PoolExhausted { .. }) => break,
            Err(other) => panic!("{other}"),
        }
    }
    addresses
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
