//! What each answer must be by itself, and beside the verbs that were over before it was asked for.

use std::collections::HashMap;
use std::time::Duration;

use ipam_api::Code;

use crate::event::{Claim, Event, Grant, Outcome, Verb};
use crate::order::{is_after, is_superseded_by};
use crate::violation::{Rule, Violation};
use crate::{Granted, History};

pub(crate) fn check(history: &History<'_>) -> Vec<Violation> {
    let mut found: Vec<_> = history.events.iter().filter_map(failed_inside).collect();
    for granted in history.granted() {
        found.extend(unfit(granted));
        found.extend(overdue(granted));
        found.extend(late(history, granted));
    }
    found.extend(two_machines(history));
    found
}

fn failed_inside(event: &Event) -> Option<Violation> {
    let is_to_blame = matches!(&event.verb, Verb::Claim(claim) if claim.poisoned);
    let failed = event.outcome == Outcome::Refused(Code::Internal) && !is_to_blame;
    failed.then(|| Violation::new(Rule::FailedInside, event.to_string()))
}

fn unfit(granted: Granted<'_>) -> Option<Violation> {
    let Granted {
        event,
        claim,
        grants,
    } = granted;
    let listed = |(grant, pools): (&Grant, &Vec<String>)| {
        grant.pool.as_ref().is_none_or(|pool| pools.contains(pool))
    };
    let fits = grants.len() == claim.entries.len()
        && grants.iter().zip(&claim.entries).all(listed)
        && (claim.wanted.iter()).all(|wanted| grants.iter().any(|one| one.address == *wanted));
    (!fits).then(|| Violation::new(Rule::AnswerUnfit, event.to_string()))
}

fn overdue(granted: Granted<'_>) -> Option<Violation> {
    let (deadline, held_up_until) = granted.claim.overdue?;
    let was_overdue = held_up_until > granted.event.invoked + deadline;
    let story = || {
        format!(
            "{}; its deadline was {deadline:?}, and until {held_up_until:?} no transaction can have begun for it",
            granted.event
        )
    };
    was_overdue.then(|| Violation::new(Rule::OverdueClaimServed, story()))
}

fn late(history: &History<'_>, granted: Granted<'_>) -> Option<Violation> {
    let overtook = |event: &&&Event| {
        matches!(&event.verb, Verb::Release(release) if is_superseded_by(granted.claim, release))
            && event.outcome == Outcome::Done
            && event.completed < granted.event.invoked
    };
    let about = history.about(&granted.claim.attachment);
    let release = about.iter().find(overtook)?;
    let story = format!("{}; yet {release}", granted.event);
    Some(Violation::new(Rule::LateClaimServed, story))
}

/// The newest boot that was served under a node's name so far, and the machine.
struct Known<'a> {
    first: &'a Event,
    machine: Option<&'a str>,
    newest: Option<(u32, Duration, &'a Event)>,
}

fn two_machines(history: &History<'_>) -> Vec<Violation> {
    let mut granted: Vec<_> = history.granted().collect();
    granted.sort_by_key(|granted| granted.event.completed);
    let mut nodes: HashMap<(&str, &str), Known<'_>> = HashMap::new();
    let mut found = Vec::new();
    for Granted { event, claim, .. } in granted {
        let name = (
            claim.attachment.cluster.as_str(),
            claim.attachment.node.as_str(),
        );
        let known = nodes.entry(name).or_insert_with(|| Known {
            first: event,
            machine: claim.machine.as_deref(),
            newest: None,
        });
        if let (Some(machine), Some(known_machine)) = (&claim.machine, known.machine)
            && machine != known_machine
        {
            let story = format!(
                "machine {known_machine}: {}; machine {machine}: {event}",
                known.first
            );
            found.push(Violation::new(Rule::TwoMachines, story));
        }
        if let Some((boot, at, newer)) = known.newest
            && is_after(Some(boot), claim.boot)
            && at < event.invoked
        {
            let story = format!("{newer}; and then in an earlier boot {event}");
            found.push(Violation::new(Rule::TwoMachines, story));
        }
        note(known, event, claim);
    }
    found
}

fn note<'a>(known: &mut Known<'a>, event: &'a Event, claim: &'a Claim) {
    known.machine = known.machine.or(claim.machine.as_deref());
    let newest = known.newest.map(|(boot, ..)| boot);
    if let Some(boot) = claim.boot
        && newest.is_none_or(|newest| newest < boot)
    {
        known.newest = Some((boot, event.completed, event));
    }
}
