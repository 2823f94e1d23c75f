//! A pool within one transaction: what of its free space is taken and given back, decided in memory under the pool's lock
//! and written in one go.
//!
//! Never-used space goes first, in the order of addresses; then what was released, the longest ago first. Once a pool
//! holds more than [`MANY_RETURNED`] rested intervals, those go first, so that a busy /8 does not end as a row per address.
//!
//! Cost: the rows that a batch takes and the few that it leaves behind. A pick starts at the counter's marks, below which
//! no live row is, so that it never walks the dead rows that a long snapshot keeps.

use std::collections::{BTreeMap, HashSet};
use std::time::Duration;

use super::addr::Addr;
use super::clock::Times;
use super::fresh::{Fresh, Lowest};
use super::moment::Moment;
use super::resting::Resting;
use super::rows::{CounterRow, FreeRow, IntervalRow, LeaseRow, PoolRow};
use super::statements::{Answer, Statements};
use crate::pool::Layout;

/// From this many rested intervals on they are leased before never-used space.
const MANY_RETURNED: i64 = 65_536;
/// How often it is looked at whether there are that many.
const PROBE_EVERY: Duration = Duration::from_secs(1);
/// The most rows that one statement reads.
pub(super) const READ_AHEAD: usize = 1000;

/// An address taken from free space, and since when it was free.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Taken {
    pub(super) address: Addr,
    free_at: Moment,
}

/// One pool's books. Its counter's row is locked.
#[derive(Debug)]
pub(super) struct Ledger {
    pub(super) pool: PoolRow,
    pub(super) layout: Layout,
    pub(super) counter: CounterRow,
    /// How many addresses the batch may want from here.
    pub(super) demand: usize,
    times: Times,
    resting: Option<Resting>,
    removals: Vec<IntervalRow>,
    fresh: Fresh,
    /// What was leased before, and whether the database has it as it is.
    returned: BTreeMap<(Moment, Addr), bool>,
    /// Up to here, exclusively, `returned` has all there is; none when it has all.
    returned_read_to: Option<(Moment, Addr)>,
    /// Rows that the database has and that are no more.
    gone: Vec<FreeRow>,
    gone_firsts: HashSet<Addr>,
}

impl Ledger {
    pub(super) fn new(
        pool: PoolRow,
        counter: CounterRow,
        removals: Vec<IntervalRow>,
        times: Times,
    ) -> Self {
        Self {
            layout: Layout::of_row(&pool),
            demand: 0,
            times,
            resting: None,
            removals,
            fresh: Fresh::from(counter.fresh_from),
            returned: BTreeMap::new(),
            returned_read_to: Some((counter.returned_from_at, counter.returned_from)),
            gone: Vec::new(),
            gone_firsts: HashSet::new(),
            pool,
            counter,
        }
    }

    /// Whether the pool leases new addresses.
    pub(super) fn is_ready(&self) -> bool {
        self.pool.state == "ready"
    }

    /// How many addresses rest, and for how long the first of them still does. Counted once per transaction, however many claims
    /// find the pool exhausted.
    pub(super) async fn resting<T: Statements>(&mut self, tx: &mut T) -> Answer<Resting> {
        if let Some(resting) = self.resting {
            return Ok(resting);
        }
        let resting = Resting::read(tx, &self.pool, self.times).await?;
        self.resting = Some(resting);
        Ok(resting)
    }

    /// Takes the next address, if there is one.
    pub(super) async fn take<T: Statements>(&mut self, tx: &mut T) -> Answer<Option<Taken>> {
        self.probe(tx).await?;
        let taken = if self.counter.returned_first {
            match self.take_returned(tx).await? {
                None => self.take_fresh(tx).await?,
                some => some,
            }
        } else {
            match self.take_fresh(tx).await? {
                None => self.take_returned(tx).await?,
                some => some,
            }
        };
        self.counter.leased += i64::from(taken.is_some());
        Ok(taken)
    }

    /// Takes this very address, also a resting one; nothing when it is not free.
    pub(super) async fn take_wanted<T: Statements>(
        &mut self,
        tx: &mut T,
        address: Addr,
    ) -> Answer<Option<Taken>> {
        if !self.find(tx, address).await? {
            return Ok(None);
        }
        let rested = (self.returned.keys()).find(|(_, a)| *a == address).copied();
        let taken = if let Some(key) = rested {
            self.remove_returned(key);
            Taken {
                address,
                free_at: key.0,
            }
        } else {
            self.split_fresh(address);
            Taken {
                address,
                free_at: Moment::NEVER,
            }
        };
        self.counter.leased += 1;
        Ok(Some(taken))
    }

