//! What tests of operations share: a fresh store of either kind, and short words for claims and releases.

use std::time::Duration;

use ipam_api::{Attachment, Claim, Entry, NewPool, Pod, PoolPatch, Release};
use serde_json::Value;

use crate::error::Error;
use crate::store::{Cursor, Releasing, Store};

pub(in crate::store) const PAGE: Cursor = Cursor {
    after: None,
    limit: 10,
};
pub(in crate::store) const WEEK: Duration = Duration::from_secs(7 * 24 * 3600);

/// Runs the test on a fresh SQLite file, and on a fresh PostgreSQL database when there is one; the audit ends it.
pub(in crate::store) fn on_both(test: impl AsyncFn(Store)) {
    on_each(async |store: Store| {
        test(store.clone()).await;
        assert_eq!(store.audit().await.expect("audited"), [""; 0]);
    });
}

/// The same without an audit.
pub(in crate::store) fn on_each(test: impl AsyncFn(Store)) {
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
            store.close().await;
        });
    }
}

pub(in crate::store) async fn create(store: &Store, settings: Value) {
    let new: NewPool = serde_json::from_value(settings).expect("well-formed");
    store.create_pool(&new).await.expect("created");
}

pub(in crate::store) fn patch(settings: Value) -> PoolPatch {
    serde_json::from_value(settings).expect("well-formed")
}

pub(in crate::store) fn key(container: &str) -> Attachment {
    Attachment {
        cluster: "default".to_owned(),
        node: "node-1".to_owned(),
        network: "net".to_owned(),
        container_id: container.to_owned(),
        ifname: "eth0".to_owned(),
    }
}

pub(in crate::store) fn claim(container: &str, wanted: Option<&str>) -> Claim {
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
pub(in crate::store) async fn lease(
    store: &Store,
    wanted: &[(&str, Option<&str>)],
) -> Vec<Result<String, Error>> {
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
pub(in crate::store) async fn hold(store: &Store, address: &str) {
    let mut answers = lease(store, &[(address, Some(address))]).await;
    assert_eq!(answers.remove(0).expect("leased"), address);
}

pub(in crate::store) async fn let_go(store: &Store, containers: &[&str]) {
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
pub(in crate::store) async fn parts(store: &Store) -> (u64, u64, u64, u64) {
    let usage = store.pool("p").await.expect("there").pool.usage;
    let sum = usage.free + usage.leased + usage.cooling + usage.quarantined + usage.reserved;
    assert_eq!(sum, usage.size);
    (usage.free, usage.leased, usage.cooling, usage.reserved)
}

/// Every free address of the pool, leased one by one.
pub(in crate::store) async fn drain(store: &Store) -> Vec<String> {
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
