//! What the database itself tells of each address: one life after another, with a rest between them.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::net::IpAddr;
use std::time::Duration;

use ipam_api::Attachment;

use crate::History;
use crate::ending::{Ending, Life, Pool};
use crate::event::Verb;
use crate::violation::{Rule, Violation};

pub(crate) fn check(history: &History<'_>, ending: &Ending) -> Vec<Violation> {
    let clients = Clients::of(history);
    let pools: HashMap<&str, &Pool> = (ending.pools.iter())
        .map(|pool| (pool.name.as_str(), pool))
        .collect();
    let rest = |life: &Life| {
        let pool = pools.get(life.pool.as_str());
        pool.map(|pool| pool.reuse_delay).unwrap_or_default()
    };
    let needs_no_rest = |one: &Life, next: &Life| handed_on(one, next) || clients.wanted(next);
    let mut by_address: BTreeMap<(&str, IpAddr), Vec<&Life>> = BTreeMap::new();
    for life in &ending.lives {
        let key = (life.vrf.as_str(), life.address);
        by_address.entry(key).or_default().push(life);
    }
    let mut found = Vec::new();
    for lives in by_address.values_mut() {
        // One that ended when it began goes before the one that follows it.
        lives.sort_by_key(|life| (life.created, life.released.is_none(), life.released.clone()));
        for pair in lives.windows(2) {
            let (one, next) = (pair[0], pair[1]);
            if overlap(one, next) {
                found.push(violation(Rule::LivesOverlap, one, next));
            } else if !ending.clock_moved
                && rested_less(one, next, rest(one))
                && !needs_no_rest(one, next)
            {
                found.push(violation(Rule::ReusedEarly, one, next));
            }
        }
        // Times that were moved do not even tell the order.
        lives.retain(|life| clients.spans.contains_key(life.lease.as_str()));
        lives.sort_by_key(|life| clients.spans[life.lease.as_str()]);
        for pair in lives.windows(2) {
            let (one, next) = (pair[0], pair[1]);
            if clients.saw_less_rest(one, next, rest(one)) && !needs_no_rest(one, next) {
                found.push(violation(Rule::ReusedEarly, one, next));
            }
        }
    }
    found
}

fn violation(rule: Rule, one: &Life, next: &Life) -> Violation {
    Violation::new(rule, format!("{one}; and then {next}"))
}

fn overlap(one: &Life, next: &Life) -> bool {
    (one.released.as_ref()).is_none_or(|(released, _)| next.created < *released)
}

/// By the database's own times.
fn rested_less(one: &Life, next: &Life, rest: Duration) -> bool {
    (one.released.as_ref()).is_some_and(|(released, _)| next.created < *released + rest)
}

/// A claim of a newer boot takes back what it replaces, and may have it again.
fn handed_on(one: &Life, next: &Life) -> bool {
    let was_replaced = (one.released.as_ref()).is_some_and(|(_, reason)| reason == "replaced");
    was_replaced && one.attachment == next.attachment
}

/// What clients know of leases.
struct Clients<'a> {
    /// The addresses that attachments asked for by name: those need no rest.
    wanted: HashSet<(&'a Attachment, IpAddr)>,
    /// When a lease was there at the latest, and when it was there still.
    spans: HashMap<&'a str, (Duration, Duration)>,
}

impl<'a> Clients<'a> {
    fn of(history: &History<'a>) -> Self {
        let mut wanted = HashSet::new();
        let mut spans: HashMap<&str, (Duration, Duration)> = HashMap::new();
        for event in history.events {
            if let Verb::Claim(claim) = &event.verb {
                let asked = claim.wanted.iter();
                wanted.extend(asked.map(|address| (&claim.attachment, *address)));
            }
        }
        for granted in history.granted() {
            let until = history.may_be_freed_from(granted);
            let told = granted.event.completed;
            let until = until.unwrap_or(told).max(granted.event.invoked);
            for lease in granted
                .grants
                .iter()
                .filter_map(|grant| grant.lease.as_deref())
            {
                let span = spans.entry(lease).or_insert((told, until));
                *span = (span.0.min(told), span.1.max(until));
            }
        }
        Self { wanted, spans }
    }

    fn wanted(&self, life: &Life) -> bool {
        self.wanted.contains(&(&life.attachment, life.address))
    }

    /// By the clients' clock: the next lease was told of too soon after the first was there still.
    fn saw_less_rest(&self, one: &Life, next: &Life, rest: Duration) -> bool {
        let span = |life: &Life| self.spans.get(life.lease.as_str());
        let both = span(one).zip(span(next));
        both.is_some_and(|((_, until), (told, _))| *told < *until + rest)
    }
}
