//! Which verbs can undo a claim, and which must have: by attachment, scope, boot and issue, and by what is known of times.

use std::time::Duration;

use crate::event::{Claim, Collect, Event, Issued, Outcome, Release, Verb};
use crate::{Grant, Granted};

/// Whether `event` can have freed what the claim was answered with, if it was carried out after it.
pub(crate) fn may_free(event: &Event, claimed: Granted<'_>) -> bool {
    if matches!(event.outcome, Outcome::Refused(_)) || std::ptr::eq(event, claimed.event) {
        return false;
    }
    let is_over = |settled: Duration| settled < claimed.event.invoked;
    if event.settled().is_some_and(is_over) {
        return false;
    }
    match &event.verb {
        Verb::Release(release) => release_reaches(release, claimed.claim),
        Verb::Collect(collect) => collect_reaches(collect, claimed.claim),
        Verb::Claim(later) => replaces(later, &event.outcome, claimed),
    }
}

/// Whether nothing of the claim can be left once both were carried out, whichever came first.
pub(crate) fn surely_undoes(event: &Event, claim_event: &Event, claim: &Claim) -> bool {
    if event.outcome != Outcome::Done {
        return false;
    }
    let came_after = claim_event
        .settled()
        .is_some_and(|settled| settled <= event.invoked);
    match &event.verb {
        Verb::Release(release) if release.attachment == claim.attachment => {
            is_superseded_by(claim, release)
                || (came_after
                    && is_after(release.boot, claim.boot)
                    && release.claim_issued.is_none())
        }
        // A GC leaves no mark on what it does not find: it undoes only what was there.
        Verb::Collect(collect) if collect_reaches(collect, claim) => {
            let before = |collected: Issued, claimed: Issued| claimed.latest < collected.earliest;
            let in_order = match (collect.issued, claim.issued) {
                (Some(collected), Some(claimed)) if collect.boot == claim.boot => {
                    before(collected, claimed)
                }
                _ => is_after(collect.boot, claim.boot),
            };
            came_after && in_order
        }
        _ => false,
    }
}

/// Whether the claim, if it arrives after the release was served, must be refused.
pub(crate) fn is_superseded_by(claim: &Claim, release: &Release) -> bool {
    let (Some(claimed), Some(released)) = (claim.issued, release.issued) else {
        return false;
    };
    if claim.attachment != release.attachment || claim.boot != release.boot {
        return false;
    }
    match release.claim_issued {
        Some(gave_up) => gave_up.earliest == gave_up.latest && claimed == gave_up,
        None => claimed.latest <= released.earliest,
    }
}

fn release_reaches(release: &Release, claim: &Claim) -> bool {
    if release.attachment != claim.attachment {
        return false;
    }
    let newest = match release.claim_issued {
        Some(_) if is_after(release.boot, claim.boot) => return false,
        // Whoever was told of the same leases by an older claim loses them too.
        Some(gave_up) => Some(gave_up),
        None => release.issued,
    };
    is_not_older(release.boot, newest, claim)
}

/// Whether the GC's scope and order allow it to free what the claim was answered with.
fn collect_reaches(collect: &Collect, claim: &Claim) -> bool {
    let key = &claim.attachment;
    collect.cluster == key.cluster
        && collect.node == key.node
        && collect.network == key.network
        && !(collect.valid.iter())
            .any(|(container, ifname)| *container == key.container_id && *ifname == key.ifname)
        && is_not_older(collect.boot, collect.issued, claim)
}

fn is_not_older(boot: Option<u32>, issued: Option<Issued>, claim: &Claim) -> bool {
    match (boot, claim.boot) {
        (Some(boot), Some(claimed)) if boot != claimed => boot > claimed,
        _ => match (issued, claim.issued) {
            (Some(issued), Some(claimed)) => issued.latest >= claimed.earliest,
            _ => true,
        },
    }
}

fn replaces(later: &Claim, outcome: &Outcome, claimed: Granted<'_>) -> bool {
    let is_other = |grants: &Vec<Grant>| !is_same_answer(grants, claimed.grants);
    later.attachment == claimed.claim.attachment
        && is_after(later.boot, claimed.claim.boot)
        && !matches!(outcome, Outcome::Granted(grants) if !is_other(grants))
}

/// Whether the first boot is known to be a later one than the second.
pub(crate) fn is_after(boot: Option<u32>, other: Option<u32>) -> bool {
    matches!((boot, other), (Some(boot), Some(other)) if boot > other)
}

/// Whether two answers name the same leases, as far as each tells.
pub(crate) fn is_same_answer(one: &[Grant], other: &[Grant]) -> bool {
    let is_same = |(one, other): (&Grant, &Grant)| {
        let ids = one.lease.as_ref().zip(other.lease.as_ref());
        one.address == other.address && one.vrf == other.vrf && ids.is_none_or(|(a, b)| a == b)
    };
    one.len() == other.len() && one.iter().zip(other).all(is_same)
}
