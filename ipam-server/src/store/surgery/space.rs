//! Free space when a pool's addresses change: what is taken out of leasing, and what is put in.

use std::collections::HashSet;

use super::removal::returned_among;
use crate::error::{Error, Result};
use crate::pool::{Interval, minus, union};
use crate::store::addr::Addr;
use crate::store::changes::Changes;
use crate::store::moment::Moment;
use crate::store::pools::interval_rows;
use crate::store::rows::{CounterRow, FreeRow, PoolRow};
use crate::store::statements::Statements;

/// Addresses that need a look of their own when space is put in: leased ones, resting ones. It bounds the transaction.
const SINGLE_MAX: i64 = 100_000;

/// Takes these intervals, which come in order, out of the pool's free space: rows that reach over an interval's borders
/// are trimmed, and what may lie inside is noted as a removal, to go in chunks.
pub(super) async fn take_out<T: Statements>(
    tx: &mut T,
    counter: &mut CounterRow,
    intervals: &[Interval],
) -> Result<()> {
    if intervals.is_empty() {
        return Ok(());
    }
    let borders: Vec<_> = intervals
        .iter()
        .flat_map(|interval| [interval.first, interval.last])
        .collect();
    let rows = tx.free_at_or_before_each(counter.pool_id, &borders).await?;
    let cut = Cut::of(&rows, intervals);
    counter.returned += returned_among(&cut.new) - returned_among(&cut.old);
    tx.write(&Changes::of_space(cut.old, cut.new)).await?;
    let removals = interval_rows(counter.pool_id, &cut.removals);
    tx.insert_removals(&removals).await?;
    Ok(())
}

/// What taking intervals out does to the rows at their borders.
#[derive(Debug, Default, PartialEq)]
struct Cut {
    old: Vec<FreeRow>,
    new: Vec<FreeRow>,
    /// Intervals that whole rows may lie in.
    removals: Vec<Interval>,
}

impl Cut {
    /// `rows`: for each interval the row that begins last at or before its first address, and that for its last address.
    fn of(rows: &[FreeRow], intervals: &[Interval]) -> Self {
        let mut cut = Self::default();
        // What is left of the last row behind the interval before.
        let mut rest: Option<FreeRow> = None;
        for &interval in intervals {
            let cut_before = rest.take_if(|rest| reaches(rest, interval.first));
            cut.new.extend(rest.take());
            let at_first = match cut_before {
                Some(row) => Some(row),
                None => {
                    let row = begins_at_or_before(rows, interval.first)
                        .filter(|row| reaches(row, interval.first));
                    cut.old.extend(row);
                    row
                }
            };
            if let Some(row) = at_first {
                if row.first < interval.first {
                    cut.new.push(FreeRow {
                        last: interval.first.previous(),
                        ..row
                    });
                }
                rest = behind(&row, interval);
                if row.last >= interval.last {
                    // The interval lies in one row, so that no other begins in it.
                    continue;
                }
            }
            let at_last = begins_at_or_before(rows, interval.last);
            let Some(row) = at_last.filter(|row| row.first > interval.first) else {
                continue;
            };
            cut.removals.push(interval);
            rest = behind(&row, interval);
            if rest.is_some() {
                cut.old.push(row);
            }
        }
        cut.new.extend(rest);
        cut
    }
}

fn begins_at_or_before(rows: &[FreeRow], address: Addr) -> Option<FreeRow> {
    let after = rows.partition_point(|row| row.first <= address);
    after.checked_sub(1).map(|index| rows[index])
}

fn reaches(row: &FreeRow, address: Addr) -> bool {
    row.first <= address && address <= row.last
}

/// What of the row lies behind the interval.
fn behind(row: &FreeRow, interval: Interval) -> Option<FreeRow> {
    (row.last > interval.last).then(|| FreeRow {
        first: interval.last.next(),
        ..*row
    })
}

/// Puts these intervals into the pool's free space: as never used, but for addresses that are leased, and for those that
/// were released so lately that they rest. `rest`: up to when released addresses have rested.
pub(in crate::store) async fn put_in<T: Statements>(
    tx: &mut T,
    pool: &PoolRow,
    counter: &mut CounterRow,
    intervals: &[Interval],
    rest: Moment,
) -> Result<()> {
    if intervals.is_empty() {
        return Ok(());
    }
    let leased = leased_in(tx, pool, intervals).await?;
    let resting = resting_in(tx, pool, intervals, &leased, rest).await?;
    let mut taken: Vec<_> = leased.into_iter().map(Interval::one).collect();
    taken.extend(resting.iter().map(|row| Interval::one(row.first)));
    let mut rows: Vec<_> = minus(intervals, &union(&taken))
        .into_iter()
        .map(|fresh| FreeRow {
            pool_id: pool.id,
            first: fresh.first,
            last: fresh.last,
            free_at: Moment::NEVER,
        })
        .collect();
    // The marks of where the live rows begin go down to the new ones.
    if let Some(first) = rows.first() {
        counter.fresh_from = counter.fresh_from.min(first.first);
    }
    let head = (counter.returned_from_at, counter.returned_from);
    let lowest = resting.iter().map(|row| (row.free_at, row.first)).min();
    if let Some(lowest) = lowest.filter(|lowest| *lowest < head) {
        (counter.returned_from_at, counter.returned_from) = lowest;
    }
    counter.returned += returned_among(&resting);
    rows.extend(resting);
    tx.write(&Changes::of_space(Vec::new(), rows)).await?;
    Ok(())
}

