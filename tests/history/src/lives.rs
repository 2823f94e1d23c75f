//! What the database itself tells of each address: one life after another, with a rest between them.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::net::IpAddr;

use ipam_api::Attachment;

use crate::History;
use crate::ending::{Ending, Life, Pool};
use crate::event::Verb;
use crate::violation::{Rule, Violation};

pub(crate) fn check(history: &History<'_>, ending: &Ending) -> Vec<Violation> {
    let wanted = wanted(history);
    let pools: HashMap<&str, &Pool> = (ending.pools.iter())
        .map(|pool| (pool.name.as_str(), pool))
        .collect();
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
            let was_wanted = wanted.contains(&(&pair[1].attachment, pair[1].address));
            found.extend(follows(
                pair[0],
                pair[1],
                pools.get(pair[0].pool.as_str()),
                was_wanted,
            ));
        }
    }
    found
}

/// The addresses that attachments asked for by name: those need no rest.
fn wanted<'a>(history: &History<'a>) -> HashSet<(&'a Attachment, IpAddr)> {
    let claims = history.events.iter().filter_map(|event| match &event.verb {
        Verb::Claim(claim) => Some(claim),
        _ => None,
    });
    claims
        .flat_map(|claim| {
            claim
                .wanted
                .iter()
                .map(|address| (&claim.attachment, *address))
        })
        .collect()
}

fn follows(one: &Life, next: &Life, pool: Option<&&Pool>, was_wanted: bool) -> Option<Violation> {
    let story = || format!("{one}; and then {next}");
    let Some((released, reason)) = &one.released else {
        return Some(Violation::new(Rule::LivesOverlap, story()));
    };
    if next.created < *released {
        return Some(Violation::new(Rule::LivesOverlap, story()));
    }
    let handed_on = reason == "replaced" && one.attachment == next.attachment;
    let rest = pool.map(|pool| pool.reuse_delay).unwrap_or_default();
    let is_early = next.created < *released + rest;
    (is_early && !was_wanted && !handed_on).then(|| Violation::new(Rule::ReusedEarly, story()))
}
