//! One pool's accounting.

use super::Findings;
use super::walk::Walk;
use crate::error::Result;
use crate::pool::{Interval, Layout, contains, count, union};
use crate::store::addr::Addr;
use crate::store::clock::Clock;
use crate::store::moment::Moment;
use crate::store::rows::{CounterRow, FreeRow, LeaseRow, PoolRow};
use crate::store::statements::Statements;

/// What the rows say.
#[derive(Default)]
struct Tally {
    /// Free addresses, resting ones included, but for those on their way out.
    free: u128,
    cooling: u128,
    /// Rows that were leased before, those on their way out included.
    returned: i64,
    /// Leases, the quarantined ones left out.
    leased: i64,
    quarantined: i64,
    /// Leases of both kinds on addresses that are reserved by now.
    leased_reserved: i64,
}

/// What a row is held against.
struct Pool<'a> {
    row: &'a PoolRow,
    layout: Layout,
    removals: Vec<Interval>,
    counter: CounterRow,
    /// Up to when addresses have rested.
    rested: Moment,
}

pub(super) async fn audit<T: Statements>(
    tx: &mut T,
    clock: &Clock,
    row: &PoolRow,
    findings: &mut Findings,
) -> Result<()> {
    let counter = tx.counters(&[row.id]).await?.into_iter().next();
    let Some(counter) = counter else {
        findings.add(|| format!("pool {:?} has no counter", row.name));
        return Ok(());
    };
    let reading = clock.read(tx.wall_clock().await?);
    let removals = tx.removals(&[row.id]).await?;
    let removals: Vec<_> = removals
        .iter()
        .map(|removal| Interval {
            first: removal.first,
            last: removal.last,
        })
        .collect();
    let pool = Pool {
        row,
        layout: Layout::of_row(row),
        removals: union(&removals),
        rested: reading.rested_until(row.reuse_delay()),
        counter,
    };
    pool.audit_ranges(tx, findings).await?;
    let tally = pool.count_rows(tx, findings).await?;
    pool.audit_statements(tx, &tally, findings).await?;
    pool.audit_counter(&tally, findings);
    pool.audit_sum(&tally, findings);
    Ok(())
}

