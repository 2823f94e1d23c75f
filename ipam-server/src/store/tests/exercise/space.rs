//! Counters and free space.

use super::{NOW, addr, later};
use crate::store::changes::Changes;
use crate::store::moment::Moment;
use crate::store::rows::{CounterRow, FreeRow, IntervalRow};
use crate::store::statements::{Answer, Statements};

pub(super) async fn counters<T: Statements>(tx: &mut T, pool_id: i64) {
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
        version: 0,
    };
    tx.insert_counter(&counter).await.expect("inserts");
    let locked = tx.lock_counters(&[-1, pool_id]).await.expect("locks");
    assert_eq!(locked, [counter.clone()]);
    counter.leased = 7;
    counter.returned_first = true;
    counter.returned_from_at = later(1);
    counter.returned_from = addr("10.9.0.9");
    let changes = Changes::of_counter(counter.clone());
    tx.write(&changes).await.expect("saves");
    counter.version = 1;
    let read = tx.counters(&[pool_id]).await.expect("reads");
    assert_eq!(read, [counter]);
}

pub(super) async fn free_space<T: Statements>(tx: &mut T, pool_id: i64) {
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
        add(tx, rows).await;
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
    remove(tx, &resting).await.expect("deletes");
    let cut = FreeRow {
        first: addr("10.9.1.7"),
        ..fresh[1]
    };
    let cuts = Changes::of_space(vec![fresh[1]], vec![cut]);
    tx.write(&cuts).await.expect("updates");
    let gone = tx.delete_free_between(pool_id, first, last, 2).await;
    assert_eq!(sorted(gone.expect("deletes")), [rested[1], rested[0]]);
    let gone = tx.delete_free_between(pool_id, lowest, addr("10.9.9.0"), 9);
    assert_eq!(sorted(gone.await.expect("deletes")), [fresh[0], cut]);
}

fn fresh(pool_id: i64, address: &str) -> FreeRow {
    FreeRow {
        pool_id,
        first: addr(address),
        last: addr(address),
        free_at: Moment::NEVER,
    }
}

async fn add<T: Statements>(tx: &mut T, rows: &[FreeRow]) {
    let changes = Changes::of_space(Vec::new(), rows.to_vec());
    tx.write(&changes).await.expect("inserts");
}

async fn remove<T: Statements>(tx: &mut T, rows: &[FreeRow]) -> Answer<()> {
    tx.write(&Changes::of_space(rows.to_vec(), Vec::new()))
        .await
}

fn sorted(mut rows: Vec<FreeRow>) -> Vec<FreeRow> {
    rows.sort_by_key(|row| row.first);
    rows
}

pub(super) async fn removals<T: Statements>(tx: &mut T, pool_id: i64) {
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
    add(tx, &[resting]).await;
    assert_eq!(tx.cooling(pool_id, NOW).await.expect("reads"), 1);
    tx.insert_removals(&[removal]).await.expect("inserts");
    let cooling = tx.cooling(pool_id, NOW).await.expect("reads");
    assert_eq!(cooling, 0, "what is being removed does not cool");
    let pools = tx.pools_with_removals().await.expect("reads");
    assert!(pools.contains(&pool_id));
    let found = tx.removals(&[pool_id, -1]).await.expect("reads");
    assert_eq!(found, [removal]);
    let (low, high) = (fresh(pool_id, "10.9.1.0"), fresh(pool_id, "10.9.2.0"));
    add(tx, &[low, high, fresh(pool_id, "10.9.3.0")]).await;
    let counter = tx.counters(&[pool_id]).await.expect("reads").remove(0);
    let above = CounterRow {
        fresh_from: low.first.next(),
        ..counter.clone()
    };
    for (counter, wanted, found) in [
        (&counter, 2, vec![low, high]),
        (&counter, 0, vec![]),
        (&above, 1, vec![high]),
    ] {
        let changes = Changes::of_counter(counter.clone());
        if counter == &above {
            tx.write(&changes).await.expect("saves");
        }
        let locked = tx.lock_pools(&[pool_id, -1], wanted).await;
        let locked = locked.expect("reads");
        let marks: Vec<_> = locked.counters.iter().map(|row| row.fresh_from).collect();
        assert_eq!(marks, [counter.fresh_from]);
        assert_eq!(locked.removals, [removal]);
        assert_eq!(locked.pools.len(), 1);
        assert_eq!(locked.fresh, found);
        assert!(locked.wall > NOW);
    }
    let nothing = tx.lock_pools(&[-1], 1).await;
    assert!(nothing.expect("reads the clock").wall > NOW);
    tx.delete_removal(&removal).await.expect("deletes");
    let found = tx.removals(&[pool_id]).await.expect("reads");
    assert_eq!(found, []);
    remove(tx, &[resting]).await.expect("deletes");
}
