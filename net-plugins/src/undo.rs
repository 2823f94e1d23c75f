//! Taking back an ADD that fails: every step pushes how it is undone, and a failure runs them backwards.

use std::fmt::Display;

use cni::Error;

/// The environment variable with which a test makes an ADD fail after its n-th step, or after the step of this name.
/// Builds for production do not know it.
#[cfg(debug_assertions)]
const FAIL_AFTER: &str = "CNI_TEST_FAIL_AFTER_STEP";

/// Likewise, with which a test makes the whole plugin die there, as one that is killed: nothing is undone.
#[cfg(debug_assertions)]
const DIE_AFTER: &str = "CNI_TEST_DIE_AFTER_STEP";

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
    #[cfg(debug_assertions)]
    steps: u32,
}

impl<'a> Undo<'a> {
    /// Nothing is done yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Notes how to undo the step that was just done. `what` completes "cannot …".
    pub fn push(
        &mut self,
        what: impl Display,
        action: impl FnOnce() -> Result<(), Error> + 'a,
    ) -> Result<(), Error> {
        self.note(&what, action);
        self.reached(what)
    }

    /// Notes how to undo what is about to be done, or more that undoing an earlier step takes.
    pub fn note(&mut self, what: impl Display, action: impl FnOnce() -> Result<(), Error> + 'a) {
        self.actions.push((what.to_string(), Box::new(action)));
    }

    /// Notes that a step is done which an earlier step's undoing takes back too. Fails only when a test asks for it.
    pub fn reached(&mut self, what: impl Display) -> Result<(), Error> {
        #[cfg(debug_assertions)]
        {
            self.steps += 1;
            let steps = self.steps.to_string();
            let is_wanted = |variable| {
                let wanted = std::env::var(variable).unwrap_or_default();
                wanted == steps || wanted == what.to_string()
            };
            if is_wanted(DIE_AFTER) {
                std::process::abort();
            }
            if is_wanted(FAIL_AFTER) {
                let text = format!("injected failure after step {steps} ({what})");
                return Err(Error::internal(text));
            }
        }
        let _ = what;
        Ok(())
    }

    /// Undoes everything, the last step first. What cannot be undone is added to the error's details; nothing stops it.
    /// Only the very failure that is told already is not told again: an IPAM plugin that refuses a configuration
    /// refuses it on DEL too.
    pub fn unwind(self, mut error: Error) -> Error {
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
        let mut undo = Undo::new();
        for (step, fails) in [("one", true), ("two", false), ("three", true)] {
            let order = &order;
            let pushed = undo.push(format!("undo {step}"), move || {
                order.borrow_mut().push(step);
                match fails {
                    true => Err(Error::internal("no")),
                    false => Ok(()),
                }
            });
            assert_eq!(pushed, Ok(()));
        }
        let failure = Error::internal("failed").with_details("here");
        let again = failure.clone();
        let pushed = undo.push("undo four", move || Err(again));
        assert_eq!(pushed, Ok(()));
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
