//! Failures on demand: a test makes a plugin fail, or die, at any request to the kernel or to another program. Builds for
//! production have none of this.

use cni::Error;

/// The last point of an ADD: everything is done.
pub(crate) const END: &str = "the end";

/// The environment variable with which a test makes the plugin fail at its n-th point, or at the point of this name. What
/// the point stands before is not done then.
#[cfg(debug_assertions)]
const FAIL_AT: &str = "CNI_TEST_FAIL_AT";

/// Likewise, with which a test makes the whole plugin die there, as one that is killed: nothing is undone.
#[cfg(debug_assertions)]
const DIE_AT: &str = "CNI_TEST_DIE_AT";

#[cfg(debug_assertions)]
mod count {
    use std::sync::atomic::{AtomicBool, AtomicU32};

    pub(super) static POINTS: AtomicU32 = AtomicU32::new(0);
    pub(super) static AGAIN: AtomicBool = AtomicBool::new(false);
}

/// Stands before a request. Fails only when a test asks for it.
pub(crate) fn point(what: &str) -> Result<(), Error> {
    #[cfg(debug_assertions)]
    {
        use std::sync::atomic::Ordering::Relaxed;

        if count::AGAIN.swap(false, Relaxed) {
            return Ok(());
        }
        let point = count::POINTS.fetch_add(1, Relaxed) + 1;
        let is_wanted = |variable| {
            let wanted = std::env::var(variable).unwrap_or_default();
            wanted == what || wanted == point.to_string()
        };
        if is_wanted(DIE_AT) {
            std::process::abort();
        }
        if is_wanted(FAIL_AT) {
            let text = format!("injected failure at point {point}, {what}");
            eprintln!("{text}");
            return Err(Error::internal(text));
        }
    }
    let _ = what;
    Ok(())
}

/// Says that the next request is one that was made before, by somebody who waits for another answer: how often that
/// happens must not move the points that follow.
pub(crate) fn again() {
    #[cfg(debug_assertions)]
    count::AGAIN.store(true, std::sync::atomic::Ordering::Relaxed);
}
