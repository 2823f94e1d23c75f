//! Which of a pool's addresses may be leased.

use super::{Interval, Subnet, contains, intersect, minus, union};
use crate::store::Addr;

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
    /// The layout of checked settings. Without ranges: all of the subnet but the addresses that are never leased and the
    /// gateway, which then are not in the ranges at all.
    pub(crate) fn of(
        subnet: Subnet,
        ranges: Option<&[Interval]>,
        exclude: &[Interval],
        gateway: Option<Addr>,
    ) -> Self {
        let gateway = gateway.map(Interval::one);
        let ranges = match ranges {
            Some(ranges) => union(ranges),
            None => {
                let mut out = subnet.never_leased();
                out.extend(gateway);
                minus(&[subnet.interval()], &union(&out))
            }
        };
        let mut withheld = exclude.to_vec();
        withheld.extend(gateway);
        let reserved = intersect(&ranges, &union(&withheld));
        let leasable = minus(&ranges, &reserved);
        Self {
            ranges,
            reserved,
            leasable,
        }
    }

    /// Whether a claim may get the address.
    pub(crate) fn may_lease(&self, address: Addr) -> bool {
        contains(&self.leasable, address)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::net::IpAddr;

    use ipnetwork::IpNetwork;
    use proptest::prelude::*;

    use super::super::count;
    use super::*;

    /// Subnets of every prefix length of both families.
    fn subnets() -> impl Iterator<Item = Subnet> {
        let v4 = (0..=32).map(|prefix| (IpAddr::from([10, 77, 99, 201]), prefix));
        let v6 = "fd00:1:2:3:4:5:6:7"
            .parse()
            .map(IpAddr::V6)
            .expect("an address");
        let v6 = (0..=128).map(move |prefix| (v6, prefix));
        v4.chain(v6)
            .map(|(address, prefix)| Subnet::of(IpNetwork::new(address, prefix).expect("a length")))
    }

    fn hosts(subnet: Subnet) -> u8 {
        if subnet.is_v4() {
            32 - subnet.prefix
        } else {
            128 - subnet.prefix
        }
    }

    #[test]
    fn without_ranges_every_prefix_length_leases_all_but_what_stands_for_the_subnet_and_the_gateway()
     {
        for subnet in subnets() {
            let gateway = subnet.default_gateway();
            let layout = Layout::of(subnet, None, &[], gateway);
            let all = 1u128.checked_shl(hosts(subnet).into()).unwrap_or(u128::MAX);
            let expected = match (hosts(subnet), subnet.is_v4()) {
                (0 | 1, _) => all,
                (_, true) => all - 3,
                // The whole of IPv6 is counted exactly again as soon as two addresses are out.
                (128, false) => u128::MAX - 1,
                (_, false) => all - 2,
            };
            assert_eq!(count(&layout.leasable), expected, "{subnet}");
            assert_eq!(layout.ranges, layout.leasable, "{subnet}");
            assert!(layout.reserved.is_empty(), "{subnet}");
            let small = hosts(subnet) < 2;
            assert_eq!(gateway.is_none(), small, "{subnet}");
            assert_eq!(layout.may_lease(subnet.first), small, "{subnet}");
            let last_is_leased = small || !subnet.is_v4();
            assert_eq!(layout.may_lease(subnet.last), last_is_leased, "{subnet}");
            assert!(!gateway.is_some_and(|gateway| layout.may_lease(gateway)));
        }
    }

    #[test]
    fn without_a_gateway_the_first_usable_address_is_leased() {
        for subnet in subnets() {
            let layout = Layout::of(subnet, None, &[], None);
            let first = if hosts(subnet) < 2 {
                subnet.first
            } else {
                subnet.first.next()
            };
            assert!(layout.may_lease(first), "{subnet}");
        }
    }

    #[derive(Clone, Debug)]
    struct Settings {
        subnet: Subnet,
        ranges: Option<Vec<Interval>>,
        exclude: Vec<Interval>,
        gateway: Option<Addr>,
    }

    /// Settings in small subnets, which plain sets of addresses can hold.
    fn settings() -> impl Strategy<Value = Settings> {
        let small: Vec<_> = subnets().filter(|subnet| hosts(*subnet) <= 9).collect();
        proptest::sample::select(small).prop_flat_map(|subnet| {
            let size = 1u128 << hosts(subnet);
            let address = (0..size).prop_map(move |offset| Addr(subnet.first.0 + offset));
            let interval = (address.clone(), address.clone()).prop_map(|(one, other)| Interval {
                first: one.min(other),
                last: one.max(other),
            });
            let some = |up_to| proptest::collection::vec(interval.clone(), 0..up_to);
            let exclude = some(6);
            (
                proptest::option::of(some(6)),
                exclude,
                proptest::option::of(address),
            )
                .prop_map(move |(ranges, exclude, gateway)| Settings {
                    subnet,
                    ranges,
                    exclude,
                    gateway,
                })
        })
    }

    fn addresses(set: &[Interval]) -> BTreeSet<u128> {
        set.iter()
            .flat_map(|interval| interval.first.0..=interval.last.0)
            .collect()
    }

    proptest! {
        #[test]
        fn a_layout_is_what_sets_of_addresses_say(settings in settings()) {
            let Settings { subnet, ranges, exclude, gateway } = settings;
            let layout = Layout::of(subnet, ranges.as_deref(), &exclude, gateway);
            let gateway: BTreeSet<_> = gateway.iter().map(|address| address.0).collect();
            let expected = match ranges {
                Some(ranges) => addresses(&ranges),
                None => {
                    let all = addresses(&[subnet.interval()]);
                    &(&all - &addresses(&subnet.never_leased())) - &gateway
                }
            };
            let withheld = &addresses(&exclude) | &gateway;
            prop_assert_eq!(addresses(&layout.ranges), expected.clone());
            prop_assert_eq!(addresses(&layout.reserved), &expected & &withheld);
            prop_assert_eq!(addresses(&layout.leasable), &expected - &withheld);
            for address in subnet.first.0..=subnet.last.0 {
                let leasable = expected.contains(&address) && !withheld.contains(&address);
                prop_assert_eq!(layout.may_lease(Addr(address)), leasable);
            }
        }
    }
}
