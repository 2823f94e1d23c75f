//! Every statement does on both databases what its contract says.

use std::net::IpAddr;

use ipam_api::Dns;
use sqlx::types::Json;
use uuid::Uuid;

use super::{postgres_database, sqlite_database};
use crate::pool::Interval;
use crate::store::addr::Addr;
use crate::store::moment::Moment;
use crate::store::rows::{
    AttachmentRow, CounterRow, FreeRow, IntervalRow, LeaseQuery, LeaseRow, PoolRow,
};
use crate::store::statements::{
    Database, LeaseStatements, PoolStatements, SpaceStatements, Statements,
};

const NOW: Moment = Moment(1_750_000_000_000_001);

fn addr(text: &str) -> Addr {
    text.parse::<IpAddr>().expect("an address").into()
}

fn later(seconds: i64) -> Moment {
    Moment(NOW.0 + seconds * 1_000_000)
}

async fn exercise_on<D: Database>(database: &D) {
    let mut tx = database.begin().await.expect("begins");
    exercise(&mut tx).await;
    D::commit(tx).await.expect("commits");
}

#[tokio::test]
async fn every_statement_does_what_it_says_on_sqlite() {
    let (database, _folder) = sqlite_database().await;
    exercise_on(&database).await;
}

#[tokio::test]
async fn every_statement_does_what_it_says_on_postgres() {
    let Some((database, _)) = postgres_database().await else {
        return;
    };
    exercise_on(&database).await;
}

/// Runs every statement with rows of its own, and leaves none but vrfs, history and what is noted for good.
pub(super) async fn exercise<T: Statements>(tx: &mut T) {
    let vrf_id = vrfs(tx).await;
    let pool = pools(tx, vrf_id).await;
    ranges(tx, &pool).await;
    counters(tx, pool.id).await;
    free_space(tx, pool.id).await;
    removals(tx, pool.id).await;
    attachments(tx).await;
    leases(tx, &pool).await;
    lists(tx, &pool).await;
    history(tx, &pool).await;
    nodes(tx).await;
    tx.delete_pool(pool.id).await.expect("deletes");
    let left = tx.pools_by_id(&[pool.id]).await.expect("reads");
    assert_eq!(left.len(), 0);
}

async fn vrfs<T: PoolStatements>(tx: &mut T) -> i64 {
    let clock = tx.wall_clock().await.expect("reads");
    assert!(clock > NOW, "{clock:?}");
    assert!(tx.insert_vrf("exercise", NOW).await.expect("inserts"));
    assert!(!tx.insert_vrf("exercise", NOW).await.expect("passes"));
    let names = tx.vrf_names("default", 9).await.expect("reads");
    assert_eq!(names, ["exercise"]);
    let vrf_id = tx.vrf_id("exercise").await.expect("reads");
    assert_eq!(tx.lock_vrf("exercise").await.expect("locks"), vrf_id);
    assert_eq!(tx.lock_vrf("absent").await.expect("passes"), None);
    vrf_id.expect("is there")
}

async fn pools<T: PoolStatements>(tx: &mut T, vrf_id: i64) -> PoolRow {
    let mut pool = PoolRow {
        id: 0,
        name: "exercise".to_owned(),
        vrf_id,
        vrf: "exercise".to_owned(),
        subnet_first: addr("10.9.0.0"),
        subnet_last: addr("10.9.255.255"),
        prefix_len: 16,
        gateway: Some(addr("10.9.0.1")),
        ranges: None,
        exclude: Json(vec!["10.9.4.0/24".parse().expect("a network")]),
        routes: Json(Vec::new()),
        dns: Json(Dns::default()),
        labels: Json([("team".to_owned(), "a".to_owned())].into()),
        reuse_delay_s: 60,
        state: "deleting".to_owned(),
        version: 1,
        created_at: NOW,
        updated_at: NOW,
    };
    pool.id = tx.insert_pool(&pool).await.expect("inserts");
    let deleting = tx.pools_deleting().await.expect("reads");
    assert!(deleting.iter().any(|found| found.id == pool.id));
    let shown = tx.list_pools(Some(vrf_id), "", 9).await.expect("reads");
    assert_eq!(shown.len(), 0, "a pool that goes is not listed");
    pool.state = "ready".to_owned();
    pool.version = 2;
    pool.gateway = None;
    tx.update_pool(&pool).await.expect("updates");
    for found in [
        tx.pools_by_name(&["exercise".to_owned(), "absent".to_owned()])
            .await
            .expect("reads"),
        tx.pools_by_id(&[pool.id, -1]).await.expect("reads"),
        tx.list_pools(Some(vrf_id), "exercisd", 9)
            .await
            .expect("reads"),
        tx.list_pools(None, "exercisd", 1).await.expect("reads"),
    ] {
        assert_eq!(format!("{found:?}"), format!("{:?}", [&pool]));
    }
    let settings = serde_json::json!({"state": "ready"});
    for action in ["create", "change"] {
        tx.insert_pool_change("exercise", NOW, action, &settings)
            .await
            .expect("inserts");
    }
    let changes = tx
        .pool_changes("exercise", i64::MAX, 9)
        .await
        .expect("reads");
    let actions: Vec<_> = changes
        .iter()
        .map(|change| change.action.as_str())
        .collect();
    assert_eq!(actions, ["change", "create"]);
    assert_eq!(changes[0].settings.0, settings);
    let rest = tx
        .pool_changes("exercise", changes[0].id, 9)
        .await
        .expect("reads");
    assert_eq!(rest.len(), 1);
    pool
}