    /// Undoes a take of this transaction.
    pub(super) fn untake(&mut self, taken: Taken) {
        self.counter.leased -= 1;
        if taken.free_at == Moment::NEVER {
            self.fresh.add(taken.address, taken.address);
        } else {
            self.add_returned(taken.address, taken.free_at);
        }
    }

    /// Puts a lease's address back; it rests for the pool's reuse delay.
    pub(super) fn give_back(&mut self, lease: &LeaseRow) {
        let address = lease.address;
        *self.count_of(lease) -= 1;
        if self.layout.may_lease(address) {
            // At least one microsecond from 1970: that moment means never-used.
            let free_at = (self.times.clock.plus(self.pool.reuse_delay())).max(Moment(1));
            self.add_returned(address, free_at);
        } else {
            self.counter.leased_reserved -= 1;
        }
    }

    /// Undoes a `give_back` of this transaction.
    pub(super) fn ungive(&mut self, lease: &LeaseRow) {
        let address = lease.address;
        *self.count_of(lease) += 1;
        if !self.layout.may_lease(address) {
            self.counter.leased_reserved += 1;
            return;
        }
        let given = (self.returned.iter()).find(|((_, a), stored)| *a == address && !**stored);
        if let Some((&key, _)) = given {
            self.remove_returned(key);
        }
    }

    /// Counts a lease among the quarantined, or again among the others.
    pub(super) fn quarantine(&mut self, lease: &LeaseRow, until: Option<Moment>) {
        *self.count_of(lease) -= 1;
        let moved = LeaseRow {
            quarantined_until: until,
            ..lease.clone()
        };
        *self.count_of(&moved) += 1;
    }

    /// The counter that the lease is counted in.
    fn count_of(&mut self, lease: &LeaseRow) -> &mut i64 {
        if lease.quarantined_until.is_some() {
            &mut self.counter.quarantined
        } else {
            &mut self.counter.leased
        }
    }

    /// Tells what has changed: rows that are gone, rows that were added, and the counter.
    pub(super) fn close(mut self, gone: &mut Vec<FreeRow>, added: &mut Vec<FreeRow>) -> CounterRow {
        self.move_marks();
        let pool_id = self.pool.id;
        added.extend(self.fresh.unstored().map(|(first, last)| FreeRow {
            pool_id,
            first,
            last,
            free_at: Moment::NEVER,
        }));
        let returned = self.returned.iter().filter(|(_, stored)| !**stored);
        added.extend(returned.map(|((free_at, address), _)| FreeRow {
            pool_id,
            first: *address,
            last: *address,
            free_at: *free_at,
        }));
        gone.append(&mut self.gone);
        self.counter.last_at = self.times.now;
        self.counter
    }

    /// Below the marks no live row is left: the lowest that is in memory, or where reading stopped.
    fn move_marks(&mut self) {
        if let Some(mark) = self.fresh.lower_bound() {
            self.counter.fresh_from = mark;
        }
        // Whatever is released from now on is free at `rest` or later, unless the clock is set back.
        let unread = self
            .returned_read_to
            .unwrap_or((self.times.rest, self.pool.subnet_first));
        let lowest = self.returned.keys().next().copied();
        let mark = lowest.map_or(unread, |key| key.min(unread));
        (self.counter.returned_from_at, self.counter.returned_from) = mark;
    }

    /// Decides anew, now and then, whether returned space goes first.
    async fn probe<T: Statements>(&mut self, tx: &mut T) -> Answer<()> {
        if self.counter.returned <= MANY_RETURNED {
            self.counter.returned_first = false;
        } else if self.counter.probe_at <= self.times.now {
            let from = (self.counter.returned_from_at, self.counter.returned_from);
            self.counter.returned_first = tx
                .more_returned_than(self.pool.id, from, self.times.rest, MANY_RETURNED)
                .await?;
            self.counter.probe_at = self.times.now.plus(PROBE_EVERY);
        }
        Ok(())
    }

    async fn take_fresh<T: Statements>(&mut self, tx: &mut T) -> Answer<Option<Taken>> {
        loop {
            match self.fresh.lowest() {
                Lowest::Is(address) => return Ok(Some(self.split_fresh(address))),
                Lowest::UnreadFrom(from) => self.read_fresh(tx, from).await?,
                Lowest::None => return Ok(None),
            }
        }
    }

