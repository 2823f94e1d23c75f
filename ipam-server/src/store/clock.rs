//! The time of a transaction, and whether the wall clock has jumped.

use std::sync::Mutex;
use std::time::Duration;

use nix::time::{ClockId, clock_gettime};

use super::moment::Moment;

/// How far the wall clock may run ahead of this machine's own count before resting addresses stay where they are.
const TOLERANCE: Duration = Duration::from_secs(3600);

/// Compares the database's wall clock with this machine's count of time (CLOCK_BOOTTIME, which goes on in suspend).
///
/// A jump forward would end every rest at once, while the peers' ARP entries and connections of the released addresses
/// are as young as before. So the part of a jump beyond the tolerance does not count for reuse; the alarm is in the log.
/// A restart of the server takes the clock as it is.
#[derive(Debug, Default)]
pub(crate) struct Clock {
    start: Mutex<Option<Start>>,
}

/// The time of a transaction, read once after all locks.
#[derive(Clone, Copy, Debug)]
pub(super) struct Times {
    /// What is written down; never earlier than the last time that was used for a pool of the transaction.
    pub(super) now: Moment,
    /// Up to when a resting address counts as rested; behind `now` when the wall clock has jumped.
    pub(super) rest: Moment,
}

#[derive(Clone, Copy, Debug)]
struct Start {
    wall: Moment,
    count: Duration,
    alarmed: bool,
}

impl Clock {
    /// Up to which moment addresses have rested long enough, given what the wall clock says now: `wall`, or less after a
    /// jump forward.
    pub(crate) fn rested_until(&self, wall: Moment) -> Moment {
        self.rested_until_at(wall, boot_time())
    }

    fn rested_until_at(&self, wall: Moment, count: Duration) -> Moment {
        // The lock guards plain numbers: what a panicking holder left is as good as any.
        let mut guard = self
            .start
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner());
        let start = guard.get_or_insert(Start {
            wall,
            count,
            alarmed: false,
        });
        let expected = start.wall.plus(count.saturating_sub(start.count));
        let limit = expected.plus(TOLERANCE);
        if wall <= limit {
            // Follow slow drift and steps back, so that only a jump is one.
            *start = Start {
                wall,
                count,
                alarmed: false,
            };
            return wall;
        }
        if !start.alarmed {
            start.alarmed = true;
            tracing::error!(
                wall_us = wall.0,
                expected_us = expected.0,
                "the database's clock has jumped forward by more than an hour: resting addresses are not reused \
                 until it is set right or this server is restarted"
            );
        }
        expected
    }
}

fn boot_time() -> Duration {
    clock_gettime(ClockId::CLOCK_BOOTTIME).map_or(Duration::ZERO, Duration::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    #[test]
    fn a_clock_that_runs_with_this_machines_is_believed() {
        let clock = Clock::default();
        let start = Moment(1_000_000_000_000_000);
        assert_eq!(clock.rested_until_at(start, MINUTE), start);
        let later = start.plus(MINUTE * 600);
        assert_eq!(clock.rested_until_at(later, MINUTE * 601), later);
    }

    #[test]
    fn a_jump_forward_does_not_end_any_rest_and_setting_it_right_is_seen() {
        let clock = Clock::default();
        let start = Moment(1_000_000_000_000_000);
        clock.rested_until_at(start, MINUTE);
        let jumped = start.plus(MINUTE * 100);
        assert_eq!(
            clock.rested_until_at(jumped, MINUTE * 2),
            start.plus(MINUTE)
        );
        assert_eq!(
            clock.rested_until_at(jumped.plus(MINUTE), MINUTE * 3),
            start.plus(MINUTE * 2)
        );
        let right = start.plus(MINUTE * 3);
        assert_eq!(clock.rested_until_at(right, MINUTE * 4), right);
    }

    #[test]
    fn a_step_back_is_followed() {
        let clock = Clock::default();
        let start = Moment(1_000_000_000_000_000);
        clock.rested_until_at(start, MINUTE);
        let back = start.minus(MINUTE * 500);
        assert_eq!(clock.rested_until_at(back, MINUTE * 2), back);
    }
}
