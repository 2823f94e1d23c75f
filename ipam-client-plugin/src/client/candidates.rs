//! Whose turn it is: the servers of one call, what came of each, and how long the next try may take.

use std::time::{Duration, Instant};

use super::Patience;
use super::answer::{Again, Missed};
use crate::hash;
use crate::server::Server;

/// The shortest try, so that a slow network is given a chance near the end.
const LEAST_SHARE: Duration = Duration::from_millis(500);
/// The first pause before a server is tried again, doubled each time.
const FIRST_PAUSE: Duration = Duration::from_millis(20);
/// The longest pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// The servers in the order in which they are tried.
#[derive(Debug)]
pub(super) struct Candidates {
    list: Vec<Candidate>,
}

#[derive(Debug)]
struct Candidate {
    index: usize,
    tries: u32,
    not_before: Instant,
    last: Option<Missed>,
}

/// One try.
#[derive(Debug)]
pub(super) struct Turn {
    pub(super) index: usize,
    pub(super) pause: Duration,
    pub(super) share: Duration,
}

impl Candidates {
    pub(super) fn new(count: usize, first: usize) -> Self {
        let now = Instant::now();
        let list = (0..count)
            .map(|i| Candidate {
                index: (first + i) % count,
                tries: 0,
                not_before: now,
                last: None,
            })
            .collect();
        Self { list }
    }

    /// Who is next; `None` when the time does not suffice for another try, or nobody is left to ask.
    pub(super) fn next(&self, patience: Patience) -> Option<Turn> {
        let next = (self.list.iter())
            .filter(|candidate| candidate.is_left(patience.repeats))
            .min_by_key(|candidate| (candidate.not_before, candidate.tries))?;
        let now = Instant::now();
        let pause = next.not_before.saturating_duration_since(now);
        let left = patience
            .deadline
            .saturating_duration_since(now)
            .saturating_sub(pause);
        let untried = (self.list.iter()).filter(|c| c.tries == 0).count();
        // Somebody may still be asked after this one: another server, or the same one that came back.
        let parts = match (patience.repeats, u32::try_from(untried)) {
            (true, Ok(untried)) => untried.max(1) + 1,
            (false, Ok(untried)) => untried.max(1),
            (_, Err(_)) => 1,
        };
        (!left.is_zero()).then(|| Turn {
            index: next.index,
            pause,
            share: (left / parts).max(LEAST_SHARE).min(left),
        })
    }

    /// Notes what came of a try.
    pub(super) fn missed(&mut self, index: usize, missed: Missed) {
        if let Some(candidate) = self.list.iter_mut().find(|c| c.index == index) {
            let pause = match missed.again {
                Again::After(pause) => pause,
                Again::Soon | Again::Never => backoff(candidate.tries, index),
            };
            candidate.tries += 1;
            candidate.not_before = Instant::now() + pause;
            candidate.last = Some(missed);
        }
    }

    /// Whether another time may do: there is a server that did not answer nonsense.
    pub(super) fn passing(&self) -> bool {
        let broken = |c: &Candidate| c.last.as_ref().is_some_and(|m| m.again == Again::Never);
        self.list.is_empty() || !self.list.iter().all(broken)
    }

    /// What came of each server, in words.
    pub(super) fn report(&self, servers: &[Server]) -> String {
        let lines: Vec<_> = (self.list.iter())
            .map(|candidate| {
                let server = &servers[candidate.index];
                match (&candidate.last, candidate.tries) {
                    (None, _) => format!("{server}: not tried, the time was up"),
                    (Some(missed), 1) => format!("{server}: {}", missed.why),
                    (Some(missed), tries) => format!("{server}: {} ({tries} tries)", missed.why),
                }
            })
            .collect();
        if lines.is_empty() {
            return "no server is known".to_owned();
        }
        lines.join("; ")
    }
}

impl Candidate {
    fn is_left(&self, repeats: bool) -> bool {
        match &self.last {
            None => true,
            Some(missed) => repeats && missed.again != Again::Never,
        }
    }
}

/// Half of it is jitter, so that the plugins of a node do not come back in step.
fn backoff(tries: u32, index: usize) -> Duration {
    let pause = (FIRST_PAUSE * (1 << tries.min(6))).min(LONGEST_PAUSE);
    let seed = format!("{}-{tries}-{index}", std::process::id());
    let random = (hash::stable(&[&seed]) % 1000) as u32;
    pause / 2 + pause * random / 2000
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test may fail by panicking")]
    use super::*;

    fn miss(again: Again) -> Missed {
        Missed {
            why: "busy".into(),
            sent: true,
            again,
        }
    }

    fn ten_seconds() -> Patience {
        Patience::until(Instant::now() + Duration::from_secs(10))
    }

    #[test]
    fn each_server_gets_its_turn_and_a_share_of_the_time() {
        let mut candidates = Candidates::new(3, 1);
        let mut shares = Vec::new();
        for expected in [1, 2, 0] {
            let turn = candidates.next(ten_seconds()).unwrap();
            assert_eq!(turn.index, expected);
            assert_eq!(turn.pause, Duration::ZERO);
            shares.push(turn.share.as_secs_f64().ceil() as u32);
            candidates.missed(turn.index, miss(Again::Soon));
        }
        assert_eq!(shares, [3, 4, 5]);
        let again = candidates.next(ten_seconds()).unwrap();
        assert!(!again.pause.is_zero() && again.pause <= FIRST_PAUSE);
        let once = Patience::once_within(Duration::from_secs(1));
        assert!(candidates.next(once).is_none());
    }

    #[test]
    fn a_last_try_gets_all_the_time_that_is_left() {
        let candidates = Candidates::new(1, 0);
        let once = candidates.next(Patience::once_within(Duration::from_secs(2)));
        assert!(once.unwrap().share > Duration::from_millis(1900));
        let soon = Patience::until(Instant::now() + Duration::from_millis(100));
        let turn = candidates.next(soon).unwrap();
        assert!(turn.share <= Duration::from_millis(100));
        assert!(candidates.next(Patience::until(Instant::now())).is_none());
    }

    #[test]
    fn a_server_that_named_a_time_is_left_alone_until_then() {
        let mut candidates = Candidates::new(2, 0);
        candidates.missed(0, miss(Again::After(Duration::from_secs(3))));
        candidates.missed(1, miss(Again::Never));
        let turn = candidates.next(ten_seconds()).unwrap();
        assert_eq!(turn.index, 0);
        assert!(turn.pause > Duration::from_secs(2));
        let too_short = Patience::until(Instant::now() + Duration::from_secs(2));
        assert!(candidates.next(too_short).is_none());
    }

    #[test]
    fn nonsense_from_everybody_is_no_passing_condition() {
        let mut candidates = Candidates::new(2, 0);
        candidates.missed(0, miss(Again::Never));
        assert!(candidates.passing());
        candidates.missed(1, miss(Again::Never));
        assert!(!candidates.passing());
        assert!(candidates.next(ten_seconds()).is_none());
        let servers = ["http://a", "http://b"].map(|s| Server::parse(s).unwrap());
        assert_eq!(
            candidates.report(&servers),
            "http://a: busy; http://b: busy"
        );
        assert_eq!(Candidates::new(0, 0).report(&[]), "no server is known");
    }

    #[test]
    fn pauses_grow_but_stay_bounded() {
        for tries in 0..40 {
            assert!(backoff(tries, 0) <= LONGEST_PAUSE);
            assert!(backoff(tries, 0) >= FIRST_PAUSE / 2);
        }
    }
}
