//! Which addresses of a pool may be leased: pure arithmetic on intervals.

use crate::store::Addr;

/// Addresses from `first` to `last`, both included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Interval {
    pub(crate) first: Addr,
    pub(crate) last: Addr,
}

/// A pool's addresses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Layout {
    /// Inside the ranges: sorted, apart, and not adjacent.
    pub(crate) ranges: Vec<Interval>,
    /// Of those, what is never leased: exclusions and the gateway.
    pub(crate) reserved: Vec<Interval>,
    /// Of those, the rest.
    pub(crate) leasable: Vec<Interval>,
}

impl Layout {
    pub(crate) fn of_row(_row: &crate::store::PoolRow) -> Self {
        todo!()
    }
    pub(crate) fn may_lease(&self, _address: Addr) -> bool {
        todo!()
    }
}
pub(crate) fn count(_intervals: &[Interval]) -> u128 {
    todo!()
}
