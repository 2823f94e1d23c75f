//! Leases and their past.

use uuid::Uuid;

use super::holders::attachment;
use super::{NOW, addr, later};
use crate::pool::Interval;
use crate::store::changes::Changes;
use crate::store::moment::Moment;
use crate::store::rows::{AttachmentRow, LeaseQuery, LeaseRow, PoolRow};
use crate::store::statements::Statements;

fn lease(pool: &PoolRow, holder: &AttachmentRow, entry: i32, address: &str) -> LeaseRow {
    LeaseRow {
        attachment_id: holder.id,
        entry,
        vrf_id: pool.vrf_id,
        address: addr(address),
        pool_id: pool.id,
        owner: None,
        created_at: NOW,
        quarantined_until: None,
    }
}

async fn insert<T: Statements>(tx: &mut T, rows: &[LeaseRow]) {
    let changes = Changes {
        leases: rows.to_vec(),
        ..Changes::default()
    };
    tx.write(&changes).await.expect("inserts");
}

pub(super) async fn leases<T: Statements>(tx: &mut T, pool: &PoolRow) {
    let holder = attachment("c3");
    let rows = [
        lease(pool, &holder, 0, "10.9.0.2"),
        lease(pool, &holder, 1, "10.9.0.1"),
    ];
    tx.upsert_attachments(std::slice::from_ref(&holder))
        .await
        .expect("inserts");
    insert(tx, &rows).await;
    let found = tx.leases_of(&[holder.id, Uuid::now_v7()]).await;
    assert_eq!(found.expect("reads"), rows);
    let keys = [attachment("absent").key(), holder.key()];
    let found = tx.leases_of_keys(&keys).await;
    assert_eq!(found.expect("reads"), rows);
    for found in [
        tx.lease_on(pool.vrf_id, rows[1].address).await,
        tx.lease_by_key(holder.id, 1).await,
    ] {
        let found = found.expect("reads").expect("is there");
        assert_eq!(
            (found.lease, found.attachment),
            (rows[1].clone(), holder.clone())
        );
    }
    let (low, high) = (addr("10.9.0.0"), addr("10.9.0.255"));
    let found = tx
        .leases_between(pool.vrf_id, pool.id, low, high, 9)
        .await
        .expect("reads");
    let addresses: Vec<_> = found.iter().map(|held| held.lease.address).collect();
    assert_eq!(addresses, [rows[1].address, rows[0].address]);
    for (pool_id, last, expected) in [
        (pool.id, high, 2),
        (pool.id, rows[1].address, 1),
        (-1, high, 0),
    ] {
        let asked = [Interval { first: low, last }];
        let count = tx
            .count_leases_on(pool.vrf_id, pool_id, &asked)
            .await
            .expect("reads");
        assert_eq!(count, expected);
    }
    let asked = [rows[1].address, rows[0].address, high].map(Interval::one);
    let found = tx.leased_on(pool.vrf_id, pool.id, &asked, 9).await;
    assert_eq!(found.expect("reads"), addresses);
    let found = tx.leased_on(pool.vrf_id, pool.id, &asked, 1).await;
    assert_eq!(found.expect("reads"), addresses[..1]);
    let count = tx.count_leases_on(pool.vrf_id, pool.id, &asked).await;
    assert_eq!(count.expect("reads"), 2);
    quarantine(tx, &holder).await;
    tx.archive_leases(&rows, later(60), "release")
        .await
        .expect("archives");
    let found = tx.leases_of(&[holder.id]).await.expect("reads");
    assert_eq!(found, []);
    tx.delete_attachments(&[holder.id]).await.expect("deletes");
}

async fn quarantine<T: Statements>(tx: &mut T, holder: &AttachmentRow) {
    tx.quarantine_leases(&[holder.id], Some(later(9)))
        .await
        .expect("quarantines");
    for (now, expected) in [(later(8), 0), (later(9), 2)] {
        let overdue = tx.overdue_holders(now, 9).await.expect("reads");
        assert_eq!(overdue, vec![holder.clone(); expected]);
    }
    for (quarantined, expected) in [(true, 2), (false, 0)] {
        let query = LeaseQuery {
            node: Some(holder.node.clone()),
            quarantined: Some(quarantined),
            limit: 9,
            ..LeaseQuery::default()
        };
        let found = tx.list_leases(&query).await.expect("reads");
        assert_eq!(found.len(), expected, "{quarantined}");
    }
    tx.quarantine_leases(&[holder.id], None)
        .await
        .expect("ends it");
    assert_eq!(tx.overdue_holders(later(99), 9).await.expect("reads"), []);
}

