//! Each kind of violation is refused by its name, and the story names who is involved.

use history::{Claim, Event, Outcome, Release, Rule, Verb};
use ipam_api::Code;

use crate::story::*;

fn c1() -> Event {
    claimed("c1", (1, 2), "l1", "10.0.0.1")
}

fn l1() -> history::Life {
    held("c1", "l1", "10.0.0.1", 1)
}

#[test]
fn an_address_that_two_were_told_of_at_once() {
    let events = [c1(), claimed("c2", (3, 4), "l2", "10.0.0.1")];
    let lives = vec![l1(), held("c2", "l2", "10.0.0.1", 3)];
    let words = ["10.0.0.1", "n1/net/c1", "n1/net/c2"];
    assert_refused(&events, &ending(lives.clone()), Rule::HeldTwice, &words);
    assert_refused(&events, &ending(lives), Rule::LivesOverlap, &words);
}

#[test]
fn an_address_that_two_were_told_of_in_turn_before_the_first_gave_it_back() {
    let events = [
        c1(),
        claimed("c2", (3, 4), "l2", "10.0.0.1"),
        released("c1", (5, 6)),
        released("c2", (5, 6)),
    ];
    assert_refused(&events, &ending(vec![]), Rule::HeldTwice, &["10.0.0.1"]);
}

#[test]
fn a_plugins_address_that_another_was_told_of_too() {
    let mut plugin = c1();
    plugin.outcome = Outcome::Granted(vec![history::Grant {
        lease: None,
        pool: None,
        ..grant("", "10.0.0.1")
    }]);
    let events = [plugin, claimed("c2", (3, 4), "l2", "10.0.0.1")];
    let lives = vec![held("c2", "l2", "10.0.0.1", 3)];
    assert_refused(
        &events,
        &ending(lives.clone()),
        Rule::HeldTwice,
        &["c1", "c2"],
    );
    assert_refused(&events, &ending(lives), Rule::Lost, &["c1"]);
}

#[test]
fn lives_that_overlap_though_no_client_saw_it() {
    let lives = vec![
        until(l1(), 9, "release"),
        until(held("c2", "l2", "10.0.0.1", 8), 10, "release"),
    ];
    assert_refused(&[], &ending(lives), Rule::LivesOverlap, &["l1", "l2"]);
}

#[test]
fn a_lease_that_is_gone_without_a_trace() {
    assert_refused(&[c1()], &ending(vec![]), Rule::Lost, &["l1", "c1"]);
}

#[test]
fn a_lease_of_another_service() {
    let other = held("c1", "of-ours", "10.0.0.1", 1);
    assert_refused(&[c1()], &ending(vec![other]), Rule::Lost, &["l1"]);
}

#[test]
fn a_lease_that_was_freed_by_nobody() {
    let lives = vec![until(l1(), 5, "release")];
    assert_refused(&[c1()], &ending(lives), Rule::FreedWithoutCause, &["c1"]);
}

#[test]
fn a_lease_that_was_forgotten_with_a_node_that_nobody_forgot() {
    let lives = vec![until(l1(), 5, "forgotten")];
    let mut ending = ending(lives);
    let other = ("default".to_owned(), "another".to_owned());
    ending.forgotten.insert(other);
    assert_refused(&[c1()], &ending, Rule::FreedWithoutCause, &["c1"]);
}

#[test]
fn a_lease_of_the_present_boot_that_is_reclaimed() {
    let lives = || vec![until(l1(), 5, "reclaim"), held("c2", "l2", "10.0.0.2", 1)];
    let mut other = claimed("c2", (1, 2), "l2", "10.0.0.2");
    let words = ["reclaim", "c1"];
    let events = [c1(), other.clone()];
    assert_refused(&events, &ending(lives()), Rule::FreedWithoutCause, &words);
    // It was claimed again in the next boot.
    let mut again = claimed("c1", (3, 4), "l1", "10.0.0.1");
    for event in [&mut other, &mut again] {
        if let Verb::Claim(claim) = &mut event.verb {
            claim.boot = Some(2);
        }
    }
    let events = [c1(), other, again];
    assert_refused(&events, &ending(lives()), Rule::FreedWithoutCause, &words);
}

#[test]
fn a_lease_that_a_gc_freed_in_spite_of_its_list() {
    let events = [c1(), collected((5, 6), &["c1"])];
    let lives = vec![until(l1(), 5, "gc")];
    assert_refused(&events, &ending(lives), Rule::FreedWithoutCause, &["gc"]);
}

