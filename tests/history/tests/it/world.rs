//! A service that keeps every guarantee, as a few lines of arithmetic: it makes good histories out of dice.

use std::collections::BTreeMap;

use history::{Ending, Event, Life};

use crate::story::{claimed, collected, ending, held, released, until};

/// Seconds between two calls: long enough that an address has rested.
const STEP: u64 = 10;

/// A good history: what each die does to each of eight containers, one call after another.
pub(crate) fn history(dice: &[(u8, u8)]) -> (Vec<Event>, Ending) {
    let mut world = World::default();
    for (number, (die, container)) in (1u64..).zip(dice) {
        world.step(number * STEP, *die, &format!("c{}", container % 8));
    }
    let mut lives = world.past;
    lives.extend(world.held.into_values());
    (world.events, ending(lives))
}

#[derive(Default)]
struct World {
    events: Vec<Event>,
    held: BTreeMap<String, Life>,
    past: Vec<Life>,
}

impl World {
    fn step(&mut self, now: u64, die: u8, container: &str) {
        match die % 8 {
            0..=3 => self.claim(now, container),
            4..=6 => self.release(now, container),
            _ => self.collect(now, container),
        }
    }

    fn claim(&mut self, now: u64, container: &str) {
        if !self.held.contains_key(container) {
            let is_taken = |address: &String| {
                let address: std::net::IpAddr = address.parse().expect("an address");
                self.held.values().any(|life| life.address == address)
            };
            let addresses = (1..=10).map(|n| format!("10.0.0.{n}"));
            let free = addresses.into_iter().find(|address| !is_taken(address));
            let free = free.expect("more addresses than containers");
            let life = held(container, &format!("l{now}"), &free, now + 1);
            self.held.insert(container.to_owned(), life);
        }
        let life = &self.held[container];
        let (lease, address) = (life.lease.clone(), life.address.to_string());
        let span = (now, now + 2);
        self.events.push(claimed(container, span, &lease, &address));
    }

    fn release(&mut self, now: u64, container: &str) {
        self.events.push(released(container, (now, now + 2)));
        if let Some(life) = self.held.remove(container) {
            self.past.push(until(life, now + 1, "release"));
        }
    }

    /// All but one are valid.
    fn collect(&mut self, now: u64, garbage: &str) {
        let valid: Vec<&str> = (self.held.keys().map(String::as_str))
            .filter(|id| *id != garbage)
            .collect();
        self.events.push(collected((now, now + 2), &valid));
        if let Some(life) = self.held.remove(garbage) {
            self.past.push(until(life, now + 1, "gc"));
        }
    }
}
