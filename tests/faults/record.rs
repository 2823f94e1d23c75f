//! What all threads write down: the history, and how often each thing happened.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use history::{Event, Outcome, Verb};

pub(crate) struct Record {
    start: Instant,
    events: Mutex<Vec<Event>>,
    counts: Mutex<BTreeMap<String, u64>>,
    complaints: Mutex<Vec<String>>,
    answered: AtomicUsize,
}

impl Record {
    pub(crate) fn new() -> Self {
        Self {
            start: Instant::now(),
            events: Mutex::default(),
            counts: Mutex::default(),
            complaints: Mutex::default(),
            answered: AtomicUsize::new(0),
        }
    }

    /// Since the beginning.
    pub(crate) fn now(&self) -> Duration {
        self.start.elapsed()
    }

    pub(crate) fn note(&self, event: Event) {
        let verb = match &event.verb {
            Verb::Claim(_) => "claim",
            Verb::Release(_) => "release",
            Verb::Collect(_) => "gc",
        };
        if event.outcome != Outcome::Unknown {
            self.answered.fetch_add(1, Ordering::Relaxed);
        }
        let outcome = match &event.outcome {
            Outcome::Granted(_) => "granted".to_owned(),
            Outcome::Done => "done".to_owned(),
            Outcome::Refused(code) => format!("{code:?}"),
            Outcome::Unknown => "no answer".to_owned(),
        };
        self.count(&format!("outcome: {verb}: {outcome}"));
        lock(&self.events).push(event);
    }

    /// Counts one more of `what`: `fault: …` or `outcome: …`.
    pub(crate) fn count(&self, what: &str) {
        *lock(&self.counts).entry(what.to_owned()).or_default() += 1;
    }

    /// How many of `what` were counted.
    pub(crate) fn counted(&self, what: &str) -> u64 {
        lock(&self.counts).get(what).copied().unwrap_or_default()
    }

    /// Notes what must not happen either, though it breaks no guarantee by itself; the verdict tells it.
    pub(crate) fn complain(&self, what: String) {
        lock(&self.complaints).push(what);
    }

    pub(crate) fn complaints(&self) -> Vec<String> {
        lock(&self.complaints).clone()
    }

    /// How many calls were made.
    pub(crate) fn operations(&self) -> usize {
        lock(&self.events).len()
    }

    pub(crate) fn events(&self) -> MutexGuard<'_, Vec<Event>> {
        lock(&self.events)
    }

    /// Waits until so many more calls had an answer, or that takes too long: faults are to come at the pace of the work,
    /// however busy the machine is.
    pub(crate) fn wait_for_answers(&self, count: usize) {
        let answered = || self.answered.load(Ordering::Relaxed);
        let (before, end) = (answered(), Instant::now() + Duration::from_secs(3));
        while answered() < before + count && Instant::now() < end {
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// All counts, a line each.
    pub(crate) fn summary(&self) -> String {
        let mut text = String::new();
        for (what, count) in lock(&self.counts).iter() {
            let _ = writeln!(text, "{count:>8}  {what}");
        }
        text
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
