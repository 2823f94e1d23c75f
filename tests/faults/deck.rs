//! Faults as a deck of cards: chance says in which order they come, and none stays away.

use std::cell::RefCell;

use crate::dice::Dice;

pub(crate) struct Deck<T> {
    cards: Vec<T>,
    left: RefCell<Vec<T>>,
}

impl<T: Copy> Deck<T> {
    /// Each kind with how many cards of it there are; `once` come the first time through only.
    pub(crate) fn new(kinds: &[(T, usize)], once: &[T]) -> Self {
        let cards = kinds.iter().flat_map(|(kind, count)| vec![*kind; *count]);
        let cards: Vec<_> = cards.collect();
        let left = cards.iter().chain(once).copied().collect();
        Self {
            left: RefCell::new(left),
            cards,
        }
    }

    /// One of those that are left; all come again when none is.
    pub(crate) fn draw(&self, dice: &mut Dice) -> T {
        let mut left = self.left.borrow_mut();
        let index = dice.below(left.len());
        let card = left.swap_remove(index);
        if left.is_empty() {
            left.clone_from(&self.cards);
        }
        card
    }
}
