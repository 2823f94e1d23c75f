//! How long it goes on, and with which seeds.

use std::hash::{BuildHasher, RandomState};
use std::io::Write;
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::{Duration, Instant};

use harness::require;

/// What is measured is measured alone; everything else may happen at the same time.
static MACHINE: RwLock<()> = RwLock::new(());

/// The machine for the caller alone, as far as this process goes.
pub(crate) fn alone() -> RwLockWriteGuard<'static, ()> {
    MACHINE.write().unwrap_or_else(PoisonError::into_inner)
}

/// The machine beside others that do not measure.
pub(crate) fn beside_others() -> RwLockReadGuard<'static, ()> {
    MACHINE.read().unwrap_or_else(PoisonError::into_inner)
}

/// Plays rounds until the time is up: at least one. `operations`: calls in each, unless the environment says otherwise. They
/// need namespaces.
pub(crate) fn play(name: &str, operations: usize, round: impl Fn(u64, usize)) {
    let _shared = beside_others();
    if !require::namespaces() {
        return;
    }
    let first = number("IPAM_FAULT_SEED").unwrap_or_else(|| RandomState::new().hash_one(()) >> 16);
    let asked = number("IPAM_FAULT_OPERATIONS").and_then(|count| usize::try_from(count).ok());
    let minutes = number("IPAM_FAULT_MINUTES").unwrap_or_default();
    let end = Instant::now() + Duration::from_secs(minutes * 60);
    for seed in first.. {
        say(&format!("{name}: IPAM_FAULT_SEED={seed}"));
        round(seed, asked.unwrap_or(operations));
        if Instant::now() >= end {
            return;
        }
    }
}

/// Says something to whoever watches: the test runner keeps what a passing test prints.
pub(crate) fn say(text: &str) {
    // A closed stderr is no reason to fail a test.
    let _ = writeln!(std::io::stderr(), "{text}");
}

fn number(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    let number = text.parse();
    Some(number.unwrap_or_else(|_| panic!("{variable}={text} is not a number")))
}
