//! How full a pool is.

use ipam_api::Usage;

use super::clock::Clock;
use super::moment::Moment;
use super::rows::{CounterRow, PoolRow};
use super::statements::{Answer, Statements};
use crate::pool::{Layout, count};

/// What JSON numbers hold exactly in every language.
const JSON_MAX: u128 = (1 << 53) - 1;

/// The time that a change of a pool is written down with: never earlier than what was used for it before. `clock`: the
/// wall clock, as far as it can be believed.
pub(super) fn time_for(counter: &CounterRow, clock: Moment) -> Moment {
    clock.max(counter.last_at)
}

/// A pool's usage in the transaction's eyes.
pub(super) async fn usage_of<T: Statements>(
    tx: &mut T,
    clock: &Clock,
    pool: &PoolRow,
    layout: &Layout,
    counter: &CounterRow,
) -> Answer<Usage> {
    let reading = clock.read(tx.wall_clock().await?);
    let rested = reading.rested_until(pool.reuse_delay());
    let cooling = tx.cooling(counter.pool_id, rested).await?;
    Ok(usage(layout, counter, cooling))
}

/// The sum of it: `free` is what nothing else accounts for.
fn usage(layout: &Layout, counter: &CounterRow, cooling: i64) -> Usage {
    let number = |value: i64| u64::try_from(value).unwrap_or(0);
    let (leased, quarantined) = (number(counter.leased), number(counter.quarantined));
    let cooling = number(cooling);
    let size = count(&layout.ranges);
    // A lease on an address that was excluded meanwhile counts as leased, until it is released.
    let reserved = count(&layout.reserved).saturating_sub(number(counter.leased_reserved).into());
    let free = size
        .saturating_sub(reserved)
        .saturating_sub(leased.into())
        .saturating_sub(cooling.into())
        .saturating_sub(quarantined.into());
    Usage {
        size: saturated(size),
        size_exact: size.to_string(),
        leased,
        cooling,
        quarantined,
        reserved: saturated(reserved),
        free: saturated(free),
        free_exact: free.to_string(),
    }
}

/// A count as JSON has it.
fn saturated(count: u128) -> u64 {
    // The bound is below u64's, so that nothing is cut off.
    count.min(JSON_MAX) as u64
}

#[cfg(test)]
mod tests {
    use super::super::addr::Addr;
    use super::*;
    use crate::pool::Subnet;

    fn counter(leased: i64, leased_reserved: i64) -> CounterRow {
        CounterRow {
            pool_id: 1,
            leased,
            leased_reserved,
            quarantined: 0,
            returned: 0,
            fresh_from: Addr(0),
            returned_from_at: Moment::NEVER,
            returned_from: Addr(0),
            returned_first: false,
            probe_at: Moment::NEVER,
            last_at: Moment::NEVER,
            version: 0,
        }
    }

    fn layout(subnet: &str) -> Layout {
        let subnet = Subnet::of(subnet.parse().expect("a subnet"));
        Layout::of(subnet, None, &[], subnet.default_gateway())
    }

    #[test]
    fn the_parts_add_up_to_the_size() {
        let subnet = Subnet::of("10.0.0.0/24".parse().expect("a subnet"));
        let exclude = Subnet::of("10.0.0.64/26".parse().expect("a subnet")).interval();
        let layout = Layout::of(subnet, None, &[exclude], subnet.default_gateway());
        let usage = usage(&layout, &counter(20, 5), 3);
        assert_eq!((usage.size, usage.reserved, usage.leased), (253, 59, 20));
        assert_eq!(usage.free, 253 - 59 - 20 - 3);
    }

    #[test]
    fn a_large_pool_is_counted_saturated_and_exactly() {
        let usage = usage(&layout("fd00::/48"), &counter(1, 0), 0);
        assert_eq!(usage.size, (1 << 53) - 1);
        assert_eq!(usage.size_exact, ((1u128 << 80) - 2).to_string());
        assert_eq!(usage.free_exact, ((1u128 << 80) - 3).to_string());
        assert_eq!(usage.free, (1 << 53) - 1);
    }
}
