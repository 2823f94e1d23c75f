//! Free space when a pool's addresses change: what is taken out of leasing, and what is put in.

use std::collections::HashSet;
use std::time::Duration;

use super::removal::returned_among;
use crate::error::{Error, Result};
use crate::pool::{Interval, minus, union};
use crate::store::addr::Addr;
use crate::store::moment::Moment;
use crate::store::pools::interval_rows;
use crate::store::rows::{CounterRow, FreeRow, PoolRow};
use crate::store::statements::Statements;

/// Addresses that need a look of their own when space is put in: leased ones, resting ones. It bounds the transaction.
const SINGLE_MAX: usize = 100_000;
/// Leases that are read at a time.
const PAGE: i64 = 5_000;

/// Takes these intervals out of the pool's free space: rows that reach over an interval's borders are trimmed, and what
/// lies inside is noted as a removal, to go in chunks.
pub(super) async fn take_out<T: Statements>(
    tx: &mut T,
    counter: &mut CounterRow,
    intervals: &[Interval],
) -> Result<()> {
    let mut cut = Cut::default();
    for interval in intervals {
        cut_one(tx, counter.pool_id, &mut cut, *interval).await?;
    }
    let Cut { old, mut new, rest } = cut;
    new.extend(rest);
    counter.returned += returned_among(&new) - returned_among(&old);
    tx.delete_free(&old).await?;
    tx.insert_free(&new).await?;
    Ok(())
}

/// Rows that are replaced. Written at the end at once: thousands of exclusions may go into one row.
#[derive(Default)]
struct Cut {
    old: Vec<FreeRow>,
    new: Vec<FreeRow>,
    /// What is left of the last row behind the interval that was cut last.
    rest: Option<FreeRow>,
}

/// Cuts one interval out; intervals come in order.
async fn cut_one<T: Statements>(
    tx: &mut T,
    pool_id: i64,
    cut: &mut Cut,
    interval: Interval,
) -> Result<()> {
    if !cut.rest.is_some_and(|rest| reaches(&rest, interval.first)) {
        cut.new.extend(cut.rest.take());
        let row = tx.free_at_or_before(pool_id, interval.first).await?;
        cut.rest = row.filter(|row| reaches(row, interval.first));
        cut.old.extend(cut.rest);
    }
    if let Some(row) = cut.rest.take() {
        if row.first < interval.first {
            let last = Addr(interval.first.0 - 1);
            cut.new.push(FreeRow { last, ..row });
        }
        cut.rest = behind(&row, interval);
        if row.last >= interval.last {
            // The interval lies in one row, so that no other begins in it.
            return Ok(());
        }
    }
    let row = tx.free_at_or_before(pool_id, interval.last).await?;
    if let Some(row) = row.filter(|row| row.first > interval.first && row.last > interval.last) {
        cut.old.push(row);
        cut.rest = behind(&row, interval);
    }
    note_inside(tx, pool_id, cut, interval).await
}

/// Notes a removal when whole rows lie in the interval, other than those that were cut.
async fn note_inside<T: Statements>(
    tx: &mut T,
    pool_id: i64,
    cut: &Cut,
    interval: Interval,
) -> Result<()> {
    // At most two were cut: one at either end.
    let Interval { first, last } = interval;
    let inside = tx.free_between(pool_id, first, last, 3).await?;
    if inside.iter().any(|row| !cut.old.contains(row)) {
        for removal in interval_rows(pool_id, &[interval]) {
            tx.insert_removal(&removal).await?;
        }
    }
    Ok(())
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
/// were released so lately that they rest.
pub(super) async fn put_in<T: Statements>(
    tx: &mut T,
    pool: &PoolRow,
    counter: &mut CounterRow,
    intervals: &[Interval],
    now: Moment,
) -> Result<()> {
    if intervals.is_empty() {
        return Ok(());
    }
    let leased = leased_in(tx, pool, intervals).await?;
    let resting = resting_in(tx, pool, intervals, &leased, now).await?;
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
    tx.insert_free(&rows).await?;
    Ok(())
}

/// The addresses in the intervals that the pool's leases are on.
async fn leased_in<T: Statements>(
    tx: &mut T,
    pool: &PoolRow,
    intervals: &[Interval],
) -> Result<HashSet<Addr>> {
    let mut leased = HashSet::new();
    for interval in intervals {
        let mut first = interval.first;
        loop {
            let page = tx
                .leases_between(pool.vrf_id, pool.id, first, interval.last, PAGE)
                .await?;
            leased.extend(page.iter().map(|held| held.lease.address));
            check_bound(pool, leased.len())?;
            match page.last() {
                Some(last) if page.len() as i64 == PAGE && last.lease.address < interval.last => {
                    first = last.lease.address.next();
                }
                _ => break,
            }
        }
    }
    Ok(leased)
}

/// The addresses in the intervals that rest still, each as a row of its own.
async fn resting_in<T: Statements>(
    tx: &mut T,
    pool: &PoolRow,
    intervals: &[Interval],
    leased: &HashSet<Addr>,
    now: Moment,
) -> Result<Vec<FreeRow>> {
    let delay = Duration::from_secs(pool.reuse_delay_s.unsigned_abs());
    let since = now.minus(delay);
    let mut resting = Vec::new();
    for &Interval { first, last } in intervals {
        let limit = SINGLE_MAX as i64 + 1;
        let released = tx
            .released_since(pool.vrf_id, first, last, since, limit)
            .await?;
        let rows = released
            .into_iter()
            .filter(|released| !leased.contains(&released.address))
            .map(|released| FreeRow {
                pool_id: pool.id,
                first: released.address,
                last: released.address,
                free_at: released.released_at.plus(delay),
            });
        resting.extend(rows);
        check_bound(pool, resting.len())?;
    }
    Ok(resting)
}

fn check_bound(pool: &PoolRow, count: usize) -> Result<()> {
    if count <= SINGLE_MAX {
        return Ok(());
    }
    Err(Error::Invalid(format!(
        "pool {:?}: more than {SINGLE_MAX} addresses of the space that would be leasable again are leased or rest; put it \
         back in smaller parts",
        pool.name
    )))
}
