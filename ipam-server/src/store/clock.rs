//! The time of a transaction, and whether the wall clock has jumped.

use std::sync::Mutex;
use std::time::Duration;

use nix::time::{ClockId, clock_gettime};

use super::moment::Moment;

/// How far the wall clock may run ahead of this machine's own count before it is not believed.
const TOLERANCE: Duration = Duration::from_secs(3600);
/// How far two readings of a clock that runs well may be apart: queries take time.
const NOISE: Duration = Duration::from_millis(10);
/// The longest rest that a step ahead cannot shorten.
const LONGEST: Duration = Duration::from_secs(24 * 3600);
/// Lows that are kept.
const LOWS: usize = 32;

/// Compares the database's wall clock with this machine's count of time (CLOCK_BOOTTIME, which goes on in suspend).
///
/// A step ahead would end rests at once, while the peers' ARP entries and connections of the released addresses are as
/// young as before. So a rest is measured by the lowest that the clock stood within it, relative to the count: a step ahead
/// counts from when all that rested before it has rested. A step beyond the tolerance does not count at all until the clock
/// is set right; the alarm is in the log. A restart of the server takes the clock as it is.
#[derive(Debug, Default)]
pub(crate) struct Clock {
    course: Mutex<Course>,
}

/// The clock's course, as far as it matters.
#[derive(Debug, Default)]
struct Course {
    /// From each moment on the clock stood nowhere lower than this, the last being the present. Both rise.
    lows: Vec<Low>,
    alarmed: bool,
}

#[derive(Clone, Copy, Debug)]
struct Low {
    since: Duration,
    /// Microseconds that the clock is ahead of the count.
    ahead: i64,
}

impl Low {
    fn time(self, count: Duration) -> Moment {
        Moment(self.ahead).plus(count)
    }
}

/// One reading of the clock.
#[derive(Clone, Debug)]
pub(crate) struct Reading {
    /// What the clock says, as far as it can be believed.
    pub(crate) now: Moment,
    count: Duration,
    lows: Vec<Low>,
}

/// The time of a transaction for one pool, read once after all locks.
#[derive(Clone, Copy, Debug)]
pub(super) struct Times {
    /// What is written down; never earlier than the last time that was used for a pool of the transaction.
    pub(super) now: Moment,
    /// What the clock says: rests are counted from here.
    pub(super) clock: Moment,
    /// Up to when a resting address counts as rested; behind the clock after a step ahead.
    pub(super) rest: Moment,
}

impl From<Moment> for Clock {
    /// A clock of which this is the first reading, that has just been taken.
    fn from(wall: Moment) -> Self {
        let clock = Self::default();
        clock.read(wall);
        clock
    }
}

impl Clock {
    /// What to make of a reading that has just been taken.
    pub(crate) fn read(&self, wall: Moment) -> Reading {
        self.read_at(wall, boot_time())
    }

    fn read_at(&self, wall: Moment, count: Duration) -> Reading {
        // The lock guards plain numbers: what a panicking holder left is as good as any.
        let mut course = self
            .course
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner());
        Reading {
            now: course.follow(wall, count),
            count,
            lows: course.lows.clone(),
        }
    }
}

impl Course {
    /// Notes a reading; the time that can be believed.
    fn follow(&mut self, wall: Moment, count: Duration) -> Moment {
        let expected = self.lows.last().map(|low| low.time(count));
        if let Some(expected) = expected.filter(|expected| wall > expected.plus(TOLERANCE)) {
            self.alarm(wall, expected);
            return expected;
        }
        self.alarmed = false;
        let mut low = Low {
            since: count,
            ahead: wall.minus(count).0,
        };
        while let Some(higher) = self.lows.pop_if(|last| last.ahead >= low.ahead) {
            low.since = higher.since;
        }
        let noise = |last: &Low| wall <= last.time(count).plus(NOISE);
        if !self.lows.last().is_some_and(noise) {
            self.lows.push(low);
        }
        self.forget(count);
        wall
    }

    fn alarm(&mut self, wall: Moment, expected: Moment) {
        if !self.alarmed {
            self.alarmed = true;
            tracing::error!(
                wall_us = wall.0,
                expected_us = expected.0,
                "the database's clock has jumped forward by more than an hour: resting addresses are not reused \
                 until it is set right or this server is restarted"
            );
        }
    }

    fn forget(&mut self, count: Duration) {
        let is_old = |low: &Low| low.since + LONGEST <= count;
        while self.lows.get(1).is_some_and(is_old) {
            self.lows.remove(0);
        }
        // Without one the lower one before it counts for longer.
        if self.lows.len() > LOWS {
            self.lows.remove(1);
        }
    }
}

impl Reading {
    /// Up to which moment a rest of this length is over: the reading, or less when the clock stood lower within that time.
    pub(crate) fn rested_until(&self, delay: Duration) -> Moment {
        let began = self.count.saturating_sub(delay);
        let then = self.lows.iter().rposition(|low| low.since <= began);
        let low = self.lows.get(then.unwrap_or(0));
        let is_last = then.is_some_and(|then| then + 1 == self.lows.len());
        let time = low.map_or(self.now, |low| low.time(self.count));
        if is_last {
            self.now
        } else {
            time.min(self.now)
        }
    }
}

