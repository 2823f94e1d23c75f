//! Intervals of addresses, and sets of them. A set is a sorted slice of intervals that neither overlap nor touch.

use std::fmt;

use crate::store::Addr;

/// Addresses from `first` to `last`, both included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Interval {
    pub(crate) first: Addr,
    pub(crate) last: Addr,
}

impl Interval {
    /// One address.
    pub(crate) fn one(address: Addr) -> Self {
        Self {
            first: address,
            last: address,
        }
    }

    /// Whether the address is in it.
    pub(crate) fn contains(self, address: Addr) -> bool {
        self.first <= address && address <= self.last
    }

    /// Whether the two share an address.
    pub(crate) fn overlaps(self, other: Self) -> bool {
        self.first <= other.last && other.first <= self.last
    }

    /// How many addresses; the whole of IPv6 counts one too few.
    pub(crate) fn count(self) -> u128 {
        (self.last.0 - self.first.0).saturating_add(1)
    }
}

impl fmt::Display for Interval {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.first, self.last)
    }
}

/// The set of all addresses that are in one of these intervals, which may come in any order and overlap.
pub(crate) fn union(intervals: &[Interval]) -> Vec<Interval> {
    let mut sorted = intervals.to_vec();
    sorted.sort_unstable_by_key(|interval| interval.first);
    let mut set: Vec<Interval> = Vec::with_capacity(sorted.len());
    for next in sorted {
        match set.last_mut() {
            Some(last) if next.first <= last.last.next() => last.last = last.last.max(next.last),
            _ => set.push(next),
        }
    }
    set
}

/// The addresses of set `from` that are not in set `without`.
pub(crate) fn minus(from: &[Interval], without: &[Interval]) -> Vec<Interval> {
    let mut rest = Vec::with_capacity(from.len() + without.len());
    let mut holes = without;
    for &interval in from {
        let gone = holes.partition_point(|hole| hole.last < interval.first);
        holes = &holes[gone..];
        push_rest(&mut rest, interval, holes);
    }
    rest
}

/// Appends what `holes` leave of `interval`; none of them ends before it.
fn push_rest(rest: &mut Vec<Interval>, interval: Interval, holes: &[Interval]) {
    let mut first = interval.first;
    for hole in holes.iter().take_while(|hole| hole.first <= interval.last) {
        if first < hole.first {
            rest.push(Interval {
                first,
                last: Addr(hole.first.0 - 1),
            });
        }
        if hole.last >= interval.last {
            return;
        }
        first = hole.last.next();
    }
    rest.push(Interval {
        first,
        last: interval.last,
    });
}

/// The addresses that are in both sets.
pub(crate) fn intersect(one: &[Interval], other: &[Interval]) -> Vec<Interval> {
    let mut both = Vec::new();
    let (mut one, mut other) = (one, other);
    while let ([a, one_rest @ ..], [b, other_rest @ ..]) = (one, other) {
        if a.overlaps(*b) {
            both.push(Interval {
                first: a.first.max(b.first),
                last: a.last.min(b.last),
            });
        }
        if a.last < b.last {
            one = one_rest;
        } else {
            other = other_rest;
        }
    }
    both
}

/// Whether the address is in the set.
pub(crate) fn contains(set: &[Interval], address: Addr) -> bool {
    let after = set.partition_point(|interval| interval.first <= address);
    after > 0 && set[after - 1].contains(address)
}

/// How many addresses are in the set, saturated.
pub(crate) fn count(set: &[Interval]) -> u128 {
    set.iter()
        .fold(0, |sum, interval| sum.saturating_add(interval.count()))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    /// Intervals at one place of the number line, so that plain sets of numbers can tell what is right.
    fn intervals(base: u128) -> impl Strategy<Value = Vec<Interval>> {
        let one = (0u128..200, 0u128..20).prop_map(move |(first, more)| Interval {
            first: Addr(base + first.min(255 - more)),
            last: Addr(base + first.min(255 - more) + more),
        });
        proptest::collection::vec(one, 0..12)
    }

    /// The beginning and the end of the number line, and an IPv4 subnet.
    fn bases() -> impl Strategy<Value = u128> {
        prop_oneof![Just(0), Just(u128::MAX - 255), Just(0xffff_0a00_0000)]
    }

    fn numbers(intervals: &[Interval]) -> BTreeSet<u128> {
        intervals
            .iter()
            .flat_map(|interval| interval.first.0..=interval.last.0)
            .collect()
    }

    fn assert_is_set(set: &[Interval]) {
        for interval in set {
            assert!(interval.first <= interval.last);
        }
        for pair in set.windows(2) {
            assert!(
                pair[0].last.0.checked_add(1) < Some(pair[1].first.0),
                "{pair:?}"
            );
        }
    }

    proptest! {
        #[test]
        fn sets_of_intervals_do_what_sets_of_numbers_do(
            (one, other, base) in bases().prop_flat_map(|base| (intervals(base), intervals(base), Just(base)))
        ) {
            let (a, b) = (union(&one), union(&other));
            assert_is_set(&a);
            prop_assert_eq!(numbers(&a), numbers(&one));
            prop_assert_eq!(count(&a), numbers(&one).len() as u128);

            let rest = minus(&a, &b);
            assert_is_set(&rest);
            prop_assert_eq!(numbers(&rest), &numbers(&one) - &numbers(&other));

            let both = intersect(&a, &b);
            assert_is_set(&both);
            prop_assert_eq!(numbers(&both), &numbers(&one) & &numbers(&other));

            for number in base..=base + 255 {
                prop_assert_eq!(contains(&a, Addr(number)), numbers(&one).contains(&number));
            }
        }
    }

    #[test]
    fn the_whole_number_line_is_counted_saturated() {
        let all = Interval {
            first: Addr(0),
            last: Addr(u128::MAX),
        };
        assert_eq!(all.count(), u128::MAX);
        assert_eq!(count(&[all]), u128::MAX);
        assert_eq!(minus(&[all], &[all]), []);
    }
}
