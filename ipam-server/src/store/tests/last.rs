//! What a transaction writes last comes with its commit, or not at all.

use uuid::Uuid;

use super::exercise::{NOW, addr};
use super::{postgres_database, sqlite_database};
use crate::error::Error;
use crate::store::changes::Changes;
use crate::store::database::Database;
use crate::store::retry::finish;
use crate::store::rows::{AttachmentRow, CounterRow, FreeRow, LeaseRow};
use crate::store::statements::{
    ChangeStatements, HolderStatements, LeaseStatements, PoolStatements, SpaceStatements,
};

/// A pool that is nowhere: nothing but a counter needs one.
const POOL: i64 = 7;

fn holder() -> AttachmentRow {
    AttachmentRow::new(&ipam_api::Attachment {
        cluster: "default".to_owned(),
        node: "node".to_owned(),
        network: "net".to_owned(),
        container_id: "it's a \"container\"".to_owned(),
        ifname: "eth0".to_owned(),
    })
}

fn lease(holder: Uuid, address: &str) -> LeaseRow {
    LeaseRow {
        attachment_id: holder,
        entry: 0,
        vrf_id: 1,
        address: addr(address),
        pool_id: POOL,
        owner: Some("o\\'".to_owned()),
        created_at: NOW,
        quarantined_until: None,
    }
}

fn free(address: &str) -> FreeRow {
    FreeRow {
        pool_id: POOL,
        first: addr(address),
        last: addr(address),
        free_at: NOW,
    }
}

async fn write_last<D: Database>(
    mut tx: D::Tx,
    archived: &[LeaseRow],
    changes: &Changes,
) -> Result<(), Error> {
    let outcome = tx.write_last(archived, NOW, "release", changes).await;
    finish::<D, _>(tx, outcome.map_err(Error::from)).await
}

/// Each kind of change that finds nothing to change.
fn impossible(held: &LeaseRow) -> Vec<(&'static str, Vec<LeaseRow>, Changes)> {
    let none = Changes::default;
    let gone = Changes::of_space(vec![free("10.0.0.9")], Vec::new());
    let moved = Changes::of_space(vec![free("10.0.0.9")], vec![free("10.0.0.9")]);
    let attachments = vec![AttachmentRow {
        container_id: "absent".to_owned(),
        ..holder()
    }];
    let counter = CounterRow {
        pool_id: POOL,
        leased: 0,
        leased_reserved: 0,
        quarantined: 0,
        returned: 0,
        fresh_from: addr("10.0.0.0"),
        returned_from_at: NOW,
        returned_from: addr("10.0.0.0"),
        returned_first: false,
        probe_at: NOW,
        last_at: NOW,
        version: 0,
    };
    let taken = lease(Uuid::now_v7(), "10.0.0.1");
    assert_eq!(taken.address, held.address);
    vec![
        (
            "a lease that is not there",
            vec![lease(Uuid::now_v7(), "10.0.0.5")],
            none(),
        ),
        ("free space that is gone", Vec::new(), gone),
        ("free space that has moved", Vec::new(), moved),
        (
            "a mark that is nowhere",
            Vec::new(),
            Changes {
                attachments,
                ..none()
            },
        ),
        (
            "a counter that is not there",
            Vec::new(),
            Changes::of_counter(counter),
        ),
        (
            "an address that is held",
            Vec::new(),
            Changes {
                leases: vec![taken],
                ..none()
            },
        ),
    ]
}

async fn comes_with_the_commit_or_not_at_all<D: Database>(database: &D) {
    let mut tx = database.begin().await.expect("begins");
    let row = holder();
    tx.upsert_attachments(std::slice::from_ref(&row))
        .await
        .expect("inserts");
    let held = lease(row.id, "10.0.0.1");
    let changes = Changes {
        leases: vec![held.clone()],
        ..Changes::of_space(Vec::new(), vec![free("10.0.0.2")])
    };
    write_last::<D>(tx, &[], &changes).await.expect("commits");

    for (what, archived, changes) in impossible(&held) {
        let mut tx = database.begin().await.expect("begins");
        tx.insert_vrf("lost", NOW).await.expect("inserts");
        let failed = write_last::<D>(tx, &archived, &changes).await;
        assert!(failed.is_err(), "{what} was written");
        let mut tx = database.begin().await.expect("begins");
        let lost = tx.vrf_id("lost").await.expect("reads");
        assert_eq!(lost, None, "{what}: a part of it was kept");
        let leases = tx.leases_of(&[row.id]).await.expect("reads");
        assert_eq!(leases, std::slice::from_ref(&held));
        let (low, high) = (addr("10.0.0.0"), addr("10.0.0.255"));
        let space = tx.free_between(POOL, low, high, 9).await.expect("reads");
        assert_eq!(space, [free("10.0.0.2")]);
        D::rollback(tx).await.expect("ends");
    }
}

#[tokio::test]
async fn what_is_written_last_comes_with_the_commit_or_not_at_all_on_sqlite() {
    let (database, _folder) = sqlite_database().await;
    comes_with_the_commit_or_not_at_all(&database).await;
}

#[tokio::test]
async fn what_is_written_last_comes_with_the_commit_or_not_at_all_on_postgres() {
    let Some((database, _)) = postgres_database().await else {
        return;
    };
    comes_with_the_commit_or_not_at_all(&database).await;
}
