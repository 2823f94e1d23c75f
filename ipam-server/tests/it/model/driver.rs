//! Carries operations out on the store and in the model, and compares.

use std::collections::BTreeMap;

use ipam_api::{Attachment, Claim, GcRequest, NewPool, ValidAttachment};
use ipam_server::Error;
use ipam_server::store::{Granted, LeaseFilter, Store};

use super::ops::{CONTAINERS, Op, When};
use super::space::{POOLS, address, number};
use super::verbs::{Expected, Held, Model, Stamp};
use crate::store::support::*;

/// One sequence on its way: its names are its own, so that many share a database.
pub(super) struct Driver {
    pub(super) store: Store,
    case: usize,
    reuse_delay_s: u32,
    pub(super) model: Model,
    boot: usize,
    /// Operations since the boot.
    ticks: i64,
}

impl Driver {
    pub(super) async fn start(store: Store, case: usize, reuse_delay_s: u32) -> Self {
        let driver = Self {
            model: Model::new(POOLS.len(), reuse_delay_s > 0),
            store,
            case,
            reuse_delay_s,
            boot: 1,
            ticks: 0,
        };
        let fresh = driver.store.create_vrf(&driver.vrf()).await;
        assert!(fresh.expect("a vrf"));
        for pool in 0..POOLS.len() {
            create(&driver.store, &driver.new_pool(pool)).await;
        }
        driver
    }

    fn vrf(&self) -> String {
        format!("v{}", self.case)
    }

    pub(super) fn pool(&self, pool: usize) -> String {
        format!("p{}-{pool}", self.case)
    }

    fn pool_number(&self, name: &str) -> usize {
        let pools = 0..POOLS.len();
        let found = pools.clone().find(|pool| self.pool(*pool) == name);
        found.expect("a pool of this sequence")
    }

    pub(super) fn new_pool(&self, pool: usize) -> NewPool {
        NewPool {
            vrf: Some(self.vrf()),
            reuse_delay_s: Some(self.reuse_delay_s),
            ..without_gateway(&self.pool(pool), POOLS[pool].0)
        }
    }

    fn key(&self, container: usize) -> Attachment {
        Attachment {
            node: format!("node-{}", self.case),
            ..key(&format!("c{container}"))
        }
    }

    /// No two verbs of a boot have one moment.
    fn stamp(&self, when: When) -> Stamp {
        let now = 1_000 * self.ticks;
        let issued = match when {
            When::Unordered => {
                return Stamp {
                    boot: None,
                    issued: None,
                };
            }
            When::Late(ticks) => now - 1_000 * i64::from(ticks) - 500 + self.ticks,
            When::Now | When::BootBefore => now,
        };
        let before = matches!(when, When::BootBefore);
        Stamp {
            boot: Some(self.boot - usize::from(before)),
            issued: Some(issued),
        }
    }

    fn boot_id(&self, stamp: Stamp) -> Option<String> {
        stamp.boot.map(|boot| format!("boot-{}-{boot}", self.case))
    }

    /// Whether the server knows that the node has left the boot before this one.
    fn has_left(&self) -> bool {
        let seen = |boot| self.model.seen_boots.contains(&boot);
        seen(self.boot) && seen(self.boot - 1)
    }

    pub(super) async fn step(&mut self, op: &Op) {
        self.ticks += 1;
        self.model.operation += 1;
        match op {
            Op::Claim {
                container,
                entries,
                wanted,
                when,
            } => {
                // An address that the pool does not have is not the model's matter.
                let wanted = wanted.filter(|(pool, number)| *number < POOLS[*pool].2);
                self.claim(*container, entries, wanted, *when).await;
            }
            Op::Release { container, when } => self.release(*container, *when, None).await,
            Op::GiveUp { container } => {
                if let Some(claim) = self.model.attached[*container].last_claim {
                    self.release(*container, When::Now, Some(claim)).await;
                }
            }
            Op::Collect { valid, when } => self.collect(valid, *when).await,
            Op::ReleaseLease { pick } => self.release_lease(*pick).await,
            Op::Exclude { pool, addresses } => self.exclude(*pool, addresses).await,
            Op::SetRange { pool, range } => self.set_range(*pool, *range).await,
            Op::SetState { pool, state } => self.set_state(*pool, *state).await,
            Op::Delete { pool } => self.delete(*pool).await,
            Op::Create { pool } => self.create(*pool).await,
            Op::Reboot => self.reboot(),
        }
        if self.ticks % 16 == 0 {
            self.compare().await;
        }
    }

    fn reboot(&mut self) {
        self.boot += 1;
        self.ticks = 0;
        for attached in &mut self.model.attached {
            attached.last_claim = None;
        }
    }

