//! What a transaction has decided, to be written in one go.

use std::collections::BTreeMap;

use super::addr::Addr;
use super::rows::{AttachmentRow, CounterRow, FreeRow, LeaseRow};

/// Rows that are to be written. No two of the lists have to do with one row, nor with one key: so they can be written in any
/// order, and in PostgreSQL all in one statement, whose parts have none.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Changes {
    /// Free intervals that are no more.
    pub(crate) gone: Vec<FreeRow>,
    /// Free intervals that become others: what each was, and what it is.
    pub(crate) moved: Vec<(FreeRow, FreeRow)>,
    /// New free intervals.
    pub(crate) added: Vec<FreeRow>,
    /// Counters, in the version in which they were locked.
    pub(crate) counters: Vec<CounterRow>,
    /// Attachments whose id, marks, released_at or pod have changed.
    pub(crate) attachments: Vec<AttachmentRow>,
    /// New leases.
    pub(crate) leases: Vec<LeaseRow>,
}

impl Changes {
    /// Of free space only: rows that the database has and that go, rows that come. After it no rows overlap.
    pub(crate) fn of_space(gone: Vec<FreeRow>, added: Vec<FreeRow>) -> Self {
        let mut changes = Self {
            gone,
            added,
            ..Self::default()
        };
        // First where a key would be both deleted and inserted. Then what a batch does to never-used space: its beginning
        // is leased, and one statement less is needed.
        changes.pair(|row| row.first);
        changes.pair(|row| row.last);
        changes
    }

    /// Of a counter only.
    pub(crate) fn of_counter(counter: CounterRow) -> Self {
        Self {
            counters: vec![counter],
            ..Self::default()
        }
    }

    /// Makes one that has moved of each that is gone and one that was added in its place.
    fn pair(&mut self, place: impl Fn(&FreeRow) -> Addr) {
        let key = |row: &FreeRow| (row.pool_id, place(row));
        let gone = std::mem::take(&mut self.gone).into_iter();
        let mut gone: BTreeMap<_, _> = gone.map(|row| (key(&row), row)).collect();
        self.added.retain(|row| match gone.remove(&key(row)) {
            Some(was) => {
                self.moved.push((was, *row));
                false
            }
            None => true,
        });
        self.gone = gone.into_values().collect();
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;
    use crate::store::moment::Moment;

    /// Disjoint rows of two pools, out of where each of their intervals ends.
    fn rows() -> impl Strategy<Value = Vec<FreeRow>> {
        let ends = proptest::collection::btree_map(0u128..60, any::<bool>(), 0..30);
        proptest::collection::vec(ends, 2).prop_map(|pools| {
            let mut rows = Vec::new();
            for (pool_id, ends) in (1..).zip(pools) {
                let mut first = 0;
                for (last, is_free) in ends {
                    if is_free {
                        rows.push(FreeRow {
                            pool_id,
                            first: Addr(first),
                            last: Addr(last),
                            free_at: Moment::NEVER,
                        });
                    }
                    first = last + 1;
                }
            }
            rows
        })
    }

    fn key(row: &FreeRow) -> (i64, Addr) {
        (row.pool_id, row.first)
    }

    proptest! {
        #[test]
        fn changes_of_space_come_to_what_was_asked_and_meet_each_key_once(
            gone in rows(),
            added in rows(),
        ) {
            let changes = Changes::of_space(gone.clone(), added.clone());

            let mut left: BTreeSet<_> = gone.iter().map(key).collect();
            let mut keys: Vec<_> = changes.gone.iter().map(key).collect();
            let mut now: Vec<_> = changes.added.clone();
            for (was, row) in &changes.moved {
                keys.push(key(was));
                now.push(*row);
            }
            for key in keys.drain(..) {
                prop_assert!(left.remove(&key), "{:?} goes twice, or was not there", key);
            }
            prop_assert!(left.is_empty(), "{:?} stay", left);
            now.sort_by_key(key);
            prop_assert_eq!(&now, &added);

            // In any order: what is inserted or moved to meets no key that is deleted or moved away from elsewhere.
            let away = |row: &FreeRow| {
                let deleted = changes.gone.iter().any(|gone| key(gone) == key(row));
                let moved = (changes.moved.iter())
                    .any(|(was, to)| key(was) == key(row) && to != row);
                deleted || moved
            };
            prop_assert!(!now.iter().any(away));
        }
    }
}
