//! Histories written by hand: one node `n1`, one pool `a` of ten addresses that rest for a second, times in seconds.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Duration;

use history::{
    Claim, Collect, Ending, Event, Grant, Issued, Life, Outcome, Pool, Release, Rule, Verb, check,
};
use ipam_api::{Attachment, Usage};
use time::OffsetDateTime;

pub(crate) const SIZE: u64 = 10;

pub(crate) fn ip(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

pub(crate) fn key(container: &str) -> Attachment {
    Attachment {
        cluster: "default".to_owned(),
        node: "n1".to_owned(),
        network: "net".to_owned(),
        container_id: container.to_owned(),
        ifname: "eth0".to_owned(),
    }
}

pub(crate) fn event(verb: Verb, (from, to): (u64, u64), outcome: Outcome) -> Event {
    Event {
        client: "client".to_owned(),
        invoked: Duration::from_secs(from),
        completed: Duration::from_secs(to),
        lingers: false,
        verb,
        outcome,
    }
}

/// A claim in boot 1, issued when it was sent.
pub(crate) fn claim(container: &str, issued: u64) -> Claim {
    Claim {
        attachment: key(container),
        machine: Some("m1".to_owned()),
        boot: Some(1),
        issued: Some(at(issued)),
        entries: vec![vec!["a".to_owned()]],
        wanted: Vec::new(),
        overdue: None,
        poisoned: false,
    }
}

pub(crate) fn at(issued: u64) -> Issued {
    Issued::at(i64::try_from(issued).expect("a small number"))
}

pub(crate) fn grant(lease: &str, address: &str) -> Grant {
    Grant {
        lease: Some(lease.to_owned()),
        pool: Some("a".to_owned()),
        vrf: "default".to_owned(),
        address: ip(address),
    }
}

/// A claim of the container that was answered with this lease.
pub(crate) fn claimed(container: &str, span: (u64, u64), lease: &str, address: &str) -> Event {
    let outcome = Outcome::Granted(vec![grant(lease, address)]);
    event(Verb::Claim(claim(container, span.0)), span, outcome)
}

pub(crate) fn release(container: &str, issued: u64) -> Release {
    Release {
        attachment: key(container),
        boot: Some(1),
        issued: Some(at(issued)),
        claim_issued: None,
    }
}

pub(crate) fn released(container: &str, span: (u64, u64)) -> Event {
    event(
        Verb::Release(release(container, span.0)),
        span,
        Outcome::Done,
    )
}

pub(crate) fn collected(span: (u64, u64), valid: &[&str]) -> Event {
    let collect = Collect {
        cluster: "default".to_owned(),
        node: "n1".to_owned(),
        network: "net".to_owned(),
        machine: Some("m1".to_owned()),
        boot: Some(1),
        issued: Some(at(span.0)),
        valid: (valid.iter())
            .map(|id| ((*id).to_owned(), "eth0".to_owned()))
            .collect(),
    };
    event(Verb::Collect(collect), span, Outcome::Done)
}

pub(crate) fn moment(second: u64) -> OffsetDateTime {
    OffsetDateTime::UNIX_EPOCH + Duration::from_secs(second)
}

pub(crate) fn held(container: &str, lease: &str, address: &str, created: u64) -> Life {
    Life {
        lease: lease.to_owned(),
        vrf: "default".to_owned(),
        pool: "a".to_owned(),
        address: ip(address),
        attachment: key(container),
        created: moment(created),
        released: None,
    }
}

/// The life, ended.
pub(crate) fn until(life: Life, second: u64, reason: &str) -> Life {
    Life {
        released: Some((moment(second), reason.to_owned())),
        ..life
    }
}

/// An ending whose accounts agree with the lives.
pub(crate) fn ending(lives: Vec<Life>) -> Ending {
    let leased = lives.iter().filter(|life| life.released.is_none()).count() as u64;
    let usage = Usage {
        size: SIZE,
        leased,
        free: SIZE - leased,
        ..Usage::default()
    };
    let pool = Pool {
        name: "a".to_owned(),
        size: SIZE,
        reserved: 0,
        reuse_delay: Duration::from_secs(1),
        usage,
    };
    Ending {
        lives,
        pools: vec![pool],
        clock_moved: false,
        forgotten: BTreeSet::new(),
    }
}

#[track_caller]
pub(crate) fn assert_good(events: &[Event], lives: Vec<Life>) {
    assert_eq!(check(events, &ending(lives)), []);
}

/// The one guarantee that is broken; the story names `words`.
#[track_caller]
pub(crate) fn assert_refused(events: &[Event], ending: &Ending, rule: Rule, words: &[&str]) {
    let found = check(events, ending);
    let it = found.iter().find(|violation| violation.rule == rule);
    let it = it.unwrap_or_else(|| panic!("no {rule:?} in {found:#?}"));
    for word in words {
        assert!(it.story.contains(word), "no {word:?} in {it}");
    }
}