async fn ranges<T: PoolStatements>(tx: &mut T, pool: &PoolRow) {
    let range = |first, last| IntervalRow {
        pool_id: pool.id,
        first: addr(first),
        last: addr(last),
    };
    let low = range("10.9.0.10", "10.9.0.20");
    let high = range("10.9.1.0", "10.9.1.255");
    for ranges in [&[low][..], &[low, high], &[], &[low, high]] {
        tx.replace_ranges(pool.vrf_id, pool.id, ranges)
            .await
            .expect("replaces");
    }
    let vrf_id = pool.vrf_id;
    for (last, except, expected) in [
        ("10.9.2.0", 0, Some(high)),
        ("10.9.0.255", 0, Some(low)),
        ("10.9.0.9", 0, None),
        ("10.9.2.0", pool.id, None),
        // The other family is never in the way: what is found there does not reach.
        ("::1", 0, None),
        ("2001:db8::", 0, None),
    ] {
        let found = tx
            .range_at_or_before(vrf_id, addr(last), except)
            .await
            .expect("reads")
            .filter(|range| expected.is_some() || range.last >= addr(last));
        assert_eq!(found, expected, "at or before {last}");
    }
    for (last, expected) in [("10.9.0.0", true), ("10.8.255.255", false), ("::1", false)] {
        let found = tx
            .subnet_at_or_before(vrf_id, addr(last))
            .await
            .expect("reads");
        assert_eq!(found.is_some(), expected, "at or before {last}");
    }
}

async fn counters<T: SpaceStatements>(tx: &mut T, pool_id: i64) {
    let mut counter = CounterRow {
        pool_id,
        leased: 1,
        leased_reserved: 2,
        quarantined: 3,
        returned: 4,
        fresh_from: addr("10.9.0.0"),
        returned_from_at: Moment::NEVER,
        returned_from: addr("10.9.0.0"),
        returned_first: false,
        probe_at: NOW,
        last_at: NOW,
    };
    tx.insert_counter(&counter).await.expect("inserts");
    let locked = tx.lock_counters(&[-1, pool_id]).await.expect("locks");
    assert_eq!(locked, [counter.clone()]);
    counter.leased = 7;
    counter.returned_first = true;
    counter.returned_from_at = later(1);
    counter.returned_from = addr("10.9.0.9");
    tx.save_counters(std::slice::from_ref(&counter))
        .await
        .expect("saves");
    let read = tx.counters(&[pool_id]).await.expect("reads");
    assert_eq!(read, [counter]);
}