/// The addresses in the intervals that the pool's leases are on.
async fn leased_in<T: Statements>(
    tx: &mut T,
    pool: &PoolRow,
    intervals: &[Interval],
) -> Result<HashSet<Addr>> {
    let leased = tx
        .leased_on(pool.vrf_id, pool.id, intervals, SINGLE_MAX + 1)
        .await?;
    check_bound(pool, leased.len())?;
    Ok(leased.into_iter().collect())
}

/// The addresses in the intervals that rest still, each as a row of its own.
async fn resting_in<T: Statements>(
    tx: &mut T,
    pool: &PoolRow,
    intervals: &[Interval],
    leased: &HashSet<Addr>,
    rest: Moment,
) -> Result<Vec<FreeRow>> {
    let delay = pool.reuse_delay();
    let released = tx
        .released_since(pool.vrf_id, intervals, rest.minus(delay), SINGLE_MAX + 1)
        .await?;
    check_bound(pool, released.len())?;
    Ok(released
        .into_iter()
        .filter(|released| !leased.contains(&released.address))
        .map(|released| FreeRow {
            pool_id: pool.id,
            first: released.address,
            last: released.address,
            free_at: released.released_at.plus(delay),
        })
        .collect())
}

fn check_bound(pool: &PoolRow, count: usize) -> Result<()> {
    if count as i64 <= SINGLE_MAX {
        return Ok(());
    }
    Err(Error::Invalid(format!(
        "pool {:?}: more than {SINGLE_MAX} addresses of the space that would be leasable again are leased or rest; put it \
         back in smaller parts",
        pool.name
    )))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;
    use crate::pool::union;

    fn interval((first, more): (u128, u128)) -> Interval {
        Interval {
            first: Addr(first),
            last: Addr(first + more),
        }
    }

    fn intervals() -> impl Strategy<Value = Vec<Interval>> {
        proptest::collection::vec((0u128..120, 0u128..9).prop_map(interval), 0..14)
            .prop_map(|intervals| union(&intervals))
    }

    fn numbers<'a>(intervals: impl IntoIterator<Item = &'a Interval>) -> BTreeSet<u128> {
        intervals
            .into_iter()
            .flat_map(|interval| interval.first.0..=interval.last.0)
            .collect()
    }

    fn of_rows(rows: &[FreeRow]) -> Vec<Interval> {
        rows.iter()
            .map(|row| Interval {
                first: row.first,
                last: row.last,
            })
            .collect()
    }

    proptest! {
        #[test]
        fn what_is_cut_out_is_gone_or_lies_in_whole_rows_within_removals(
            free in intervals(),
            split in proptest::collection::btree_set(0u128..130, 0..30),
            gone in intervals(),
        ) {
            // Rows may touch: what was released comes back address by address.
            let mut rows: Vec<FreeRow> = Vec::new();
            for number in numbers(&free) {
                let touches = rows.last().is_some_and(|row| row.last.0 + 1 == number);
                match rows.last_mut() {
                    Some(row) if touches && !split.contains(&number) => row.last = Addr(number),
                    _ => rows.push(FreeRow {
                        pool_id: 1,
                        first: Addr(number),
                        last: Addr(number),
                        free_at: Moment::NEVER,
                    }),
                }
            }
            let cut = Cut::of(&rows, &gone);

            let mut left: Vec<_> = rows.clone();
            for old in &cut.old {
                let before = left.len();
                left.retain(|row| row != old);
                prop_assert_eq!(left.len() + 1, before, "{:?} is replaced once", old);
            }
            left.extend(&cut.new);
            left.sort_by_key(|row| row.first);
            for pair in left.windows(2) {
                prop_assert!(pair[0].last < pair[1].first, "{:?}", pair);
            }
            left.retain(|row| {
                let row = Interval { first: row.first, last: row.last };
                !cut.removals.iter().any(|removal| removal.first <= row.first && row.last <= removal.last)
            });
            prop_assert_eq!(numbers(&of_rows(&left)), &numbers(&free) - &numbers(&gone));
            prop_assert!(cut.removals.iter().all(|removal| gone.contains(removal)));
        }
    }
}
