//! Which of two boots of a node is over. Boots have no order of their own: it is told by when their verbs came, and by the
//! age in its boot that each verb tells.

use std::time::Duration;

use super::moment::Moment;
use super::rows::{BootRow, NodeRow};

/// By how much a boot must have begun before the present one to be taken for one that is over. When a boot began is told by
/// its first verb, which may have been on its way for so long; and where nodes are containers of one machine (LXC), their
/// boots all seem to have begun with the machine's.
const SURELY_EARLIER: Duration = Duration::from_secs(60);
/// How long after the first sight of a boot a verb of one that was never seen may still be an earlier one's. Verbs are on
/// their way for seconds; past it, a boot that seems to have begun earlier tells of a clock that was set.
const NEVER_SEEN_LIMIT: Duration = Duration::from_secs(300);
/// The same for a verb of a boot that was seen before.
const ON_THE_WAY_LIMIT: Duration = Duration::from_secs(60);

/// A verb of another boot than the node's present one.
pub(super) struct Stranger<'a> {
    /// Nanoseconds of its boot.
    pub(super) issued: Option<i64>,
    /// When it came.
    pub(super) now: Moment,
    pub(super) node: &'a NodeRow,
    pub(super) boots: &'a [BootRow],
}

impl Stranger<'_> {
    /// About when its boot began.
    pub(super) fn booted_at(&self) -> Option<Moment> {
        Some(self.now.minus(age(self.issued?)))
    }

    /// Whether its boot, which was never seen, began before the node's present one.
    pub(super) fn is_surely_earlier(&self) -> bool {
        self.came_within(NEVER_SEEN_LIMIT)
            && matches!((self.booted_at(), self.node.booted_at),
                (Some(one), Some(present)) if one.plus(SURELY_EARLIER) < present)
    }

    /// Whether it was only on its way when the present boot was first seen. Otherwise its boot, which was seen before, lives
    /// on beside the present one. It is believed where nobody knows when it was issued: boots that an older server noted have
    /// no beginning.
    pub(super) fn was_on_its_way(&self, boot: &BootRow) -> bool {
        let issued_at = |issued| Some(boot.booted_at?.plus(age(issued)));
        let Some(present) = self.present() else {
            return false;
        };
        self.came_within(ON_THE_WAY_LIMIT)
            && (self.issued.and_then(issued_at)).is_none_or(|at| at < present.seen_at)
    }

    /// Whether it came that soon after the present boot was first seen; or before that, because the database has moved to a
    /// host whose clock is a little behind. When the clock shows much less than it did then, it was set back, and tells
    /// nothing.
    fn came_within(&self, limit: Duration) -> bool {
        let is_near = |seen: Moment| seen.minus(limit) <= self.now && self.now < seen.plus(limit);
        (self.present()).is_some_and(|boot| is_near(boot.seen_at))
    }

    fn present(&self) -> Option<&BootRow> {
        let mut boots = self.boots.iter();
        boots.find(|boot| self.node.boot_id.as_deref() == Some(boot.boot_id.as_str()))
    }
}

fn age(issued: i64) -> Duration {
    Duration::from_nanos(issued.max(0).unsigned_abs())
}