pub(super) async fn lists<T: Statements>(tx: &mut T, pool: &PoolRow) {
    let holder = attachment("c4");
    let rows = ["10.9.0.1", "10.9.0.2", "10.9.0.3"].map(|address| {
        let entry = i32::from(address.as_bytes()[7] - b'1');
        lease(pool, &holder, entry, address)
    });
    tx.upsert_attachments(std::slice::from_ref(&holder))
        .await
        .expect("inserts");
    insert(tx, &rows).await;
    let subnet = Some((pool.subnet_first, pool.subnet_last));
    let one = Some((rows[0].address, rows[0].address));
    let text = |text: &str| Some(text.to_owned());
    let any = LeaseQuery {
        limit: 9,
        ..LeaseQuery::default()
    };
    let in_vrf = LeaseQuery {
        vrf_id: Some(pool.vrf_id),
        ..any.clone()
    };
    for (expected, query) in [
        (3, in_vrf.clone()),
        (
            3,
            LeaseQuery {
                pool_id: Some(pool.id),
                between: subnet,
                ..in_vrf.clone()
            },
        ),
        (
            1,
            LeaseQuery {
                between: one,
                ..in_vrf.clone()
            },
        ),
        (
            3,
            LeaseQuery {
                between: subnet,
                pool_id: Some(pool.id),
                ..any.clone()
            },
        ),
        (
            3,
            LeaseQuery {
                node: text("exercise"),
                ..any.clone()
            },
        ),
        (
            3,
            LeaseQuery {
                container_id: text("c4"),
                ..any.clone()
            },
        ),
        (
            3,
            LeaseQuery {
                pod_name: holder.pod_name.clone(),
                ..any.clone()
            },
        ),
        (
            0,
            LeaseQuery {
                pod_namespace: text("other"),
                pod_name: holder.pod_name.clone(),
                ..any.clone()
            },
        ),
        (
            0,
            LeaseQuery {
                container_id: text("c4"),
                cluster: text("other"),
                ..any.clone()
            },
        ),
        (
            0,
            LeaseQuery {
                node: text("exercise"),
                network: text("other"),
                ..any.clone()
            },
        ),
    ] {
        let all: Vec<_> = rows.iter().take(expected).cloned().collect();
        let mut found = Vec::new();
        // Two at a time, so that the second page goes on where the first ends.
        let mut page = LeaseQuery { limit: 2, ..query };
        loop {
            let held = tx.list_leases(&page).await.expect("reads");
            let Some(last) = held.last() else { break };
            page.after = Some((last.lease.vrf_id, last.lease.address));
            found.extend(held.into_iter().map(|held| held.lease));
        }
        assert_eq!(found, all, "{page:?}");
    }
    let everything = tx.list_leases(&any).await.expect("reads");
    assert!(everything.len() >= 3);
    tx.archive_leases(&rows, later(70), "gc")
        .await
        .expect("archives");
    tx.delete_attachments(&[holder.id]).await.expect("deletes");
}

pub(super) async fn history<T: Statements>(tx: &mut T, pool: &PoolRow) {
    let address = addr("10.9.0.1");
    let found = tx
        .history(pool.vrf_id, address, (Moment(i64::MAX), i64::MAX), 9)
        .await
        .expect("reads");
    let told: Vec<_> = found
        .iter()
        .map(|life| {
            (
                life.container_id.as_str(),
                life.reason.as_str(),
                life.released_at,
            )
        })
        .collect();
    assert_eq!(
        told,
        [("c4", "gc", later(70)), ("c3", "release", later(60))]
    );
    assert_eq!(found[0].pool, "exercise");
    let rest = tx
        .history(pool.vrf_id, address, (found[0].released_at, found[0].id), 9)
        .await
        .expect("reads");
    assert_eq!(rest.len(), 1);
    for (at, holder) in [
        (NOW, Some("c3")),
        (later(60), Some("c4")),
        (later(70), None),
    ] {
        let found = tx.history_at(pool.vrf_id, address, at).await;
        let found = found.expect("reads").map(|life| life.container_id);
        assert_eq!(found.as_deref(), holder, "at {at:?}");
    }
    let asked = ["10.9.0.0", "10.9.0.1", "10.9.0.2"].map(|text| Interval::one(addr(text)));
    for (after, limit, expected) in [
        (NOW, 9, 2),
        (NOW, 1, 1),
        (later(60), 9, 2),
        (later(70), 9, 0),
    ] {
        let found = tx
            .released_since(pool.vrf_id, &asked, after, limit)
            .await
            .expect("reads");
        assert_eq!(found.len(), expected, "{found:?}");
        for released in found {
            assert_eq!(released.released_at, later(70));
        }
    }
    assert_eq!(tx.prune_history(Moment(1), 9).await.expect("prunes"), 0);
}