    async fn claim(
        &mut self,
        container: usize,
        entries: &[Vec<usize>],
        wanted: Option<(usize, usize)>,
        when: When,
    ) {
        let stamp = self.stamp(when);
        let names: Vec<String> = entries
            .iter()
            .map(|pools| {
                pools
                    .iter()
                    .map(|pool| self.pool(*pool))
                    .collect::<Vec<_>>()
                    .join(",")
            })
            .collect();
        let names: Vec<_> = names.iter().map(String::as_str).collect();
        let asked = Claim {
            attachment: self.key(container),
            boot_id: self.boot_id(stamp),
            issued: stamp.issued,
            wanted: wanted
                .map(|(pool, n)| address(pool, n))
                .into_iter()
                .collect(),
            ..claim("", &names)
        };
        if matches!(when, When::BootBefore) {
            if self.has_left() {
                let refused = allocate(&self.store, &asked).await;
                assert_refused!(refused, Error::NodeNameConflict { .. });
            }
            return;
        }
        if stamp.issued.is_some() {
            self.model.attached[container].last_claim = stamp.issued;
        }
        let expected = self.model.expect(container, entries, wanted, stamp);
        let answer = allocate(&self.store, &asked).await;
        match (expected, answer) {
            (Expected::New(picks), Ok(granted)) if granted.fresh => {
                let held = self.held_of(&granted);
                self.model.grant(container, stamp, held, &picks);
            }
            (Expected::Held, Ok(granted)) if !granted.fresh => {
                let ids = |held: &[Held]| held.iter().map(|one| one.id.clone()).collect::<Vec<_>>();
                let got = self.held_of(&granted);
                assert_eq!(ids(&got), ids(&self.model.attached[container].held));
                self.model.keep(container, stamp);
            }
            (Expected::Superseded, Err(Error::Superseded(_)))
            | (Expected::Differs, Err(Error::AttachmentDiffers { .. }))
            | (Expected::PoolNotFound, Err(Error::PoolNotFound(_)))
            | (Expected::Invalid, Err(Error::Invalid(_)))
            | (Expected::Exhausted, Err(Error::PoolExhausted { .. }))
            | (Expected::Taken, Err(Error::AddressTaken { .. })) => {}
            (expected, answer) => panic!("{asked:?}\nexpected {expected:?}\ngot {answer:?}"),
        }
    }

    fn held_of(&self, granted: &Granted) -> Vec<Held> {
        let leases = granted.leases.iter().enumerate();
        leases
            .map(|(entry, lease)| {
                let pool = self.pool_number(&lease.pool);
                let number = number(pool, lease.address.ip()).expect("an address of the pool");
                Held {
                    entry,
                    pool,
                    number,
                    id: lease.id.clone(),
                }
            })
            .collect()
    }

    async fn release(&mut self, container: usize, when: When, gives_up: Option<i64>) {
        let stamp = self.stamp(when);
        let earlier_boot = matches!(when, When::BootBefore);
        let key = self.key(container);
        let mut releasing = del(&key.container_id);
        releasing.release.node = key.node;
        releasing.release.boot_id = self.boot_id(stamp);
        releasing.release.issued = stamp.issued;
        releasing.release.claim_issued = gives_up;
        releasing.earlier_boot = earlier_boot;
        let expected = self.model.release(container, stamp, gives_up, earlier_boot);
        assert_eq!(release(&self.store, releasing).await, expected);
    }

    async fn collect(&mut self, valid: &[bool], when: When) {
        let stamp = self.stamp(when);
        let listed = (0..CONTAINERS).filter(|container| valid[*container]);
        let key = self.key(0);
        let gc = GcRequest {
            node: key.node,
            boot_id: self.boot_id(stamp),
            issued: stamp.issued,
            valid: listed
                .map(|container| ValidAttachment {
                    container_id: self.key(container).container_id,
                    ifname: key.ifname.clone(),
                })
                .collect(),
            ..gc(&[])
        };
        if matches!(when, When::BootBefore) {
            if self.has_left() {
                assert_refused!(
                    self.store.collect(&gc).await,
                    Error::NodeNameConflict { .. }
                );
            }
            return;
        }
        let expected = self.model.collect(valid, stamp);
        assert_eq!(collect(&self.store, &gc).await, expected);
    }

    async fn release_lease(&mut self, pick: usize) {
        let held = self.model.attached.iter().enumerate();
        let all: Vec<(usize, usize)> = held
            .flat_map(|(container, one)| (0..one.held.len()).map(move |at| (container, at)))
            .collect();
        if all.is_empty() {
            return;
        }
        let (container, position) = all[pick % all.len()];
        let id = self.model.attached[container].held[position].id.clone();
        self.store.release_lease(&id).await.expect("it is held");
        self.model.release_lease(container, position);
        assert_refused!(self.store.release_lease(&id).await, Error::LeaseNotFound(_));
    }

    /// Every lease and every count.
    async fn compare(&self) {
        let filter = LeaseFilter {
            vrf: Some(self.vrf()),
            ..LeaseFilter::default()
        };
        let listed = self.store.leases(&filter, &first_page(500)).await;
        let expected: BTreeMap<_, _> = self
            .model
            .leases()
            .into_iter()
            .map(|(id, one)| {
                let (container, pool, number) = one;
                (
                    id,
                    (self.key(container), self.pool(pool), address(pool, number)),
                )
            })
            .collect();
        let found: BTreeMap<_, _> = listed
            .expect("a list")
            .items
            .into_iter()
            .map(|lease| (lease.id, (lease.attachment, lease.pool, lease.address.ip())))
            .collect();
        assert_eq!(found, expected);
        for (pool, space) in self
            .model
            .spaces
            .iter()
            .enumerate()
            .filter(|(_, s)| s.exists)
        {
            assert_eq!(usage(&self.store, &self.pool(pool)).await, space.usage());
        }
    }

    /// Compares, audits, and takes everything away.
    pub(super) async fn finish(&mut self) {
        self.compare().await;
        audit(&self.store).await;
        let stamp = self.stamp(When::Unordered);
        let none = vec![false; CONTAINERS];
        self.model.collect(&none, stamp);
        let everything = GcRequest {
            node: self.key(0).node,
            ..gc(&[])
        };
        collect(&self.store, &everything).await;
        for pool in 0..POOLS.len() {
            self.delete(pool).await;
        }
    }
}