fn boot_time() -> Duration {
    clock_gettime(ClockId::CLOCK_BOOTTIME).map_or(Duration::ZERO, Duration::from)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);
    const MINUTE: Duration = Duration::from_secs(60);
    const HOUR: Duration = Duration::from_secs(3600);
    const START: Moment = Moment(1_000_000_000_000_000);

    /// What is made of a clock that is ahead of the start by the one while the machine counts the other.
    fn read(clock: &Clock, ahead: Duration, count: Duration) -> Reading {
        clock.read_at(START.plus(ahead), count)
    }

    #[test]
    fn a_clock_that_runs_with_this_machines_is_believed() {
        let clock = Clock::default();
        read(&clock, Duration::ZERO, MINUTE);
        let later = read(&clock, MINUTE * 600, MINUTE * 601);
        assert_eq!(later.now, START.plus(MINUTE * 600));
        assert_eq!(later.rested_until(MINUTE), later.now);
    }

    #[test]
    fn a_step_ahead_counts_from_when_all_that_rested_before_it_has_rested() {
        let clock = Clock::default();
        read(&clock, Duration::ZERO, MINUTE);
        read(&clock, MINUTE, MINUTE * 2);
        // Twenty minutes.
        let stepped = read(&clock, MINUTE * 21, MINUTE * 2);
        assert_eq!(stepped.now, START.plus(MINUTE * 21));
        assert_eq!(stepped.rested_until(SECOND), START.plus(MINUTE));
        assert_eq!(stepped.rested_until(Duration::ZERO), stepped.now);
        let later = read(&clock, MINUTE * 21 + SECOND, MINUTE * 2 + SECOND);
        assert_eq!(later.rested_until(SECOND), later.now);
        assert_eq!(later.rested_until(SECOND * 2), START.plus(MINUTE + SECOND));
    }

    #[test]
    fn a_step_ahead_for_a_moment_leaves_no_trace() {
        let clock = Clock::default();
        read(&clock, Duration::ZERO, MINUTE);
        let stepped = read(&clock, MINUTE * 20, MINUTE);
        assert_eq!(stepped.rested_until(SECOND), START);
        let back = read(&clock, SECOND, MINUTE + SECOND);
        assert_eq!(back.rested_until(SECOND), back.now);
        assert_eq!(back.rested_until(HOUR), back.now);
    }

    #[test]
    fn a_step_ahead_beyond_the_tolerance_ends_no_rest_and_setting_it_right_is_seen() {
        let clock = Clock::default();
        read(&clock, Duration::ZERO, MINUTE);
        for minutes in 1..200 {
            let ahead = HOUR * 2 + MINUTE * minutes;
            let jumped = read(&clock, ahead, MINUTE * (minutes + 1));
            assert_eq!(jumped.now, START.plus(MINUTE * minutes));
            assert_eq!(jumped.rested_until(MINUTE), jumped.now);
        }
        let right = read(&clock, MINUTE * 200, MINUTE * 201);
        assert_eq!(right.now, START.plus(MINUTE * 200));
        assert_eq!(right.rested_until(MINUTE), right.now);
    }

    #[test]
    fn a_step_back_is_followed() {
        let clock = Clock::default();
        read(&clock, MINUTE * 500, MINUTE);
        let back = read(&clock, Duration::ZERO, MINUTE * 2);
        assert_eq!(back.now, START);
        assert_eq!(back.rested_until(MINUTE), START);
    }

    proptest! {
        #[test]
        fn whatever_the_clock_does_no_rest_is_shortened_and_little_is_kept(
            delay in 0_u64..7200,
            events in prop::collection::vec((0_u64..600_000, prop_oneof![Just(0), -20..20_i64, -9_000_000..9_000_000_i64]), 1..300),
        ) {
            let (clock, delay) = (Clock::default(), Duration::from_secs(delay));
            let (mut wall, mut count) = (START, MINUTE);
            // When something was released, and when it is free.
            let mut released = Vec::new();
            for (passed, stepped) in events {
                let passed = Duration::from_millis(passed);
                count += passed;
                wall = Moment(wall.plus(passed).0 + stepped * 1000);
                let reading = clock.read_at(wall, count);
                for (at, free_at) in &released {
                    let rested = *free_at <= reading.rested_until(delay);
                    prop_assert!(!rested || count + NOISE >= *at + delay, "{:?} of {:?}", count - *at, delay);
                }
                released.push((count, reading.now.plus(delay)));
                prop_assert!(reading.lows.len() <= LOWS);
            }
            // A clock that then runs well is believed, unless it is still beyond the tolerance.
            let last = clock.read_at(wall, count);
            let later = clock.read_at(wall.plus(LONGEST), count + LONGEST);
            prop_assert!(last.now != wall || later.rested_until(delay) == later.now);
        }
    }
}
