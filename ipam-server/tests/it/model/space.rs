//! The model of a pool's addresses.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use ipam_api::{PoolState, Usage};

use crate::store::support::ip;

/// Subnet, first usable address, and how many there are: small, so that they run full, and of both families.
pub(super) const POOLS: [(&str, &str, usize); 3] = [
    ("10.0.0.0/29", "10.0.0.1", 6),
    ("10.0.1.0/30", "10.0.1.1", 2),
    ("2001:db8::/125", "2001:db8::1", 7),
];

/// The address with this number in the pool.
pub(super) fn address(pool: usize, number: usize) -> IpAddr {
    match ip(POOLS[pool].1) {
        IpAddr::V4(v4) => IpAddr::V4((u32::from(v4) + number as u32).into()),
        IpAddr::V6(v6) => IpAddr::V6((u128::from(v6) + number as u128).into()),
    }
}

/// The number of an address that the pool has.
pub(super) fn number(pool: usize, wanted: IpAddr) -> Option<usize> {
    (0..POOLS[pool].2).find(|number| address(pool, *number) == wanted)
}

/// When an address was last given back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Used {
    /// Surgery took it away since: when it goes again is not told.
    Sometime,
    /// By the n-th operation.
    At(usize),
}

/// A pool.
#[derive(Clone, Debug)]
pub(super) struct Space {
    pool: usize,
    pub(super) exists: bool,
    pub(super) state: PoolState,
    range: (usize, usize),
    excluded: BTreeSet<usize>,
    leased: BTreeSet<usize>,
    used: BTreeMap<usize, Used>,
    rests: bool,
}

impl Space {
    pub(super) fn new(pool: usize, rests: bool) -> Self {
        Self {
            pool,
            exists: true,
            state: PoolState::Ready,
            range: (0, POOLS[pool].2 - 1),
            excluded: BTreeSet::new(),
            leased: BTreeSet::new(),
            used: BTreeMap::new(),
            rests,
        }
    }

    /// The pool as it is when it was deleted and is created anew: what rests goes on to rest.
    pub(super) fn recreate(&mut self) {
        let used = self.used.keys().map(|number| (*number, Used::Sometime));
        *self = Self {
            used: used.collect(),
            ..Self::new(self.pool, self.rests)
        };
    }

    fn in_range(&self, number: usize) -> bool {
        (self.range.0..=self.range.1).contains(&number)
    }

    pub(super) fn may_lease(&self, number: usize) -> bool {
        self.in_range(number) && !self.excluded.contains(&number)
    }

    pub(super) fn is_leased(&self, number: usize) -> bool {
        self.leased.contains(&number)
    }

    pub(super) fn holds_any(&self) -> bool {
        !self.leased.is_empty()
    }

    /// What a dynamic claim may get: never-used addresses first, then the one that was given back the longest ago.
    pub(super) fn next(&self) -> BTreeSet<usize> {
        let free: Vec<_> = (0..POOLS[self.pool].2)
            .filter(|number| self.may_lease(*number) && !self.is_leased(*number))
            .filter(|number| !self.rests || !self.used.contains_key(number))
            .collect();
        let rank = |number: &usize| self.used.get(number).copied();
        let known = free.iter().filter(|one| rank(one) != Some(Used::Sometime));
        let first = known.clone().map(rank).min();
        let mut next: BTreeSet<_> = known
            .filter(|one| Some(rank(one)) == first)
            .copied()
            .collect();
        next.extend(free.iter().filter(|one| rank(one) == Some(Used::Sometime)));
        next
    }

    pub(super) fn lease(&mut self, number: usize) {
        assert!(
            self.leased.insert(number),
            "{} is leased twice",
            address(self.pool, number)
        );
    }

    pub(super) fn give_back(&mut self, number: usize, operation: usize) {
        assert!(
            self.leased.remove(&number),
            "the model gives back what is not leased"
        );
        self.used.insert(number, Used::At(operation));
    }

    /// Changes the exclusions; the addresses are numbers.
    pub(super) fn exclude(&mut self, excluded: BTreeSet<usize>) {
        let before = self.clone();
        self.excluded = excluded;
        self.forget_order(&before);
    }

    /// Changes the range; false when leases are in the way.
    pub(super) fn set_range(&mut self, range: Option<(usize, usize)>) -> bool {
        let range = range.unwrap_or((0, POOLS[self.pool].2 - 1));
        if !self
            .leased
            .iter()
            .all(|one| (range.0..=range.1).contains(one))
        {
            return false;
        }
        let before = self.clone();
        self.range = range;
        self.forget_order(&before);
        true
    }

    fn forget_order(&mut self, before: &Self) {
        for number in 0..POOLS[self.pool].2 {
            if before.may_lease(number) != self.may_lease(number) {
                // Also one that was never used may come back as one that was.
                let order = self.used.get_mut(&number);
                if let Some(used) = order {
                    *used = Used::Sometime;
                } else if !self.rests {
                    self.used.insert(number, Used::Sometime);
                }
            }
        }
    }

    pub(super) fn usage(&self) -> Usage {
        let all = || (0..POOLS[self.pool].2).filter(|number| self.in_range(*number));
        let count = |which: &dyn Fn(usize) -> bool| all().filter(|n| which(*n)).count() as u64;
        let rests = |n| self.rests && self.used.contains_key(&n);
        let open = |n| self.may_lease(n) && !self.is_leased(n);
        let size = all().count() as u64;
        let free = count(&|n| open(n) && !rests(n));
        Usage {
            size,
            size_exact: size.to_string(),
            leased: self.leased.len() as u64,
            cooling: count(&|n| open(n) && rests(n)),
            quarantined: 0,
            reserved: count(&|n| self.excluded.contains(&n) && !self.is_leased(n)),
            free,
            free_exact: free.to_string(),
        }
    }
}
