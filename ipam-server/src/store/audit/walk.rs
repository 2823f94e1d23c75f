//! A pool's free rows and leases in order of address, read in pages.

use std::collections::VecDeque;

use super::ROWS_PAGE;
use crate::error::Result;
use crate::store::addr::Addr;
use crate::store::rows::{FreeRow, LeaseRow, PoolRow};
use crate::store::statements::Statements;

/// Rows of one kind in order of address.
pub(super) struct Walk<R> {
    page: VecDeque<R>,
    /// Where the next page begins; nothing when there is none.
    next: Option<Addr>,
    last: Addr,
}

impl<R> Walk<R> {
    fn new(first: Addr, last: Addr) -> Self {
        Self {
            page: VecDeque::new(),
            next: Some(first),
            last,
        }
    }

    /// Takes a page in; `begin` tells where a row begins.
    fn take(&mut self, page: Vec<R>, begin: impl Fn(&R) -> Addr) {
        let is_full = page.len() as i64 == ROWS_PAGE;
        let end = page.last().map(begin).filter(|end| *end < self.last);
        self.next = end.filter(|_| is_full).map(Addr::next);
        self.page = page.into();
    }
}

impl Walk<FreeRow> {
    /// All free rows of the pool, also those that are not where they should be.
    pub(super) fn free(pool: &PoolRow) -> Self {
        let (first, last) = if pool.subnet().is_v4() {
            (Addr(0xffff_0000_0000), Addr(0xffff_ffff_ffff))
        } else {
            (Addr(0), Addr(u128::MAX))
        };
        Self::new(first, last)
    }

    pub(super) async fn next<T: Statements>(
        &mut self,
        tx: &mut T,
        pool: &PoolRow,
    ) -> Result<Option<FreeRow>> {
        if let (true, Some(first)) = (self.page.is_empty(), self.next) {
            let page = tx
                .free_between(pool.id, first, self.last, ROWS_PAGE)
                .await?;
            self.take(page, |row| row.first);
        }
        Ok(self.page.pop_front())
    }
}

impl Walk<LeaseRow> {
    /// All leases of the pool in its subnet.
    pub(super) fn leased(pool: &PoolRow) -> Self {
        Self::new(pool.subnet_first, pool.subnet_last)
    }

    /// The next one up to `last`; those behind stay.
    pub(super) async fn next_up_to<T: Statements>(
        &mut self,
        tx: &mut T,
        pool: &PoolRow,
        last: Addr,
    ) -> Result<Option<LeaseRow>> {
        if let (true, Some(first)) = (self.page.is_empty(), self.next) {
            let page = tx
                .leases_between(pool.vrf_id, pool.id, first, self.last, ROWS_PAGE)
                .await?;
            let page = page.into_iter().map(|held| held.lease).collect();
            self.take(page, |lease| lease.address);
        }
        match self.page.front() {
            Some(lease) if lease.address <= last => Ok(self.page.pop_front()),
            _ => Ok(None),
        }
    }
}
