//! The admin's part of a sequence.

use ipam_api::{PoolPatch, PoolState, Range};
use ipam_server::Error;

use super::driver::Driver;
use super::space::{POOLS, address};
use crate::store::support::*;

impl Driver {
    pub(super) async fn exclude(&mut self, pool: usize, addresses: &[bool]) {
        let count = POOLS[pool].2;
        let excluded = (0..count).filter(|number| addresses[*number]);
        let subnets = excluded.clone().map(|number| address(pool, number).into());
        let patch = PoolPatch {
            exclude: Some(subnets.collect()),
            ..PoolPatch::default()
        };
        let space = &mut self.model.spaces[pool];
        let exists = space.exists;
        space.exclude(excluded.collect());
        self.patch(pool, &patch, exists).await;
    }

    pub(super) async fn set_range(&mut self, pool: usize, range: Option<(usize, usize)>) {
        let last = POOLS[pool].2 - 1;
        let range = range.map(|(one, other)| (one.min(other).min(last), one.max(other).min(last)));
        let ranges = range.map(|(first, last)| {
            vec![Range {
                first: address(pool, first),
                last: address(pool, last),
            }]
        });
        let patch = PoolPatch {
            ranges: Some(ranges),
            ..PoolPatch::default()
        };
        let space = &mut self.model.spaces[pool];
        let exists = space.exists;
        if space.set_range(range) {
            self.patch(pool, &patch, exists).await;
        } else {
            let answer = self.store.change_pool(&self.pool(pool), &patch, None).await;
            assert_refused!(answer, Error::PoolInUse { .. });
        }
    }

    pub(super) async fn set_state(&mut self, pool: usize, state: PoolState) {
        let patch = PoolPatch {
            state: Some(state),
            ..PoolPatch::default()
        };
        let space = &mut self.model.spaces[pool];
        space.state = state;
        let exists = space.exists;
        self.patch(pool, &patch, exists).await;
    }

    async fn patch(&self, pool: usize, patch: &PoolPatch, exists: bool) {
        let name = self.pool(pool);
        let answer = self.store.change_pool(&name, patch, None).await;
        if !exists {
            assert_refused!(answer, Error::PoolNotFound(_));
            return;
        }
        let usage = answer
            .expect("a change that nothing is in the way of")
            .pool
            .usage;
        assert_eq!(usage, self.model.spaces[pool].usage());
    }

    pub(super) async fn delete(&mut self, pool: usize) {
        let answer = self.store.delete_pool(&self.pool(pool), None).await;
        let space = &mut self.model.spaces[pool];
        if !space.exists {
            assert_refused!(answer, Error::PoolNotFound(_));
        } else if space.holds_any() {
            assert_refused!(answer, Error::PoolInUse { .. });
        } else {
            answer.expect("it is empty");
            space.exists = false;
        }
    }

    pub(super) async fn create(&mut self, pool: usize) {
        if !self.model.spaces[pool].exists {
            create(&self.store, &self.new_pool(pool)).await;
            self.model.spaces[pool].recreate();
        }
    }
}