async fn free_space<T: Statements>(tx: &mut T, pool_id: i64) {
    let free = |first, last, free_at| FreeRow {
        pool_id,
        first: addr(first),
        last: addr(last),
        free_at,
    };
    let fresh = [
        free("10.9.0.0", "10.9.0.3", Moment::NEVER),
        free("10.9.1.0", "10.9.1.255", Moment::NEVER),
    ];
    let rested = [
        free("10.9.0.9", "10.9.0.9", later(-9)),
        free("10.9.0.7", "10.9.0.7", later(-8)),
    ];
    let resting = [
        free("10.9.0.6", "10.9.0.6", later(5)),
        free("10.9.0.5", "10.9.0.5", later(6)),
    ];
    for rows in [&fresh, &rested, &resting] {
        tx.insert_free(rows).await.expect("inserts");
    }
    let lowest = addr("0.0.0.0");
    let found = tx.fresh_ranges(pool_id, lowest, 9).await.expect("reads");
    assert_eq!(found, fresh);
    let found = tx.fresh_ranges(pool_id, fresh[1].first, 9).await;
    assert_eq!(found.expect("reads"), fresh[1..]);
    for (from, until, expected) in [
        ((Moment::NEVER, lowest), NOW, &rested[..]),
        (
            (rested[0].free_at, rested[0].first.next()),
            NOW,
            &rested[1..],
        ),
        ((later(-8), lowest), later(-9), &[]),
    ] {
        let found = tx.returned_ranges(pool_id, from, until, 9).await;
        assert_eq!(found.expect("reads"), expected, "from {from:?}");
    }
    for (count, more) in [(1, true), (2, false)] {
        let found = tx
            .more_returned_than(pool_id, (Moment::NEVER, lowest), NOW, count)
            .await;
        assert_eq!(found.expect("reads"), more, "more than {count}");
    }
    assert_eq!(tx.cooling(pool_id, NOW).await.expect("reads"), 2);
    assert_eq!(tx.cooling(pool_id, later(5)).await.expect("reads"), 1);
    let next = tx.next_free_at(pool_id, NOW).await.expect("reads");
    assert_eq!(next, Some(later(5)));
    let next = tx.next_free_at(pool_id, later(6)).await.expect("reads");
    assert_eq!(next, None);
    let found = tx.free_at_or_before(pool_id, addr("10.9.0.2")).await;
    assert_eq!(found.expect("reads"), Some(fresh[0]));
    let asked = ["10.9.0.6", "10.9.0.2", "10.9.0.0", "10.8.0.0"].map(addr);
    let found = tx.free_at_or_before_each(pool_id, &asked).await;
    assert_eq!(found.expect("reads"), [fresh[0], resting[0]]);
    let (first, last) = (addr("10.9.0.6"), addr("10.9.1.0"));
    let found = tx.free_between(pool_id, first, last, 2).await;
    assert_eq!(found.expect("reads"), [resting[0], rested[1]]);
    tx.delete_free(&resting).await.expect("deletes");
    tx.delete_free(&resting)
        .await
        .expect_err("what is not there is not deleted");
    let gone = tx.delete_free_between(pool_id, first, last, 2).await;
    assert_eq!(sorted(gone.expect("deletes")), [rested[1], rested[0]]);
    let gone = tx.delete_free_between(pool_id, lowest, addr("10.9.9.0"), 9);
    assert_eq!(sorted(gone.await.expect("deletes")), fresh);
}

fn sorted(mut rows: Vec<FreeRow>) -> Vec<FreeRow> {
    rows.sort_by_key(|row| row.first);
    rows
}

async fn removals<T: SpaceStatements>(tx: &mut T, pool_id: i64) {
    let removal = IntervalRow {
        pool_id,
        first: addr("10.9.0.0"),
        last: addr("10.9.0.255"),
    };
    let resting = FreeRow {
        pool_id,
        first: addr("10.9.0.255"),
        last: addr("10.9.0.255"),
        free_at: later(9),
    };
    tx.insert_free(&[resting]).await.expect("inserts");
    assert_eq!(tx.cooling(pool_id, NOW).await.expect("reads"), 1);
    tx.insert_removals(&[removal]).await.expect("inserts");
    let cooling = tx.cooling(pool_id, NOW).await.expect("reads");
    assert_eq!(cooling, 0, "what is being removed does not cool");
    let pools = tx.pools_with_removals().await.expect("reads");
    assert!(pools.contains(&pool_id));
    let found = tx.removals(&[pool_id, -1]).await.expect("reads");
    assert_eq!(found, [removal]);
    tx.delete_removal(&removal).await.expect("deletes");
    let found = tx.removals(&[pool_id]).await.expect("reads");
    assert_eq!(found, []);
    tx.delete_free(&[resting]).await.expect("deletes");
}

fn attachment(container_id: &str) -> AttachmentRow {
    AttachmentRow {
        id: Uuid::now_v7(),
        cluster: "default".to_owned(),
        node: "exercise".to_owned(),
        network: "net".to_owned(),
        container_id: container_id.to_owned(),
        ifname: "eth0".to_owned(),
        claim_boot: Some("boot".to_owned()),
        claim_issued: Some(i64::MAX),
        granted_issued: None,
        release_boot: None,
        release_issued: Some(-1),
        released_at: None,
        pod_namespace: Some("space".to_owned()),
        pod_name: Some("it's \"a\" pod\\".to_owned()),
        pod_uid: None,
    }
}

