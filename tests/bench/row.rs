//! A row of the table: what was measured, beside what, and what it should be.

/// One measurement.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    /// What `--only` calls it.
    pub(crate) id: &'static str,
    pub(crate) what: String,
    pub(crate) unit: &'static str,
    /// The median of ours.
    pub(crate) ours: f64,
    pub(crate) peer: Option<Peer>,
    pub(crate) goal: Goal,
    /// What else is worth knowing.
    pub(crate) note: String,
}

/// Whom a row is measured against.
#[derive(Clone, Debug)]
pub(crate) struct Peer {
    pub(crate) name: &'static str,
    /// The median, in the row's unit.
    pub(crate) value: f64,
}

/// What a row should come to.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Goal {
    /// At least so many times the peer's.
    TimesOrMore(f64),
    /// At most so many times the peer's.
    TimesOrLess(f64),
    /// At most so many of the row's unit.
    OrLess(f64),
}

impl Row {
    /// Ours as a multiple of the peer's.
    pub(crate) fn ratio(&self) -> Option<f64> {
        self.peer.as_ref().map(|peer| self.ours / peer.value)
    }

    /// Whether the goal is met. What is measured against nobody has no ratio, and then meets none.
    pub(crate) fn is_met(&self) -> bool {
        match self.goal {
            Goal::TimesOrMore(times) => self.ratio().is_some_and(|ratio| ratio >= times),
            Goal::TimesOrLess(times) => self.ratio().is_some_and(|ratio| ratio <= times),
            Goal::OrLess(most) => self.ours <= most,
        }
    }

    /// The goal in words.
    pub(crate) fn goal(&self) -> String {
        match self.goal {
            Goal::TimesOrMore(times) => format!("≥ {times} ×"),
            Goal::TimesOrLess(times) => format!("≤ {times} ×"),
            Goal::OrLess(most) => format!("≤ {most} {}", self.unit),
        }
    }
}
