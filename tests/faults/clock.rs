//! The clock that a service reckons with, and how it is moved.

use std::cell::Cell;
use std::thread;

use crate::dice::Dice;
use crate::ending::longest_rest;
use crate::record::Record;

/// Seconds that the clock goes ahead of the true time, and about as far behind it: less than what a release is remembered.
const FAR: i64 = 1200;

/// A clock that can be moved.
pub(crate) struct Clock<'a> {
    /// Seconds that it is ahead now.
    base: Cell<i64>,
    set: Box<dyn Fn(i64) + 'a>,
}

impl<'a> Clock<'a> {
    /// `set` puts so many seconds between it and the true time.
    pub(crate) fn new(set: impl Fn(i64) + 'a) -> Self {
        Self {
            base: Cell::new(0),
            set: Box::new(set),
        }
    }

    /// Back or ahead by minutes, or ahead by hours and back: none may end any address's rest.
    pub(crate) fn step(&self, record: &Record, dice: &mut Dice) {
        match dice.below(4) {
            0 if self.base.get() > -FAR => {
                self.set_base(-600);
                record.count("fault: clock: ten minutes back");
            }
            1 if self.base.get() < FAR => {
                self.set_base(FAR);
                record.count("fault: clock: twenty minutes ahead");
                // A server that is killed knows nothing of the step: what rested before it rests no more by then.
                thread::sleep(longest_rest() + dice.millis(200..400));
            }
            _ => {
                (self.set)(self.base.get() + 3 * 3600);
                record.count("fault: clock: three hours ahead, for a moment");
                thread::sleep(dice.millis(100..400));
                (self.set)(self.base.get());
            }
        }
    }

    fn set_base(&self, further: i64) {
        self.base.set(self.base.get() + further);
        (self.set)(self.base.get());
    }
}
