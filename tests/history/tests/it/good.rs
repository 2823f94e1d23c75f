//! What must not be refused: every doubt counts for the service.

use history::{Claim, Event, Outcome, Release, Verb};
use ipam_api::Code;

use crate::story::*;

#[test]
fn an_address_goes_from_one_to_the_next() {
    let events = [
        claimed("c1", (1, 2), "l1", "10.0.0.1"),
        claimed("c1", (3, 4), "l1", "10.0.0.1"),
        released("c1", (5, 6)),
        claimed("c2", (8, 9), "l2", "10.0.0.1"),
    ];
    assert_good(
        &events,
        vec![
            until(held("c1", "l1", "10.0.0.1", 1), 6, "release"),
            held("c2", "l2", "10.0.0.1", 8),
        ],
    );
}

#[test]
fn a_release_without_an_answer_may_have_freed_and_may_have_not() {
    let release = Event {
        outcome: Outcome::Unknown,
        ..released("c1", (3, 4))
    };
    let events = [claimed("c1", (1, 2), "l1", "10.0.0.1"), release.clone()];
    assert_good(&events, vec![held("c1", "l1", "10.0.0.1", 1)]);
    // It may be carried out long after its client has gone.
    let freed = until(held("c1", "l1", "10.0.0.1", 1), 60, "release");
    assert_good(&events, vec![freed.clone()]);
    let events = [
        claimed("c1", (1, 2), "l1", "10.0.0.1"),
        release,
        claimed("c2", (70, 71), "l2", "10.0.0.1"),
    ];
    assert_good(&events, vec![freed, held("c2", "l2", "10.0.0.1", 70)]);
}

#[test]
fn a_claim_without_an_answer_may_hold_and_may_not() {
    let events = [event(Verb::Claim(claim("c1", 1)), (1, 2), Outcome::Unknown)];
    assert_good(&events, vec![]);
    assert_good(&events, vec![held("c1", "l1", "10.0.0.1", 1)]);
}

#[test]
fn a_release_that_overtakes_its_claim_ends_what_it_holds_from_the_start() {
    let release = |span| event(Verb::Release(release("c1", 2)), span, Outcome::Done);
    let late = |outcome| event(Verb::Claim(claim("c1", 1)), (1, 9), outcome);
    let granted = Outcome::Granted(vec![grant("l1", "10.0.0.1")]);
    let life = until(held("c1", "l1", "10.0.0.1", 3), 4, "release");
    assert_good(&[late(granted), release((2, 5))], vec![life]);
    let refused = late(Outcome::Refused(Code::Superseded));
    assert_good(&[refused, release((2, 5))], vec![]);
}

#[test]
fn a_release_older_than_the_newest_claim_frees_nothing() {
    let older = event(Verb::Release(release("c1", 2)), (20, 21), Outcome::Done);
    let events = [claimed("c1", (10, 11), "l1", "10.0.0.1"), older];
    assert_good(&events, vec![held("c1", "l1", "10.0.0.1", 10)]);
}

#[test]
fn a_newer_boot_replaces_and_hands_the_same_address_on() {
    let mut again = claimed("c1", (10, 11), "l2", "10.0.0.1");
    if let Verb::Claim(claim) = &mut again.verb {
        claim.boot = Some(2);
    }
    let events = [claimed("c1", (1, 2), "l1", "10.0.0.1"), again];
    assert_good(
        &events,
        vec![
            until(held("c1", "l1", "10.0.0.1", 1), 10, "replaced"),
            held("c1", "l2", "10.0.0.1", 10),
        ],
    );
}

#[test]
fn a_gc_frees_what_was_claimed_before_and_is_not_listed() {
    let events = [
        claimed("c1", (1, 2), "l1", "10.0.0.1"),
        claimed("c2", (1, 2), "l2", "10.0.0.2"),
        collected((5, 6), &["c1"]),
    ];
    assert_good(
        &events,
        vec![
            held("c1", "l1", "10.0.0.1", 1),
            until(held("c2", "l2", "10.0.0.2", 1), 5, "gc"),
        ],
    );
}

#[test]
fn what_a_boot_held_that_is_over_may_be_reclaimed() {
    let mut next_boot = claimed("c2", (10, 11), "l2", "10.0.0.2");
    if let Verb::Claim(claim) = &mut next_boot.verb {
        claim.boot = Some(2);
    }
    let events = [claimed("c1", (1, 2), "l1", "10.0.0.1"), next_boot];
    assert_good(
        &events,
        vec![
            until(held("c1", "l1", "10.0.0.1", 1), 70, "reclaim"),
            held("c2", "l2", "10.0.0.2", 10),
        ],
    );
}

#[test]
fn a_release_of_a_boot_that_is_over_by_then_frees_nothing_of_another_one() {
    let mut late = released("c1", (20, 21));
    if let Verb::Release(release) = &mut late.verb {
        release.boot = Some(2);
    }
    let mut third_boot = claimed("c2", (10, 11), "l2", "10.0.0.2");
    if let Verb::Claim(claim) = &mut third_boot.verb {
        claim.boot = Some(3);
    }
    let events = [claimed("c1", (1, 2), "l1", "10.0.0.1"), third_boot, late];
    assert_good(
        &events,
        vec![
            held("c1", "l1", "10.0.0.1", 1),
            held("c2", "l2", "10.0.0.2", 10),
        ],
    );
}

#[test]
fn an_add_that_gave_up_takes_back_what_it_made_and_the_next_one_holds() {
    let gave_up = Release {
        claim_issued: Some(at(1)),
        ..release("c1", 3)
    };
    let events = [
        event(Verb::Claim(claim("c1", 1)), (1, 2), Outcome::Unknown),
        event(Verb::Release(gave_up), (3, 4), Outcome::Done),
        claimed("c1", (5, 6), "l2", "10.0.0.2"),
    ];
    assert_good(
        &events,
        vec![
            until(held("c1", "l1", "10.0.0.1", 2), 4, "release"),
            held("c1", "l2", "10.0.0.2", 5),
        ],
    );
}

#[test]
fn an_address_that_is_wanted_needs_no_rest() {
    let wanting = Claim {
        wanted: vec![ip("10.0.0.1")],
        ..claim("c2", 6)
    };
    let granted = Outcome::Granted(vec![grant("l2", "10.0.0.1")]);
    let events = [
        claimed("c1", (1, 2), "l1", "10.0.0.1"),
        released("c1", (5, 6)),
        event(Verb::Claim(wanting), (6, 7), granted),
    ];
    assert_good(
        &events,
        vec![
            until(held("c1", "l1", "10.0.0.1", 1), 6, "release"),
            held("c2", "l2", "10.0.0.1", 6),
        ],
    );
}

#[test]
fn what_a_poisoned_claim_suffers_is_its_own_affair() {
    let poisoned = Claim {
        poisoned: true,
        ..claim("c1", 1)
    };
    let failed = Outcome::Refused(Code::Internal);
    assert_good(&[event(Verb::Claim(poisoned), (1, 2), failed)], vec![]);
}
