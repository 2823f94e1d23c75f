//! The never-used space of a pool, as far as a transaction has it in memory.

use std::collections::BTreeMap;

use super::addr::Addr;

/// Never-used intervals: what was read of the database, and what became of it.
#[derive(Debug)]
pub(super) struct Fresh {
    /// By first address.
    pieces: BTreeMap<Addr, Piece>,
    /// Up to here, exclusively, all there is is in memory; none when all is.
    pub(super) read_to: Option<Addr>,
}

#[derive(Clone, Copy, Debug)]
struct Piece {
    last: Addr,
    /// Whether the database has it as it is.
    stored: bool,
}

/// The lowest never-used address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lowest {
    Is(Addr),
    /// There may be one in what was not read yet, from here on.
    UnreadFrom(Addr),
    None,
}

impl Fresh {
    /// Nothing is read yet, and nothing is below `from`.
    pub(super) fn from(from: Addr) -> Self {
        Self {
            pieces: BTreeMap::new(),
            read_to: Some(from),
        }
    }

    pub(super) fn lowest(&self) -> Lowest {
        match (self.pieces.keys().next(), self.read_to) {
            (Some(first), unread) if unread.is_none_or(|unread| *first < unread) => {
                Lowest::Is(*first)
            }
            (_, Some(unread)) => Lowest::UnreadFrom(unread),
            (_, None) => Lowest::None,
        }
    }

    /// Below it is nothing; none when there is nothing at all.
    pub(super) fn lower_bound(&self) -> Option<Addr> {
        let lowest = self.pieces.keys().next().copied();
        lowest.into_iter().chain(self.read_to).min()
    }

    pub(super) fn contains(&self, address: Addr) -> bool {
        let around = self.pieces.range(..=address).next_back();
        around.is_some_and(|(_, piece)| piece.last >= address)
    }

    /// Notes an interval that the database has, unless it is here already.
    pub(super) fn learn(&mut self, first: Addr, last: Addr) {
        let piece = Piece { last, stored: true };
        self.pieces.entry(first).or_insert(piece);
    }

    /// Takes an address out of the interval around it. Answers that interval when the database has it: it is no more.
    pub(super) fn take_out(&mut self, address: Addr) -> Option<(Addr, Addr)> {
        let (&first, &piece) = self.pieces.range(..=address).next_back()?;
        self.pieces.remove(&first);
        if first < address {
            self.add(first, address.previous());
        }
        if address < piece.last {
            self.add(address.next(), piece.last);
        }
        piece.stored.then_some((first, piece.last))
    }

    /// Adds an interval, joined with the one behind it when the database does not have that one either.
    pub(super) fn add(&mut self, first: Addr, last: Addr) {
        let behind = last.next();
        let joinable = self.pieces.get(&behind).filter(|piece| !piece.stored);
        let joined = joinable.map_or(last, |piece| piece.last);
        if joined != last {
            self.pieces.remove(&behind);
        }
        let piece = Piece {
            last: joined,
            stored: false,
        };
        self.pieces.insert(first, piece);
    }

    /// What the database does not have yet: first and last addresses.
    pub(super) fn unstored(&self) -> impl Iterator<Item = (Addr, Addr)> {
        let pieces = self.pieces.iter().filter(|(_, piece)| !piece.stored);
        pieces.map(|(first, piece)| (*first, piece.last))
    }
}