impl Pool<'_> {
    fn say(&self, findings: &mut Findings, what: impl std::fmt::Display) {
        findings.add(|| format!("pool {:?}: {what}", self.row.name));
    }

    /// The ranges that keep other pools away are those of the settings.
    async fn audit_ranges<T: Statements>(&self, tx: &mut T, findings: &mut Findings) -> Result<()> {
        for range in &self.layout.ranges {
            // No pool has this id, so that none is left out.
            let found = tx
                .range_at_or_before(self.row.vrf_id, range.last, -1)
                .await?;
            let is_there = found.is_some_and(|found| {
                (found.pool_id, found.first, found.last) == (self.row.id, range.first, range.last)
            });
            if !is_there {
                self.say(
                    findings,
                    format_args!("pool_range does not have {range} as it is, but {found:?}"),
                );
            }
        }
        Ok(())
    }

    /// Walks free rows and leases side by side.
    async fn count_rows<T: Statements>(
        &self,
        tx: &mut T,
        findings: &mut Findings,
    ) -> Result<Tally> {
        let mut tally = Tally::default();
        let (mut free, mut leased) = (Walk::free(self.row), Walk::leased(self.row));
        let mut before: Option<FreeRow> = None;
        while let Some(row) = free.next(tx, self.row).await? {
            if let Some(before) = before.filter(|before| row.first <= before.last) {
                self.say(
                    findings,
                    format_args!("free rows overlap: {before:?}, {row:?}"),
                );
            }
            before = Some(row);
            self.count_free(&row, &mut tally, findings);
            while let Some(lease) = leased.next_up_to(tx, self.row, row.last).await? {
                self.count_lease(&lease, &mut tally, findings);
                let address = lease.address;
                if row.first <= address {
                    self.say(findings, format_args!("{address} is both leased and free"));
                }
            }
        }
        while let Some(lease) = leased
            .next_up_to(tx, self.row, self.row.subnet_last)
            .await?
        {
            self.count_lease(&lease, &mut tally, findings);
        }
        Ok(tally)
    }

    fn count_free(&self, row: &FreeRow, tally: &mut Tally, findings: &mut Findings) {
        let interval = Interval {
            first: row.first,
            last: row.last,
        };
        let is_returned = row.free_at != Moment::NEVER;
        tally.returned += i64::from(is_returned);
        if is_returned && (row.free_at, row.first) < self.returned_head() {
            self.say(
                findings,
                format_args!("{row:?} is below the head of returned rows"),
            );
        }
        if !is_returned && row.first < self.counter.fresh_from {
            self.say(
                findings,
                format_args!("{row:?} is below the head of fresh rows"),
            );
        }
        if holds(&self.removals, interval) {
            return;
        }
        if !holds(&self.layout.leasable, interval) {
            self.say(
                findings,
                format_args!("free row {row:?} is not within leasable space"),
            );
        }
        tally.free = tally.free.saturating_add(interval.count());
        if row.free_at > self.rested {
            tally.cooling = tally.cooling.saturating_add(interval.count());
        }
    }

    fn returned_head(&self) -> (Moment, Addr) {
        (self.counter.returned_from_at, self.counter.returned_from)
    }

    fn count_lease(&self, lease: &LeaseRow, tally: &mut Tally, findings: &mut Findings) {
        let address = lease.address;
        match lease.quarantined_until {
            Some(_) => tally.quarantined += 1,
            None => tally.leased += 1,
        }
        if contains(&self.layout.reserved, address) {
            tally.leased_reserved += 1;
        } else if !self.layout.may_lease(address) {
            self.say(
                findings,
                format_args!("{address} is leased but outside the ranges"),
            );
        }
    }

    /// What single statements count is what the walk counts.
    async fn audit_statements<T: Statements>(
        &self,
        tx: &mut T,
        tally: &Tally,
        findings: &mut Findings,
    ) -> Result<()> {
        let cooling = tx.cooling(self.row.id, self.rested).await?;
        if tally.cooling != cooling.unsigned_abs().into() {
            let counted = tally.cooling;
            self.say(
                findings,
                format_args!("{counted} addresses rest, but {cooling} are told"),
            );
        }
        let subnet = [self.row.subnet().interval()];
        let leases = tx
            .count_leases_on(self.row.vrf_id, self.row.id, &subnet)
            .await?;
        let counted = tally.leased + tally.quarantined;
        if leases != counted {
            self.say(
                findings,
                format_args!("of {leases} leases {counted} have an attachment"),
            );
        }
        Ok(())
    }

    fn audit_counter(&self, tally: &Tally, findings: &mut Findings) {
        let told = &self.counter;
        let pairs = [
            ("leased", told.leased, tally.leased),
            (
                "leased_reserved",
                told.leased_reserved,
                tally.leased_reserved,
            ),
            ("quarantined", told.quarantined, tally.quarantined),
            ("returned", told.returned, tally.returned),
        ];
        for (name, told, counted) in pairs {
            if told != counted {
                self.say(
                    findings,
                    format_args!("counter.{name} is {told}, but {counted} are counted"),
                );
            }
        }
    }

    fn audit_sum(&self, tally: &Tally, findings: &mut Findings) {
        let number = |value: i64| u128::from(value.unsigned_abs());
        let size = count(&self.layout.ranges);
        let free = tally.free.saturating_sub(tally.cooling);
        let (leased, cooling) = (number(tally.leased), tally.cooling);
        let quarantined = number(tally.quarantined);
        let reserved = count(&self.layout.reserved).saturating_sub(number(tally.leased_reserved));
        let sum = [free, leased, cooling, quarantined, reserved]
            .into_iter()
            .fold(0, u128::saturating_add);
        if sum != size {
            self.say(
                findings,
                format_args!(
                    "free {free} + leased {leased} + cooling {cooling} + quarantined {quarantined} + reserved {reserved} \
                     = {sum}, but the size is {size}"
                ),
            );
        }
    }
}

/// Whether one interval of the set holds all of this one.
fn holds(set: &[Interval], interval: Interval) -> bool {
    let after = set.partition_point(|held| held.first <= interval.first);
    after > 0 && interval.last <= set[after - 1].last
}