#[test]
fn a_lease_that_was_claimed_after_the_gc_was_issued_that_freed_it() {
    let mut gc = collected((3, 9), &[]);
    let events = |gc| [claimed("c1", (5, 6), "l1", "10.0.0.1"), gc];
    let lives = || vec![until(held("c1", "l1", "10.0.0.1", 5), 7, "gc")];
    assert_refused(
        &events(gc.clone()),
        &ending(lives()),
        Rule::FreedWithoutCause,
        &["c1"],
    );
    // The same GC of another node.
    if let Verb::Collect(collect) = &mut gc.verb {
        collect.issued = Some(at(7));
        collect.node = "n2".to_owned();
    }
    assert_refused(
        &events(gc),
        &ending(lives()),
        Rule::FreedWithoutCause,
        &["c1"],
    );
}

#[test]
fn a_lease_that_an_older_release_freed() {
    let older = event(Verb::Release(release("c1", 2)), (20, 21), Outcome::Done);
    let events = [claimed("c1", (10, 11), "l1", "10.0.0.1"), older];
    let lives = vec![until(held("c1", "l1", "10.0.0.1", 10), 20, "release")];
    assert_refused(&events, &ending(lives), Rule::FreedWithoutCause, &["l1"]);
}

#[test]
fn a_lease_that_a_record_of_an_earlier_boot_freed() {
    let mut record = released("c1", (20, 21));
    if let Verb::Release(release) = &mut record.verb {
        release.boot = Some(0);
        release.issued = Some(at(900));
    }
    let events = [c1(), record];
    let lives = vec![until(l1(), 20, "release")];
    assert_refused(&events, &ending(lives), Rule::FreedWithoutCause, &["l1"]);
}

#[test]
fn a_lease_that_nobody_claimed() {
    let lives = vec![l1(), held("ghost", "l2", "10.0.0.2", 1)];
    assert_refused(&[c1()], &ending(lives), Rule::HeldWithoutCause, &["ghost"]);
    // A claim that was refused is none.
    let refused = Event {
        outcome: Outcome::Refused(Code::PoolExhausted),
        ..c1()
    };
    assert_refused(
        &[refused],
        &ending(vec![l1()]),
        Rule::HeldWithoutCause,
        &["c1"],
    );
}

#[test]
fn half_of_a_claim() {
    let both = Claim {
        entries: vec![vec!["a".to_owned()], vec!["a".to_owned()]],
        ..claim("c1", 1)
    };
    let events = [event(Verb::Claim(both), (1, 2), Outcome::Unknown)];
    assert_refused(&events, &ending(vec![l1()]), Rule::HeldInPart, &["c1"]);
}

#[test]
fn a_release_that_did_not_stick() {
    let events = [c1(), released("c1", (5, 6))];
    let words = ["l1", "claims", "releases"];
    assert_refused(&events, &ending(vec![l1()]), Rule::ReleaseUndone, &words);
    // Nor does it matter that the claim came without an answer, or late.
    let unknown = Event {
        outcome: Outcome::Unknown,
        ..c1()
    };
    let events = [unknown.clone(), released("c1", (5, 6))];
    assert_refused(&events, &ending(vec![l1()]), Rule::ReleaseUndone, &words);
    let gave_up = Release {
        claim_issued: Some(at(1)),
        ..release("c1", 3)
    };
    let events = [
        unknown,
        event(Verb::Release(gave_up), (3, 4), Outcome::Done),
    ];
    assert_refused(&events, &ending(vec![l1()]), Rule::ReleaseUndone, &words);
}

#[test]
fn garbage_that_a_gc_left() {
    let events = [c1(), collected((5, 6), &[])];
    assert_refused(
        &events,
        &ending(vec![l1()]),
        Rule::ReleaseUndone,
        &["collects"],
    );
}

#[test]
fn another_answer_to_the_same_attachment() {
    let events = [c1(), claimed("c1", (3, 4), "l2", "10.0.0.2")];
    let lives = vec![l1(), held("c1", "l2", "10.0.0.2", 3)];
    assert_refused(&events, &ending(lives), Rule::AnswerDiffers, &["l1", "l2"]);
    for code in [Code::AttachmentDiffers, Code::PoolExhausted] {
        let refused = event(Verb::Claim(claim("c1", 3)), (3, 4), Outcome::Refused(code));
        let events = [c1(), refused];
        assert_refused(&events, &ending(vec![l1()]), Rule::AnswerDiffers, &["l1"]);
    }
}

