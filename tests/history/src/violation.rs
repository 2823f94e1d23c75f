//! What is wrong with a history.

use std::fmt;

/// A broken guarantee and the events that show it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Which guarantee.
    pub rule: Rule,
    /// The events and rows involved, in words.
    pub story: String,
}

/// The guarantees.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Rule {
    /// Two clients were told that they hold one address, at once.
    HeldTwice,
    /// By the database's own times two leases of one address overlap.
    LivesOverlap,
    /// A lease that was acknowledged is not in the database, nor in its past.
    Lost,
    /// A lease that was acknowledged was freed by nobody who could.
    FreedWithoutCause,
    /// A lease that no claim can have made.
    HeldWithoutCause,
    /// An attachment holds fewer or more leases than it claimed.
    HeldInPart,
    /// What was released, and not claimed again, is held.
    ReleaseUndone,
    /// One attachment was told different things in one boot, though nobody released it.
    AnswerDiffers,
    /// An answer that does not have what was asked for.
    AnswerUnfit,
    /// A claim was served after the release that was issued after it.
    LateClaimServed,
    /// A claim's transaction began after its deadline.
    OverdueClaimServed,
    /// A call failed for an internal reason, though nothing was wrong with it.
    FailedInside,
    /// Two machines, or a boot that was over, were served under one name.
    TwoMachines,
    /// A pool's accounts do not add up.
    BooksWrong,
    /// An address was leased again before it had rested.
    ReusedEarly,
}

impl Violation {
    pub(crate) fn new(rule: Rule, story: String) -> Self {
        Self { rule, story }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {}", self.rule, self.story)
    }
}
