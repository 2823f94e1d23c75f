//! Whether what the database holds, and what it does not hold any more, has a cause in what clients asked.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;

use ipam_api::Attachment;

use crate::ending::{Ending, Life};
use crate::event::{Claim, Event, Grant, Outcome, Verb};
use crate::order::{may_free, surely_undoes};
use crate::violation::{Rule, Violation};
use crate::{Granted, History};

pub(crate) fn check(history: &History<'_>, ending: &Ending) -> Vec<Violation> {
    let lives = Lives::new(ending);
    let mut found = Vec::new();
    for granted in history.granted() {
        for grant in granted.grants {
            found.extend(kept(history, &lives, ending, granted, grant));
        }
    }
    for (attachment, held) in lives.held {
        found.extend(caused(history, attachment, &held));
    }
    found
}

struct Lives<'a> {
    by_lease: HashMap<&'a str, &'a Life>,
    by_address: HashMap<(&'a Attachment, IpAddr), Vec<&'a Life>>,
    held: BTreeMap<&'a Attachment, Vec<&'a Life>>,
}

impl<'a> Lives<'a> {
    fn new(ending: &'a Ending) -> Self {
        let mut by_address: HashMap<_, Vec<_>> = HashMap::new();
        let mut held: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for life in &ending.lives {
            let key = (&life.attachment, life.address);
            by_address.entry(key).or_default().push(life);
            if life.released.is_none() {
                held.entry(&life.attachment).or_default().push(life);
            }
        }
        Self {
            by_lease: (ending.lives.iter())
                .map(|life| (life.lease.as_str(), life))
                .collect(),
            by_address,
            held,
        }
    }

    /// The lives that a grant may be about; without the lease's id there may be several.
    fn of(&self, attachment: &Attachment, grant: &Grant) -> Vec<&'a Life> {
        let is_it = |life: &&Life| {
            life.attachment == *attachment && life.address == grant.address && life.vrf == grant.vrf
        };
        let found = match &grant.lease {
            Some(lease) => self
                .by_lease
                .get(lease.as_str())
                .copied()
                .into_iter()
                .collect(),
            None => {
                let key = (attachment, grant.address);
                self.by_address.get(&key).cloned().unwrap_or_default()
            }
        };
        found.into_iter().filter(is_it).collect()
    }
}

/// An acknowledged lease is there, or somebody freed it who could.
fn kept(
    history: &History<'_>,
    lives: &Lives<'_>,
    ending: &Ending,
    granted: Granted<'_>,
    grant: &Grant,
) -> Option<Violation> {
    let lives = lives.of(&granted.claim.attachment, grant);
    let Some(last) = lives.last() else {
        let story = format!("{}; the database knows no such lease", granted.event);
        return Some(Violation::new(Rule::Lost, story));
    };
    let has_cause = |life: &&Life| match &life.released {
        None => true,
        Some((_, reason)) if reason == "reclaim" => {
            let key = &granted.claim.attachment;
            history.boot_was_over(key, granted.claim.boot).is_some()
        }
        Some((_, reason)) if reason == "forgotten" => {
            let key = &granted.claim.attachment;
            let node = (key.cluster.clone(), key.node.clone());
            ending.forgotten.contains(&node)
        }
        Some((_, reason)) => (history.touching(&granted.claim.attachment))
            .any(|event| is_the(reason, event) && may_free(event, granted)),
    };
    let story = || format!("{}; {last}; no such verb could", granted.event);
    (!lives.iter().any(has_cause)).then(|| Violation::new(Rule::FreedWithoutCause, story()))
}

fn is_the(reason: &str, event: &Event) -> bool {
    matches!(
        (reason, &event.verb),
        ("release", Verb::Release(_)) | ("gc", Verb::Collect(_)) | ("replaced", Verb::Claim(_))
    )
}

/// What is held was claimed, whole, and is not what a release must have freed.
fn caused(history: &History<'_>, attachment: &Attachment, held: &[&Life]) -> Option<Violation> {
    let claims: Vec<_> = (history.about(attachment).iter())
        .filter_map(|event| Some((*event, claim_of(event)?)))
        .filter(|(event, claim)| may_have_made(event, claim, held))
        .collect();
    let story = held
        .iter()
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join("; ");
    let Some((last, _)) = claims.last() else {
        return Some(Violation::new(
            Rule::HeldWithoutCause,
            format!("{story}; no claim can have made it"),
        ));
    };
    let undone_by = |event: &Event, claim: &Claim| {
        (history.touching(attachment))
            .filter(|other| !is_of_a_boot_that_is_over(history, attachment, other, claim))
            .find(|other| surely_undoes(other, event, claim))
    };
    let alive: Vec<_> = (claims.iter())
        .filter(|(event, claim)| undone_by(event, claim).is_none())
        .collect();
    if alive.is_empty() {
        let release = claims
            .iter()
            .find_map(|(event, claim)| undone_by(event, claim));
        let release = release.map(ToString::to_string).unwrap_or_default();
        return Some(Violation::new(
            Rule::ReleaseUndone,
            format!("{story}; {last}; {release}"),
        ));
    }
    let is_whole = alive
        .iter()
        .any(|(_, claim)| claim.entries.len() == held.len());
    (!is_whole).then(|| Violation::new(Rule::HeldInPart, format!("{story}; {last}")))
}

/// A release of an earlier boot than the node's present one frees only leases of its own boot.
fn is_of_a_boot_that_is_over(
    history: &History<'_>,
    attachment: &Attachment,
    event: &Event,
    claim: &Claim,
) -> bool {
    let Verb::Release(release) = &event.verb else {
        return false;
    };
    let over = history.boot_was_over(attachment, release.boot);
    release.boot != claim.boot && over.is_some_and(|over| over <= event.completed)
}

fn claim_of(event: &Event) -> Option<&Claim> {
    match &event.verb {
        Verb::Claim(claim) => Some(claim),
        _ => None,
    }
}

fn may_have_made(event: &Event, claim: &Claim, held: &[&Life]) -> bool {
    let is_listed = |life: &&Life| claim.entries.iter().any(|pools| pools.contains(&life.pool));
    let told = |life: &&Life, grants: &[Grant]| {
        let is_it = |one: &Grant| match &one.lease {
            Some(lease) => *lease == life.lease,
            None => one.address == life.address,
        };
        grants.iter().any(is_it)
    };
    let fits = match &event.outcome {
        Outcome::Granted(grants) => event.lingers || held.iter().any(|life| told(life, grants)),
        Outcome::Unknown => true,
        Outcome::Done | Outcome::Refused(_) => event.lingers,
    };
    fits && held.iter().all(is_listed)
}
