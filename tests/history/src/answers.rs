//! What each answer must be by itself, and beside the verbs that were over before it was asked for.

use std::collections::HashMap;
use std::time::Duration;

use ipam_api::Code;

use crate::event::{Event, Grant, Outcome, Verb};
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

/// What was served under a node's name so far.
struct Known<'a> {
    first: &'a Event,
    machine: Option<&'a str>,
    newest: Option<(u32, Duration, &'a Event)>,
}

/// One name is one machine, and a boot that was followed by another does not come back.
fn two_machines(history: &History<'_>) -> Vec<Violation> {
    let mut served: Vec<_> = history.events.iter().filter_map(Served::of).collect();
    served.sort_by_key(|served| served.event.completed);
    let mut nodes: HashMap<(&str, &str), Known<'_>> = HashMap::new();
    let mut found = Vec::new();
    for served in served {
        let known = nodes.entry(served.name).or_insert_with(|| Known {
            first: served.event,
            machine: served.machine,
            newest: None,
        });
        let story = known.contradicted_by(&served);
        found.extend(story.map(|story| Violation::new(Rule::TwoMachines, story)));
        known.note(&served);
    }
    found
}

/// A claim or GC that was served, and for whom.
struct Served<'a> {
    event: &'a Event,
    name: (&'a str, &'a str),
    machine: Option<&'a str>,
    boot: Option<u32>,
}

impl<'a> Served<'a> {
    fn of(event: &'a Event) -> Option<Self> {
        let (cluster, node, machine, boot) = match (&event.verb, &event.outcome) {
            (Verb::Claim(claim), Outcome::Granted(_)) => {
                let key = &claim.attachment;
                (&key.cluster, &key.node, &claim.machine, claim.boot)
            }
            (Verb::Collect(gc), Outcome::Done) => (&gc.cluster, &gc.node, &gc.machine, gc.boot),
            _ => return None,
        };
        Some(Self {
            event,
            name: (cluster, node),
            machine: machine.as_deref(),
            boot,
        })
    }
}

impl<'a> Known<'a> {
    fn contradicted_by(&self, served: &Served<'a>) -> Option<String> {
        let Served {
            event,
            machine,
            boot,
            ..
        } = served;
        if let (Some(machine), Some(known)) = (machine, self.machine)
            && *machine != known
        {
            return Some(format!(
                "machine {known}: {}; machine {machine}: {event}",
                self.first
            ));
        }
        let (newest, at, newer) = self.newest?;
        let came_back = is_after(Some(newest), *boot) && at < event.invoked;
        came_back.then(|| format!("{newer}; and then in an earlier boot {event}"))
    }

    fn note(&mut self, served: &Served<'a>) {
        self.machine = self.machine.or(served.machine);
        let newest = self.newest.map(|(boot, ..)| boot);
        if let Some(boot) = served.boot
            && newest.is_none_or(|newest| newest < boot)
        {
            self.newest = Some((boot, served.event.completed, served.event));
        }
    }
}
