//! What of a pool rests.

use std::time::Duration;

use super::clock::Times;
use super::rows::PoolRow;
use super::statements::{Answer, Statements};

/// How many addresses rest, and for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Resting {
    pub(super) count: i64,
    /// Until the first of them has rested.
    pub(super) next_free_in: Option<Duration>,
}

impl Resting {
    pub(super) async fn read<T: Statements>(
        tx: &mut T,
        pool: &PoolRow,
        times: Times,
    ) -> Answer<Self> {
        let next_free_at = tx.next_free_at(pool.id, times.rest).await?;
        // A step ahead of the clock holds `rest` back, but for no longer than addresses rest.
        let longest = (times.rest < times.clock).then(|| pool.reuse_delay());
        let longest = longest.unwrap_or(Duration::MAX);
        Ok(Self {
            count: tx.cooling(pool.id, times.rest).await?,
            next_free_in: next_free_at.map(|at| at.since(times.rest).min(longest)),
        })
    }
}
