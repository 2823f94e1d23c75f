//! The operations that a sequence is made of.

use ipam_api::PoolState;
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

use super::space::POOLS;

/// How many containers take part.
pub(super) const CONTAINERS: usize = 5;

/// When a verb was issued.
#[derive(Clone, Copy, Debug)]
pub(super) enum When {
    /// It does not say.
    Unordered,
    /// Just now.
    Now,
    /// Before the last few operations, which have overtaken it.
    Late(u8),
    /// In the boot before this one.
    BootBefore,
}

/// One operation. Pools and containers are numbers; addresses are numbers within their pool.
#[derive(Clone, Debug)]
pub(super) enum Op {
    Claim {
        container: usize,
        entries: Vec<Vec<usize>>,
        wanted: Option<(usize, usize)>,
        when: When,
    },
    Release {
        container: usize,
        when: When,
    },
    /// The release of an ADD that gives up.
    GiveUp {
        container: usize,
    },
    Collect {
        valid: Vec<bool>,
        when: When,
    },
    ReleaseLease {
        pick: usize,
    },
    Exclude {
        pool: usize,
        addresses: Vec<bool>,
    },
    SetRange {
        pool: usize,
        range: Option<(usize, usize)>,
    },
    SetState {
        pool: usize,
        state: PoolState,
    },
    Delete {
        pool: usize,
    },
    Create {
        pool: usize,
    },
    Reboot,
}

pub(super) fn sequences() -> impl Strategy<Value = Vec<Op>> {
    vec(op(), 1..60)
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        12 => claim(),
        8 => (0..CONTAINERS, when()).prop_map(|(container, when)| Op::Release { container, when }),
        2 => (0..CONTAINERS).prop_map(|container| Op::GiveUp { container }),
        2 => (vec(any::<bool>(), CONTAINERS), when())
            .prop_map(|(valid, when)| Op::Collect { valid, when }),
        2 => any::<usize>().prop_map(|pick| Op::ReleaseLease { pick }),
        3 => (pool(), vec(prop::bool::weighted(0.2), 8))
            .prop_map(|(pool, addresses)| Op::Exclude { pool, addresses }),
        2 => (pool(), option::weighted(0.7, (0..8_usize, 0..8_usize)))
            .prop_map(|(pool, range)| Op::SetRange { pool, range }),
        2 => (pool(), state()).prop_map(|(pool, state)| Op::SetState { pool, state }),
        1 => pool().prop_map(|pool| Op::Delete { pool }),
        2 => pool().prop_map(|pool| Op::Create { pool }),
        1 => Just(Op::Reboot),
    ]
}

fn claim() -> impl Strategy<Value = Op> {
    let entries = vec(vec(pool(), 1..3), 1..4);
    let wanted = option::weighted(0.3, (pool(), 0..8_usize));
    (0..CONTAINERS, entries, wanted, when()).prop_map(|(container, entries, wanted, when)| {
        Op::Claim {
            container,
            entries,
            wanted,
            when,
        }
    })
}

fn when() -> impl Strategy<Value = When> {
    prop_oneof![
        2 => Just(When::Unordered),
        6 => Just(When::Now),
        3 => (1..6_u8).prop_map(When::Late),
        1 => Just(When::BootBefore),
    ]
}

fn pool() -> impl Strategy<Value = usize> {
    0..POOLS.len()
}

fn state() -> impl Strategy<Value = PoolState> {
    prop_oneof![
        3 => Just(PoolState::Ready),
        1 => Just(PoolState::Draining),
        1 => Just(PoolState::Disabled),
    ]
}
