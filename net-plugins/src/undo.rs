//! Taking back an ADD that fails: every step pushes how it is undone, and a failure runs them backwards.

use std::fmt::Display;

use cni::Error;

use crate::fault;

/// The first failure among the outcomes, with the others in its details. What made them has been tried in any case.
pub fn all(outcomes: impl IntoIterator<Item = Result<(), Error>>) -> Result<(), Error> {
    let mut failures: Vec<_> = outcomes.into_iter().filter_map(Result::err).collect();
    if failures.is_empty() {
        return Ok(());
    }
    let mut first = failures.remove(0);
    for other in failures {
        append(&mut first, &other.to_string());
    }
    Err(first)
}

fn append(error: &mut Error, more: &str) {
    if !error.details.is_empty() {
        error.details.push_str("; ");
    }
    error.details.push_str(more);
}

type Action<'a> = Box<dyn FnOnce() -> Result<(), Error> + 'a>;

/// The steps done so far, and how to undo each.
#[derive(Default)]
pub struct Undo<'a> {
    actions: Vec<(String, Action<'a>)>,
}

/// Does all of `work`, or else undoes what was done of it.
pub fn all_or_nothing<'a, T>(
    work: impl FnOnce(&mut Undo<'a>) -> Result<T, Error>,
) -> Result<T, Error> {
    let mut undo = Undo::default();
    let done = work(&mut undo).and_then(|done| fault::point(fault::END).map(|()| done));
    done.map_err(|error| undo.unwind(error))
}

impl<'a> Undo<'a> {
    /// Notes how to undo the step that was just done, or is about to be. `what` completes "cannot …".
    pub fn push(&mut self, what: impl Display, action: impl FnOnce() -> Result<(), Error> + 'a) {
        self.actions.push((what.to_string(), Box::new(action)));
    }

    /// Undoes everything, the last step first. What cannot be undone is added to the error's details; nothing stops it.
    /// Only the very failure that is told already is not told again: an IPAM plugin that refuses a configuration
    /// refuses it on DEL too.
    fn unwind(self, mut error: Error) -> Error {
        let told = error.clone();
        for (what, action) in self.actions.into_iter().rev() {
            if let Err(e) = action()
                && e != told
            {
                append(&mut error, &format!("cannot {what}: {e}"));
            }
        }
        error
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;

    #[test]
    fn steps_are_undone_backwards_and_every_failure_is_told() {
        let order = RefCell::new(Vec::new());
        let mut undo = Undo::default();
        for (step, fails) in [("one", true), ("two", false), ("three", true)] {
            let order = &order;
            undo.push(format!("undo {step}"), move || {
                order.borrow_mut().push(step);
                match fails {
                    true => Err(Error::internal("no")),
                    false => Ok(()),
                }
            });
        }
        let failure = Error::internal("failed").with_details("here");
        let again = failure.clone();
        undo.push("undo four", move || Err(again));
        let error = undo.unwind(failure);
        assert_eq!(*order.borrow(), ["three", "two", "one"]);
        let both = all([Err(Error::internal("a")), Ok(()), Err(Error::internal("b"))]);
        assert_eq!(both, Err(Error::internal("a").with_details("b")));
        assert_eq!(all([]), Ok(()));
        assert_eq!(error.msg, "failed");
        assert_eq!(
            error.details,
            "here; cannot undo three: no; cannot undo one: no"
        );
    }
}
