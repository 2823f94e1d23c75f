//! Where the next page of a list begins. Opaque to clients: it may change its form with any release.

use super::Cursor;
use super::addr::Addr;
use super::moment::Moment;
use crate::error::{Error, Result};
use ipam_api::Page;

/// The most items that one page has, whatever is asked for.
const PAGE_MAX: u32 = 1000;

impl Cursor {
    /// How many items this page has.
    pub(super) fn page(&self) -> usize {
        self.limit.clamp(1, PAGE_MAX) as usize
    }

    /// How many rows are read for it: one more tells whether there is a next page.
    pub(super) fn rows(&self) -> i64 {
        i64::from(self.limit.clamp(1, PAGE_MAX)) + 1
    }

    /// The name that the page begins after, in lists by name.
    pub(super) fn after_name(&self) -> Result<&str> {
        match self.after.as_deref() {
            None => Ok(""),
            Some(name) if crate::pool::checks::can_exist(name) => Ok(name),
            Some(other) => Err(malformed(other)),
        }
    }

    /// The id that the page begins below, in lists with the latest first.
    pub(super) fn before_id(&self) -> Result<i64> {
        self.parsed(i64::MAX, |text| text.parse().ok())
    }

    /// The (vrf, address) that the page begins after.
    pub(super) fn after_address(&self) -> Result<Option<(i64, Addr)>> {
        self.parsed(None, |text| {
            let (vrf, address) = text.split_once('-')?;
            let address = u128::from_str_radix(address, 16).ok()?;
            Some(Some((vrf.parse().ok()?, Addr(address))))
        })
    }

    /// The (cluster, name) that the page begins after.
    pub(super) fn after_names(&self) -> Result<(String, String)> {
        self.parsed(Default::default(), |text| {
            let (length, names) = text.split_once('-')?;
            let (cluster, name) = names.split_at_checked(length.parse().ok()?)?;
            (!names.contains('\0')).then(|| (cluster.to_owned(), name.to_owned()))
        })
    }

    /// The (time, id) that the page begins below; `None` on the first page.
    pub(super) fn before_time(&self) -> Result<Option<(Moment, i64)>> {
        self.parsed(None, |text| {
            let (at, id) = text.split_once('-')?;
            let at = Moment(at.parse().ok()?);
            (Moment::NEVER <= at && at <= Moment::LAST).then_some(())?;
            Some(Some((at, id.parse().ok()?)))
        })
    }

    fn parsed<T>(&self, first: T, parse: impl FnOnce(&str) -> Option<T>) -> Result<T> {
        match self.after.as_deref() {
            None => Ok(first),
            Some(text) => parse(text).ok_or_else(|| malformed(text)),
        }
    }
}

/// The cursor after this (vrf, address).
pub(super) fn of_address((vrf, address): (i64, Addr)) -> String {
    format!("{vrf}-{:x}", address.0)
}

/// The cursor after this (cluster, name).
pub(super) fn of_names(cluster: &str, name: &str) -> String {
    format!("{}-{cluster}{name}", cluster.len())
}

/// The cursor below this (time, id).
pub(super) fn of_time((at, id): (Moment, i64)) -> String {
    format!("{}-{id}", at.0)
}

/// One page out of rows that were read with one row more than the page has.
pub(super) fn page_of<R, T>(
    cursor: &Cursor,
    mut rows: Vec<R>,
    next: impl FnOnce(&R) -> String,
    shown: impl FnMut(R) -> Result<T>,
) -> Result<Page<T>> {
    let more = rows.len() > cursor.page();
    rows.truncate(cursor.page());
    let next_cursor = rows.last().filter(|_| more).map(next);
    let items = rows.into_iter().map(shown).collect::<Result<_>>()?;
    Ok(Page { items, next_cursor })
}

fn malformed(text: &str) -> Error {
    let shown: String = text.chars().take(80).collect();
    Error::Invalid(format!(
        "cursor {shown:?}: it is not one that this list answered; give back \"next_cursor\" as it is"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cursor(after: &str) -> Cursor {
        Cursor {
            after: Some(after.to_owned()),
            limit: 10,
        }
    }

    #[test]
    fn a_cursor_is_read_back_as_it_was_written() {
        let address = (7, Addr(u128::MAX - 3));
        let text = of_address(address);
        assert_eq!(cursor(&text).after_address().expect("good"), Some(address));
        let names = ("a-1/ü".to_owned(), "3-b".to_owned());
        let text = of_names(&names.0, &names.1);
        assert_eq!(cursor(&text).after_names().expect("good"), names);
        let time = (Moment::LAST, i64::MAX);
        let text = of_time(time);
        assert_eq!(cursor(&text).before_time().expect("good"), Some(time));
    }

    #[test]
    fn a_cursor_that_no_list_wrote_is_refused() {
        for bad in ["", "x", "1", "1-", "-1", "1-zz", "1-1-1", "a\0"] {
            assert!(cursor(bad).after_address().is_err(), "{bad:?}");
            assert!(cursor(bad).before_time().is_err(), "{bad:?}");
            assert!(cursor(&format!("9{bad}")).after_names().is_err(), "{bad:?}");
        }
        assert!(cursor("a b").after_name().is_err());
        assert!(cursor("").after_name().is_err());
        assert!(cursor("x").before_id().is_err());
        assert!(cursor("9223372036854775807-1").before_time().is_err());
    }

    #[test]
    fn a_page_has_a_next_one_only_when_a_row_more_was_read() {
        let cursor = Cursor {
            after: None,
            limit: 2,
        };
        let page = |rows| page_of(&cursor, rows, i32::to_string, Ok).expect("a page");
        assert_eq!(page(vec![1, 2, 3]).items, [1, 2]);
        assert_eq!(page(vec![1, 2, 3]).next_cursor.as_deref(), Some("2"));
        assert_eq!(page(vec![1, 2]).next_cursor, None);
    }
}
