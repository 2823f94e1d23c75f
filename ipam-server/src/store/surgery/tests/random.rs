//! Random changes, leases and releases against a plain model.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use proptest::prelude::*;
use serde_json::json;

use super::*;

/// What is done; numbers are offsets in 10.0.0.0/26.
#[derive(Clone, Debug)]
enum Step {
    Exclude(Vec<(u8, u8)>),
    Ranges(Option<(u8, u8)>),
    Lease,
    Want(u8),
    Release(u8),
    Tidy,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let network = (0u8..64, 28u8..=32);
    let step = prop_oneof![
        2 => proptest::collection::vec(network, 0..5).prop_map(Step::Exclude),
        1 => proptest::option::of((1u8..32, 32u8..63)).prop_map(Step::Ranges),
        4 => Just(Step::Lease),
        3 => (0u8..64).prop_map(Step::Want),
        4 => (0u8..64).prop_map(Step::Release),
        1 => Just(Step::Tidy),
    ];
    proptest::collection::vec(step, 1..40)
}

fn address(offset: u8) -> String {
    Ipv4Addr::new(10, 0, 0, offset).to_string()
}

#[derive(Default)]
struct Model {
    exclude: BTreeSet<u8>,
    ranges: Option<(u8, u8)>,
    leased: BTreeSet<u8>,
    resting: BTreeSet<u8>,
}

/// Without ranges the gateway, .1, is out.
fn inside(ranges: Option<(u8, u8)>) -> BTreeSet<u8> {
    let (first, last) = ranges.unwrap_or((2, 62));
    (first..=last).collect()
}

impl Model {
    fn leasable(&self) -> BTreeSet<u8> {
        let mut leasable = &inside(self.ranges) - &self.exclude;
        leasable.remove(&1);
        leasable
    }

    fn free(&self) -> BTreeSet<u8> {
        &(&self.leasable() - &self.leased) - &self.resting
    }

    /// (free, leased, cooling, reserved)
    fn parts(&self) -> (u64, u64, u64, u64) {
        let reserved = &inside(self.ranges) - &self.leasable();
        let resting = &self.leasable() & &self.resting;
        let count = |set: &BTreeSet<u8>| set.len() as u64;
        (
            count(&self.free()),
            count(&self.leased),
            count(&resting),
            count(&(&reserved - &self.leased)),
        )
    }

    async fn step(&mut self, store: &Store, step: Step) {
        match step {
            Step::Exclude(networks) => self.set_exclude(store, &networks).await,
            Step::Ranges(ranges) => self.set_ranges(store, ranges).await,
            Step::Lease => self.lease_any(store).await,
            Step::Want(offset) => self.lease(store, offset).await,
            Step::Release(from) => {
                let held = self.leased.range(from..).next().copied();
                if let Some(offset) = held {
                    let_go(store, &[&address(offset)]).await;
                    self.leased.remove(&offset);
                    self.resting.insert(offset);
                }
            }
            Step::Tidy => {
                store.tidy(WEEK).await.expect("tidied");
            }
        }
    }

    async fn set_exclude(&mut self, store: &Store, networks: &[(u8, u8)]) {
        let sizes = networks.iter().map(|(offset, prefix)| {
            let size = 1u8 << (32 - prefix);
            (offset / size * size, size, prefix)
        });
        let exclude: Vec<_> = sizes
            .clone()
            .map(|(first, _, prefix)| format!("{}/{prefix}", address(first)))
            .collect();
        let patch = patch(json!({ "exclude": exclude }));
        store.change_pool("p", &patch, None).await.expect("changed");
        self.exclude = sizes
            .flat_map(|(first, size, _)| first..first + size)
            .collect();
    }

    async fn set_ranges(&mut self, store: &Store, ranges: Option<(u8, u8)>) {
        let value =
            ranges.map(|(first, last)| json!([{ "first": address(first), "last": address(last) }]));
        let patch = patch(json!({ "ranges": value }));
        let gone = &inside(self.ranges) - &inside(ranges);
        let in_the_way = (&gone & &self.leased).len() as u64;
        match store.change_pool("p", &patch, None).await {
            Ok(_) => {
                assert_eq!(in_the_way, 0);
                self.ranges = ranges;
            }
            Err(Error::PoolInUse { total, .. }) => assert_eq!(total, in_the_way),
            Err(other) => panic!("{other}"),
        }
    }

    /// A claim of any address, which is released at once.
    async fn lease_any(&mut self, store: &Store) {
        match lease(store, &[("any", None)]).await.remove(0) {
            Ok(got) => {
                let got: Ipv4Addr = got.parse().expect("an address");
                assert!(self.free().contains(&got.octets()[3]), "{got}");
                let_go(store, &["any"]).await;
                self.resting.insert(got.octets()[3]);
            }
            Err(Error::PoolExhausted { .. }) => assert_eq!(self.free(), BTreeSet::new()),
            Err(other) => panic!("{other}"),
        }
    }

    async fn lease(&mut self, store: &Store, offset: u8) {
        let name = address(offset);
        if self.leased.contains(&offset) {
            let refused = lease(store, &[("c", Some(&name))]).await.remove(0);
            assert!(refused.is_err(), "{refused:?}");
            return;
        }
        let answer = lease(store, &[(&name, Some(&name))]).await.remove(0);
        if self.leasable().contains(&offset) {
            assert_eq!(answer.expect("leased"), name);
            self.leased.insert(offset);
            self.resting.remove(&offset);
        } else {
            assert!(matches!(answer, Err(Error::Invalid(_))), "{answer:?}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, ..ProptestConfig::default() })]
    #[test]
    fn whatever_is_changed_leased_and_released_the_parts_are_the_models(steps in steps()) {
        on_both(async |store: Store| {
            create(&store, json!({ "name": "p", "subnet": "10.0.0.0/26", "reuse_delay_s": 3600 })).await;
            let mut model = Model::default();
            for step in steps.clone() {
                let what = format!("{step:?}");
                model.step(&store, step).await;
                assert_eq!(parts(&store).await, model.parts(), "{what}");
                assert_eq!(store.audit().await.expect("audited"), [""; 0], "{what}");
            }
        });
    }
}