#[test]
fn an_answer_that_does_not_fit() {
    let wanting = Claim {
        wanted: vec![ip("10.0.0.7")],
        ..claim("c1", 1)
    };
    let foreign = Claim {
        entries: vec![vec!["b".to_owned()]],
        ..claim("c1", 1)
    };
    let two = Claim {
        entries: vec![vec!["a".to_owned()], vec!["a".to_owned()]],
        ..claim("c1", 1)
    };
    for claim in [wanting, foreign, two] {
        let granted = Outcome::Granted(vec![grant("l1", "10.0.0.1")]);
        let events = [event(Verb::Claim(claim), (1, 2), granted)];
        assert_refused(&events, &ending(vec![l1()]), Rule::AnswerUnfit, &["c1"]);
    }
}

#[test]
fn a_claim_that_was_served_after_its_release() {
    let late = event(
        Verb::Claim(claim("c1", 1)),
        (7, 8),
        Outcome::Granted(vec![grant("l1", "10.0.0.1")]),
    );
    let events = [released("c1", (5, 6)), late];
    let lives = vec![held("c1", "l1", "10.0.0.1", 7)];
    assert_refused(
        &events,
        &ending(lives),
        Rule::LateClaimServed,
        &["claims", "releases"],
    );
}

#[test]
fn a_claim_that_was_begun_after_its_deadline() {
    let second = std::time::Duration::from_secs(1);
    let overdue = Claim {
        overdue: Some((second, second * 9)),
        ..claim("c1", 1)
    };
    let granted = Outcome::Granted(vec![grant("l1", "10.0.0.1")]);
    let events = [event(Verb::Claim(overdue), (1, 10), granted)];
    assert_refused(
        &events,
        &ending(vec![l1()]),
        Rule::OverdueClaimServed,
        &["9s"],
    );
}

#[test]
fn a_neighbour_that_fails_with_a_poisoned_claim() {
    let failed = event(
        Verb::Claim(claim("c1", 1)),
        (1, 2),
        Outcome::Refused(Code::Internal),
    );
    assert_refused(&[failed], &ending(vec![]), Rule::FailedInside, &["c1"]);
}

#[test]
fn two_machines_with_one_name() {
    let mut other = claimed("c2", (3, 4), "l2", "10.0.0.2");
    if let Verb::Claim(claim) = &mut other.verb {
        claim.machine = Some("m2".to_owned());
    }
    let lives = || vec![l1(), held("c2", "l2", "10.0.0.2", 3)];
    let events = [c1(), other.clone()];
    assert_refused(&events, &ending(lives()), Rule::TwoMachines, &["m1", "m2"]);
    // A boot that comes back.
    if let Verb::Claim(claim) = &mut other.verb {
        claim.machine = Some("m1".to_owned());
        claim.boot = Some(0);
    }
    assert_refused(
        &[c1(), other],
        &ending(lives()),
        Rule::TwoMachines,
        &["earlier boot"],
    );
}

#[test]
fn accounts_that_do_not_add_up() {
    let spoils: [fn(&mut ipam_api::Usage); 4] = [
        |usage| usage.free -= 1,
        |usage| usage.size += 1,
        |usage| (usage.leased, usage.free) = (usage.leased - 1, usage.free + 1),
        |usage| (usage.reserved, usage.free) = (usage.reserved + 1, usage.free - 1),
    ];
    for spoil in spoils {
        let mut ending = ending(vec![l1()]);
        spoil(&mut ending.pools[0].usage);
        assert_refused(&[c1()], &ending, Rule::BooksWrong, &["pool a"]);
    }
}

#[test]
fn an_address_that_did_not_rest() {
    let events = [
        c1(),
        released("c1", (5, 6)),
        claimed("c2", (6, 7), "l2", "10.0.0.1"),
    ];
    let lives = |again| {
        vec![
            until(l1(), 6, "release"),
            held("c2", "l2", "10.0.0.1", again),
        ]
    };
    assert_refused(&events, &ending(lives(6)), Rule::ReusedEarly, &["l1", "l2"]);
    // Whatever the database's clock says meanwhile, the clients' goes on.
    let mut events = events;
    events[1] = released("c1", (7, 8));
    events[2] = claimed("c2", (6, 7), "l2", "10.0.0.1");
    let mut moved = ending(lives(600));
    moved.clock_moved = true;
    assert_refused(&events, &moved, Rule::ReusedEarly, &["l1", "l2"]);
}
