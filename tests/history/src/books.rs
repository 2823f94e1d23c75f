//! Whether every pool's accounts add up, and agree with the leases.

use std::collections::HashMap;

use crate::ending::{Ending, Pool};
use crate::violation::{Rule, Violation};

pub(crate) fn check(ending: &Ending) -> Vec<Violation> {
    let mut held: HashMap<&str, u64> = HashMap::new();
    for life in ending.lives.iter().filter(|life| life.released.is_none()) {
        *held.entry(life.pool.as_str()).or_default() += 1;
    }
    let count = |pool: &Pool| held.get(pool.name.as_str()).copied().unwrap_or_default();
    (ending.pools.iter())
        .filter_map(|pool| add_up(pool, count(pool)))
        .collect()
}

fn add_up(pool: &Pool, held: u64) -> Option<Violation> {
    let usage = &pool.usage;
    let sum = usage.free + usage.leased + usage.cooling + usage.quarantined + usage.reserved;
    let fits = sum == pool.size
        && usage.size == pool.size
        && usage.leased + usage.quarantined == held
        && usage.reserved == pool.reserved;
    let story = || {
        format!(
            "pool {} has {} addresses, {} of them reserved, and {held} leases, but says {usage:?}",
            pool.name, pool.size, pool.reserved
        )
    };
    (!fits).then(|| Violation::new(Rule::BooksWrong, story()))
}
