//! Good histories pass whatever the dice say, and none survives a change that a broken service would make.

use history::{Ending, Event, Outcome, check};
use proptest::prelude::*;
use proptest::sample::Index;

use crate::story::{SIZE, ip};
use crate::world::history;

/// Long enough that something is held at the end, which the first claim sees to.
fn dice() -> impl Strategy<Value = Vec<(u8, u8)>> {
    prop::collection::vec(any::<(u8, u8)>(), 1..60).prop_map(|mut dice| {
        dice.push((0, 3));
        dice.push((0, 5));
        dice
    })
}

fn pick<'a, T>(items: impl Iterator<Item = &'a mut T>, which: Index) -> Option<&'a mut T> {
    let mut items: Vec<_> = items.collect();
    let chosen = (!items.is_empty()).then(|| which.index(items.len()))?;
    Some(items.swap_remove(chosen))
}

fn granted(events: &mut [Event], which: Index) -> &mut history::Grant {
    let grants = events
        .iter_mut()
        .filter_map(|event| match &mut event.outcome {
            Outcome::Granted(grants) => grants.first_mut(),
            _ => None,
        });
    pick(grants, which).expect("something was claimed")
}

fn held(ending: &mut Ending, which: Index) -> &mut history::Life {
    let lives = ending.lives.iter_mut();
    pick(lives.filter(|life| life.released.is_none()), which).expect("something is held")
}

fn is_refused(events: &[Event], ending: &Ending) -> bool {
    !check(events, ending).is_empty()
}

proptest! {
    #[test]
    fn a_service_that_keeps_its_promises_passes(dice in dice()) {
        let (events, ending) = history(&dice);
        prop_assert_eq!(check(&events, &ending), []);
    }

    #[test]
    fn an_answer_with_another_address_is_refused(dice in dice(), which: Index) {
        let (mut events, ending) = history(&dice);
        granted(&mut events, which).address = ip("10.0.0.99");
        prop_assert!(is_refused(&events, &ending));
    }

    #[test]
    fn an_answer_with_another_lease_is_refused(dice in dice(), which: Index) {
        let (mut events, ending) = history(&dice);
        granted(&mut events, which).lease = Some("of another service".to_owned());
        prop_assert!(is_refused(&events, &ending));
    }

    #[test]
    fn a_lost_lease_is_refused_though_the_accounts_agree(dice in dice(), which: Index) {
        let (events, mut ending) = history(&dice);
        let lease = held(&mut ending, which).lease.clone();
        ending.lives.retain(|life| life.lease != lease);
        ending.pools[0].usage.leased -= 1;
        ending.pools[0].usage.free += 1;
        prop_assert!(is_refused(&events, &ending));
    }

    #[test]
    fn a_lease_that_is_freed_by_itself_is_refused(dice in dice(), which: Index) {
        let (mut events, mut ending) = history(&dice);
        let life = held(&mut ending, which);
        life.released = Some((life.created + std::time::Duration::from_secs(1), "release".to_owned()));
        let key = life.attachment.clone();
        ending.pools[0].usage.leased -= 1;
        ending.pools[0].usage.free += 1;
        // Of a release that came before its last claim it is no work.
        let last = events.iter().rposition(|event| {
            matches!(&event.verb, history::Verb::Claim(claim) if claim.attachment == key)
        });
        events.truncate(last.expect("it was claimed") + 1);
        prop_assert!(is_refused(&events, &ending));
    }

    #[test]
    fn a_lease_that_comes_back_is_refused(dice in dice(), which: Index) {
        let (events, mut ending) = history(&dice);
        let past = ending.lives.iter_mut().filter(|life| life.released.is_some());
        let Some(life) = pick(past, which) else { return Ok(()) };
        life.released = None;
        ending.pools[0].usage.leased += 1;
        ending.pools[0].usage.free -= 1;
        prop_assert!(is_refused(&events, &ending));
    }

    #[test]
    fn two_holders_of_one_address_are_refused(dice in dice(), which: Index) {
        let (events, mut ending) = history(&dice);
        let address = held(&mut ending, which).address;
        let other = ending.lives.iter_mut().find(|life| life.released.is_none() && life.address != address);
        let Some(other) = other else { return Ok(()) };
        other.address = address;
        prop_assert!(is_refused(&events, &ending));
    }

    #[test]
    fn accounts_that_lose_an_address_are_refused(dice in dice(), size in 0..SIZE) {
        let (events, mut ending) = history(&dice);
        prop_assume!(ending.pools[0].usage.free != size);
        ending.pools[0].usage.free = size;
        prop_assert!(is_refused(&events, &ending));
    }
}