    async fn take_returned<T: Statements>(&mut self, tx: &mut T) -> Answer<Option<Taken>> {
        loop {
            let rested = (self.returned.keys().next().copied())
                .filter(|(free_at, _)| *free_at <= self.times.rest);
            match (rested, self.returned_read_to) {
                (Some(key), unread) if unread.is_none_or(|unread| key < unread) => {
                    self.remove_returned(key);
                    let (free_at, address) = key;
                    return Ok(Some(Taken { address, free_at }));
                }
                (_, Some(unread)) => self.read_returned(tx, unread).await?,
                (_, None) => return Ok(None),
            }
        }
    }

    /// As many rows as the batch may want; more where rows of a removal may have to be passed.
    fn read_ahead(&self) -> usize {
        if self.removals.is_empty() {
            self.demand.clamp(1, READ_AHEAD)
        } else {
            READ_AHEAD
        }
    }

    async fn read_fresh<T: Statements>(&mut self, tx: &mut T, from: Addr) -> Answer<()> {
        let limit = self.read_ahead();
        let rows = tx.fresh_ranges(self.pool.id, from, limit as i64).await?;
        self.note_fresh(rows, limit);
        Ok(())
    }

    /// Notes the next rows of never-used space, of which up to `limit` were asked for.
    pub(super) fn note_fresh(&mut self, rows: Vec<FreeRow>, limit: usize) {
        self.fresh.read_to = (rows.len() == limit)
            .then(|| rows.last().map(|row| row.first.next()))
            .flatten();
        for row in rows {
            self.learn(row);
        }
    }

    async fn read_returned<T: Statements>(
        &mut self,
        tx: &mut T,
        from: (Moment, Addr),
    ) -> Answer<()> {
        let limit = self.read_ahead();
        let rows = tx
            .returned_ranges(self.pool.id, from, self.times.rest, limit as i64)
            .await?;
        self.returned_read_to = (rows.len() == limit)
            .then(|| rows.last().map(|row| (row.free_at, row.first.next())))
            .flatten();
        for row in rows {
            self.learn(row);
        }
        Ok(())
    }

    /// Sees to it that the free interval around the address is in memory; false when there is none.
    async fn find<T: Statements>(&mut self, tx: &mut T, address: Addr) -> Answer<bool> {
        if self.has(address) {
            return Ok(true);
        }
        let row = tx.free_at_or_before(self.pool.id, address).await?;
        if let Some(row) = row.filter(|row| row.last >= address) {
            self.learn(row);
        }
        Ok(self.has(address))
    }

    fn has(&self, address: Addr) -> bool {
        self.fresh.contains(address) || self.returned.keys().any(|(_, a)| *a == address)
    }

    /// Notes a row of the database. One that is gone or in memory already is passed over; one that is being removed from
    /// the pool goes here and now.
    fn learn(&mut self, row: FreeRow) {
        if self.gone_firsts.contains(&row.first) {
            return;
        }
        let removed = |r: &IntervalRow| r.first <= row.first && row.last <= r.last;
        if self.removals.iter().any(removed) {
            self.counter.returned -= i64::from(row.free_at != Moment::NEVER);
            self.let_go(row);
        } else if row.free_at == Moment::NEVER {
            self.fresh.learn(row.first, row.last);
        } else {
            (self.returned.entry((row.free_at, row.first))).or_insert(true);
        }
    }

    fn let_go(&mut self, row: FreeRow) {
        self.gone_firsts.insert(row.first);
        self.gone.push(row);
    }

    /// Takes an address out of the never-used interval around it, which is in memory.
    fn split_fresh(&mut self, address: Addr) -> Taken {
        if let Some((first, last)) = self.fresh.take_out(address) {
            self.let_go(FreeRow {
                pool_id: self.pool.id,
                first,
                last,
                free_at: Moment::NEVER,
            });
        }
        Taken {
            address,
            free_at: Moment::NEVER,
        }
    }

    fn add_returned(&mut self, address: Addr, free_at: Moment) {
        self.counter.returned += 1;
        self.returned.insert((free_at, address), false);
    }

    fn remove_returned(&mut self, key: (Moment, Addr)) {
        self.counter.returned -= 1;
        let (free_at, address) = key;
        if self.returned.remove(&key) == Some(true) {
            self.let_go(FreeRow {
                pool_id: self.pool.id,
                first: address,
                last: address,
                free_at,
            });
        }
    }
}