async fn attachments<T: LeaseStatements>(tx: &mut T) {
    let mut first = attachment("c1");
    let second = attachment("c2");
    let inserted = tx.upsert_attachments(std::slice::from_ref(&first)).await;
    assert_eq!(inserted.expect("inserts"), [first.clone()]);
    let mut again = first.clone();
    again.id = Uuid::now_v7();
    again.claim_boot = Some("another".to_owned());
    let mut found = tx
        .upsert_attachments(&[again, second.clone()])
        .await
        .expect("locks and inserts");
    found.sort_by(|a, b| a.container_id.cmp(&b.container_id));
    assert_eq!(found, [first.clone(), second.clone()]);
    first.id = Uuid::now_v7();
    first.claim_issued = Some(1_234_567_890_123_456_789);
    first.released_at = Some(NOW);
    first.pod_name = None;
    tx.save_attachments(&[second.clone(), first.clone()])
        .await
        .expect("saves");
    let mut found = tx
        .find_attachments(&[first.key(), second.key(), attachment("absent").key()])
        .await
        .expect("reads");
    found.sort_by(|a, b| a.container_id.cmp(&b.container_id));
    assert_eq!(found, [first.clone(), second.clone()]);
    tx.save_attachments(&[attachment("absent")])
        .await
        .expect_err("a mark that is nowhere is not saved");
    for (after, expected) in [(("", ""), 1), (("c2", "eth"), 1), (("c2", "eth0"), 0)] {
        let holders = tx
            .holders_on("default", "exercise", "net", after, 9)
            .await
            .expect("reads");
        assert_eq!(holders.len(), expected, "after {after:?}");
    }
    let pruned = tx.prune_attachments(NOW, 9).await.expect("prunes");
    assert_eq!(pruned, 0, "only what is older");
    let pruned = tx.prune_attachments(later(1), 9).await.expect("prunes");
    assert_eq!(pruned, 1);
    tx.delete_attachments(&[second.id]).await.expect("deletes");
    let found = tx.find_attachments(&[first.key(), second.key()]).await;
    assert_eq!(found.expect("reads"), []);
}

fn lease(pool: &PoolRow, holder: &AttachmentRow, entry: i32, address: &str) -> LeaseRow {
    LeaseRow {
        attachment_id: holder.id,
        entry,
        vrf_id: pool.vrf_id,
        address: addr(address),
        pool_id: pool.id,
        owner: None,
        created_at: NOW,
    }
}

async fn leases<T: Statements>(tx: &mut T, pool: &PoolRow) {
    let holder = attachment("c3");
    let rows = [
        lease(pool, &holder, 0, "10.9.0.2"),
        lease(pool, &holder, 1, "10.9.0.1"),
    ];
    tx.upsert_attachments(std::slice::from_ref(&holder))
        .await
        .expect("inserts");
    tx.insert_leases(&rows).await.expect("inserts");
    let found = tx.leases_of(&[holder.id, Uuid::now_v7()]).await;
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
    tx.archive_leases(&rows, later(60), "release")
        .await
        .expect("archives");
    let found = tx.leases_of(&[holder.id]).await.expect("reads");
    assert_eq!(found, []);
    tx.delete_attachments(&[holder.id]).await.expect("deletes");
}

async fn lists<T: LeaseStatements>(tx: &mut T, pool: &PoolRow) {
    let holder = attachment("c4");
    let rows = ["10.9.0.1", "10.9.0.2", "10.9.0.3"].map(|address| {
        let entry = i32::from(address.as_bytes()[7] - b'1');
        lease(pool, &holder, entry, address)
    });
    tx.upsert_attachments(std::slice::from_ref(&holder))
        .await
        .expect("inserts");
    tx.insert_leases(&rows).await.expect("inserts");
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
    tx.archive_leases(&rows, later(70), "gc")
        .await
        .expect_err("a lease has one life");
    tx.delete_attachments(&[holder.id]).await.expect("deletes");
}

async fn history<T: Statements>(tx: &mut T, pool: &PoolRow) {
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
        for released in found.iter().filter(|released| released.address == address) {
            assert_eq!(released.released_at, later(70));
        }
    }
    assert_eq!(tx.prune_history(Moment(1), 9).await.expect("prunes"), 0);
}

async fn nodes<T: LeaseStatements>(tx: &mut T) {
    let mut node = tx
        .lock_node("default", "exercise", NOW)
        .await
        .expect("inserts");
    assert_eq!(
        (node.machine_id.clone(), node.boot_id.clone()),
        (None, None)
    );
    for boot in [None, Some("one"), Some("two"), Some("one")] {
        node.machine_id = Some("machine".to_owned());
        node.boot_id = boot.map(str::to_owned);
        let now = later(boot.map_or(0, |boot| -(boot.len() as i64)));
        tx.save_node(&node, now).await.expect("saves");
    }
    let again = tx.lock_node("default", "exercise", NOW).await;
    assert_eq!(again.expect("locks").id, node.id);
    let names = ["exercise", "absent"].map(|name| ("default".to_owned(), name.to_owned()));
    let found = tx.nodes(&names).await.expect("reads");
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].boot_id.as_deref(), Some("one"));
    let boots = tx.boots("default", "exercise").await.expect("reads");
    assert_eq!(boots, ["one", "two"]);
}
