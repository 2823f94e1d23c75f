//! Nodes, their tasks, and the judge over what they are answered.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use ipam_api::{Attachment, Claim, GcRequest, ValidAttachment};
use ipam_server::Error;
use ipam_server::store::{Releasing, Store};

use crate::store::support::*;

/// ADD, ADD again and DEL, so many times by each task.
const ROUNDS: usize = 6;

/// Who believes to hold what: the judge over the store's answers.
#[derive(Clone, Default)]
pub(super) struct Judge {
    holders: Arc<Mutex<HashMap<(String, IpAddr), String>>>,
}

impl Judge {
    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<(String, IpAddr), String>> {
        self.holders.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn took(&self, leases: &[ipam_api::Lease]) {
        let mut holders = self.lock();
        for lease in leases {
            let key = (lease.vrf.clone(), lease.address.ip());
            let holder = lease.attachment.to_string();
            if let Some(other) = holders.insert(key, holder.clone()) {
                panic!("{} is held by {other} and by {holder}", lease.address);
            }
        }
    }

    /// Before the release is sent: as soon as it is served somebody else may get them.
    fn gives_back(&self, leases: &[ipam_api::Lease]) {
        let mut holders = self.lock();
        for lease in leases {
            holders.remove(&(lease.vrf.clone(), lease.address.ip()));
        }
    }
}

/// A node: a clock for its verbs, and what its runtime knows.
#[derive(Default)]
pub(super) struct Node {
    clock: AtomicI64,
    known: Mutex<Vec<String>>,
}

impl Node {
    fn now(&self) -> i64 {
        self.clock.fetch_add(1, Ordering::SeqCst) + 1
    }

    fn known(&self) -> std::sync::MutexGuard<'_, Vec<String>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What all tasks share.
#[derive(Clone)]
pub(super) struct Scene {
    pub(super) stores: Vec<Store>,
    pub(super) judge: Judge,
    pub(super) nodes: Arc<[Node; 4]>,
    /// Whether tasks ask for addresses by name.
    pub(super) wants: bool,
}

impl Scene {
    pub(super) fn new(stores: Vec<Store>) -> Self {
        Self {
            stores,
            judge: Judge::default(),
            nodes: Arc::default(),
            wants: true,
        }
    }

    pub(super) fn store(&self, number: usize) -> &Store {
        &self.stores[number % self.stores.len()]
    }

    pub(super) fn claim(&self, task: usize, container: &str, entries: &[&str]) -> Claim {
        let node = task % self.nodes.len();
        Claim {
            attachment: Attachment {
                node: format!("n{node}"),
                ..key(container)
            },
            boot_id: Some(format!("boot-of-n{node}")),
            issued: Some(self.nodes[node].now()),
            ..claim(container, entries)
        }
    }

    fn release(&self, task: usize, claim: &Claim) -> Releasing {
        let node = task % self.nodes.len();
        let at = self.nodes[node].now();
        let mut releasing = del_issued("", at, &claim.attachment.container_id);
        releasing.release.node.clone_from(&claim.attachment.node);
        releasing.release.boot_id.clone_from(&claim.boot_id);
        releasing
    }

    /// ADD, ADD again, DEL. Each has at most one address per entry, so that there is always one left for everybody.
    pub(super) async fn churn(self, task: usize, entries: &'static [&'static str]) {
        let mut last: Option<IpAddr> = None;
        for round in 0..ROUNDS {
            let container = format!("c{task}-{round}");
            let node = &self.nodes[task % self.nodes.len()];
            node.known().push(container.clone());
            let asked = self.claim(task, &container, entries);
            let leases = match last.filter(|_| self.wants && round % 3 == 2) {
                Some(wanted) => self.want(task, &asked, wanted).await,
                None => grant(self.store(task), &asked).await.leases,
            };
            self.judge.took(&leases);
            let repeat = Claim {
                issued: Some(node.now()),
                ..asked.clone()
            };
            let again = grant(self.store(task + 1), &repeat).await;
            assert!(!again.fresh);
            assert_eq!(again.leases, leases);
            last = Some(leases[0].address.ip());
            self.judge.gives_back(&leases);
            let releasing = self.release(task, &asked);
            let freed = release(self.store(task + round), releasing).await;
            assert_eq!(freed, leases.len() as u64, "{container}");
            node.known().retain(|known| *known != container);
        }
    }

    /// Claims the address that the task had last; somebody else may have it by now.
    async fn want(&self, task: usize, asked: &Claim, wanted: IpAddr) -> Vec<ipam_api::Lease> {
        let wanting = Claim {
            wanted: vec![wanted],
            ..asked.clone()
        };
        match allocate(self.store(task), &wanting).await {
            Ok(granted) => {
                assert_eq!(granted.leases[0].address.ip(), wanted);
                granted.leases
            }
            Err(Error::AddressTaken { .. }) => grant(self.store(task), asked).await.leases,
            Err(other) => panic!("{wanted}: {other}"),
        }
    }

    /// GCs of a node whose runtime knows all that is there.
    pub(super) async fn collect_nothing(self, node: usize) {
        for round in 0..ROUNDS {
            let gc = {
                let known = self.nodes[node].known();
                GcRequest {
                    node: format!("n{node}"),
                    valid: known
                        .iter()
                        .map(|container| ValidAttachment {
                            container_id: container.clone(),
                            ifname: "eth0".to_owned(),
                        })
                        .collect(),
                    ..gc_issued(&format!("boot-of-n{node}"), self.nodes[node].now(), &[])
                }
            };
            assert_eq!(collect(self.store(node + round), &gc).await, 0);
            pass(Duration::from_millis(5)).await;
        }
    }

    pub(super) async fn end(&self, pools: &[&str]) {
        let store = &self.stores[0];
        audit(store).await;
        assert!(all_leases(store).await.is_empty());
        for pool in pools {
            let usage = usage(store, pool).await;
            assert_eq!(usage.free, usage.size - usage.reserved, "nothing is lost");
        }
        for store in &self.stores {
            store.close().await;
        }
    }
}
