//! What clients surely held, and when: from the answer until the first verb that may have released it was sent.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use ipam_api::Code;

use crate::event::{Claim, Event, Grant, Outcome, Verb};
use crate::order::is_same_answer;
use crate::violation::{Rule, Violation};
use crate::{Granted, History};

/// A claim's answer and the time for which it surely held.
#[derive(Clone, Copy)]
struct Holding<'a> {
    granted: Granted<'a>,
    from: Duration,
    until: Duration,
}

pub(crate) fn check(history: &History<'_>) -> Vec<Violation> {
    let holdings: Vec<_> = (history.granted())
        .filter_map(|granted| Holding::of(history, granted))
        .collect();
    let mut found = held_twice(&holdings);
    for holding in &holdings {
        let claims = history.about(&holding.granted.claim.attachment).iter();
        found.extend(claims.filter_map(|other| holding.contradicted_by(other)));
    }
    found
}

impl<'a> Holding<'a> {
    fn of(history: &History<'a>, granted: Granted<'a>) -> Option<Self> {
        let until = history.may_be_freed_from(granted);
        let from = granted.event.completed;
        let until = until.unwrap_or(Duration::MAX);
        (from < until).then_some(Self {
            granted,
            from,
            until,
        })
    }

    /// Whether the answer to another claim of the attachment, made while this one surely held, says something else.
    fn contradicted_by(&self, other: &Event) -> Option<Violation> {
        let Verb::Claim(claim) = &other.verb else {
            return None;
        };
        let is_during = self.from <= other.invoked && other.completed <= self.until;
        if !is_during || claim.boot != self.granted.claim.boot {
            return None;
        }
        let differs = match &other.outcome {
            Outcome::Granted(grants) => !is_same_answer(grants, self.granted.grants),
            Outcome::Refused(Code::AttachmentDiffers) => self.satisfies(claim),
            Outcome::Refused(Code::PoolExhausted | Code::AddressTaken) => self.satisfies(claim),
            _ => false,
        };
        let story = || format!("{}; yet {other}", self.granted.event);
        differs.then(|| Violation::new(Rule::AnswerDiffers, story()))
    }

    fn satisfies(&self, claim: &Claim) -> bool {
        let has = |wanted: &IpAddr| (self.granted.grants.iter()).any(|one| one.address == *wanted);
        claim.entries == self.granted.claim.entries && claim.wanted.iter().all(has)
    }
}

fn held_twice(holdings: &[Holding<'_>]) -> Vec<Violation> {
    let mut by_address: BTreeMap<(&str, IpAddr), Vec<(&Holding<'_>, &Grant)>> = BTreeMap::new();
    for holding in holdings {
        for grant in holding.granted.grants {
            let key = (grant.vrf.as_str(), grant.address);
            by_address.entry(key).or_default().push((holding, grant));
        }
    }
    let mut found = Vec::new();
    for ((vrf, address), mut held) in by_address {
        held.sort_by_key(|(holding, _)| holding.from);
        let mut longest: Option<(&Holding<'_>, &Grant)> = None;
        for (holding, grant) in held {
            if let Some((earlier, theirs)) = longest
                && holding.from < earlier.until
                && !is_one_lease((earlier, theirs), (holding, grant))
            {
                let story = format!(
                    "{address} of vrf {vrf}: {}; and {}",
                    earlier.granted.event, holding.granted.event
                );
                found.push(Violation::new(Rule::HeldTwice, story));
            }
            if longest.is_none_or(|(earlier, _)| earlier.until < holding.until) {
                longest = Some((holding, grant));
            }
        }
    }
    found
}

fn is_one_lease(one: (&Holding<'_>, &Grant), other: (&Holding<'_>, &Grant)) -> bool {
    match (&one.1.lease, &other.1.lease) {
        (Some(one), Some(other)) => one == other,
        _ => one.0.granted.claim.attachment == other.0.granted.claim.attachment,
    }
}
