//! The tables' rows as both engines read and write them.

use std::collections::BTreeMap;

use ipam_api::{Attachment, Dns, Pod, Range, Route};
use ipnetwork::IpNetwork;
use sqlx::FromRow;
use sqlx::types::Json;
use uuid::Uuid;

use super::addr::Addr;
use super::moment::Moment;

/// `pool`, with its vrf's name.
#[derive(Clone, Debug, FromRow)]
pub(crate) struct PoolRow {
    pub(crate) id: i64,
    pub(crate) name: String,
    pub(crate) vrf_id: i64,
    pub(crate) vrf: String,
    pub(crate) subnet_first: Addr,
    pub(crate) subnet_last: Addr,
    pub(crate) prefix_len: i32,
    pub(crate) gateway: Option<Addr>,
    pub(crate) ranges: Option<Json<Vec<Range>>>,
    pub(crate) exclude: Json<Vec<IpNetwork>>,
    pub(crate) routes: Json<Vec<Route>>,
    pub(crate) dns: Json<Dns>,
    pub(crate) labels: Json<BTreeMap<String, String>>,
    pub(crate) reuse_delay_s: i64,
    pub(crate) state: String,
    pub(crate) version: i64,
    pub(crate) created_at: Moment,
    pub(crate) updated_at: Moment,
}

/// What is read of pools once their counters are locked.
#[derive(Debug)]
pub(crate) struct LockedPools {
    /// In the order of their pools' ids. Unknown ones are left out.
    pub(crate) counters: Vec<CounterRow>,
    /// The wall clock by then.
    pub(crate) wall: Moment,
    pub(crate) pools: Vec<PoolRow>,
    /// Their removals under way, each pool's by first.
    pub(crate) removals: Vec<IntervalRow>,
    /// The beginning of their never-used space, each pool's by first.
    pub(crate) fresh: Vec<FreeRow>,
}

/// `pool_counter`.
#[derive(Clone, Debug, PartialEq, FromRow)]
pub(crate) struct CounterRow {
    pub(crate) pool_id: i64,
    pub(crate) leased: i64,
    pub(crate) leased_reserved: i64,
    pub(crate) quarantined: i64,
    pub(crate) returned: i64,
    pub(crate) fresh_from: Addr,
    pub(crate) returned_from_at: Moment,
    pub(crate) returned_from: Addr,
    pub(crate) returned_first: bool,
    pub(crate) probe_at: Moment,
    pub(crate) last_at: Moment,
    /// Counted up by the database with each write.
    pub(crate) version: i64,
}

/// `free_range`; `free_at` is [`Moment::NEVER`] for never-used space.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, FromRow)]
pub(crate) struct FreeRow {
    pub(crate) pool_id: i64,
    pub(crate) first: Addr,
    pub(crate) last: Addr,
    pub(crate) free_at: Moment,
}

/// `pool_removal` and `pool_range`: an interval of a pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromRow)]
pub(crate) struct IntervalRow {
    pub(crate) pool_id: i64,
    pub(crate) first: Addr,
    pub(crate) last: Addr,
}

/// `node`.
#[derive(Clone, Debug, FromRow)]
pub(crate) struct NodeRow {
    pub(crate) id: i64,
    pub(crate) cluster: String,
    pub(crate) name: String,
    pub(crate) machine_id: Option<String>,
    pub(crate) boot_id: Option<String>,
    /// About when the boot began.
    pub(crate) booted_at: Option<Moment>,
    /// When the leases of earlier boots are to be looked through next.
    pub(crate) reclaim_at: Option<Moment>,
    /// Since when two boots are known to use the name at once.
    pub(crate) disputed_at: Option<Moment>,
}

/// `node_boot`.
#[derive(Clone, Debug, FromRow)]
pub(crate) struct BootRow {
    pub(crate) boot_id: String,
    /// When its first verb came.
    pub(crate) seen_at: Moment,
    /// About when it began.
    pub(crate) booted_at: Option<Moment>,
}

/// `node` with what its leases say.
#[derive(Clone, Debug, FromRow)]
pub(crate) struct NodeView {
    #[sqlx(flatten)]
    pub(crate) node: NodeRow,
    pub(crate) created_at: Moment,
    /// When the present boot was first seen.
    pub(crate) boot_seen_at: Option<Moment>,
    pub(crate) leases: i64,
    /// Of these leases those that are quarantined.
    pub(crate) quarantined: i64,
    pub(crate) last_claim_at: Option<Moment>,
}

/// `attachment`.
#[derive(Clone, Debug, PartialEq, FromRow)]
pub(crate) struct AttachmentRow {
    pub(crate) id: Uuid,
    pub(crate) cluster: String,
    pub(crate) node: String,
    pub(crate) network: String,
    pub(crate) container_id: String,
    pub(crate) ifname: String,
    pub(crate) claim_boot: Option<String>,
    pub(crate) claim_issued: Option<i64>,
    pub(crate) granted_issued: Option<i64>,
    pub(crate) release_boot: Option<String>,
    pub(crate) release_issued: Option<i64>,
    pub(crate) released_at: Option<Moment>,
    pub(crate) pod_namespace: Option<String>,
    pub(crate) pod_name: Option<String>,
    pub(crate) pod_uid: Option<String>,
    pub(crate) earlier_release_boot: Option<String>,
    pub(crate) earlier_release_issued: Option<i64>,
}

impl AttachmentRow {
    /// A row without any mark.
    pub(crate) fn new(key: &Attachment) -> Self {
        Self {
            id: Uuid::now_v7(),
            cluster: key.cluster.clone(),
            node: key.node.clone(),
            network: key.network.clone(),
            container_id: key.container_id.clone(),
            ifname: key.ifname.clone(),
            claim_boot: None,
            claim_issued: None,
            granted_issued: None,
            release_boot: None,
            release_issued: None,
            released_at: None,
            pod_namespace: None,
            pod_name: None,
            pod_uid: None,
            earlier_release_boot: None,
            earlier_release_issued: None,
        }
    }

    /// The columns of the key, in the order in which keys are compared.
    pub(crate) fn key_columns(&self) -> [&str; 5] {
        [
            &self.cluster,
            &self.node,
            &self.network,
            &self.container_id,
            &self.ifname,
        ]
    }

    /// The attachment that it is about.
    pub(crate) fn key(&self) -> Attachment {
        Attachment {
            cluster: self.cluster.clone(),
            node: self.node.clone(),
            network: self.network.clone(),
            container_id: self.container_id.clone(),
            ifname: self.ifname.clone(),
        }
    }

    /// The pod's identity.
    pub(crate) fn pod(&self) -> Pod {
        Pod {
            namespace: self.pod_namespace.clone(),
            name: self.pod_name.clone(),
            uid: self.pod_uid.clone(),
        }
    }
}

/// `lease`.
#[derive(Clone, Debug, PartialEq, FromRow)]
pub(crate) struct LeaseRow {
    pub(crate) attachment_id: Uuid,
    pub(crate) entry: i32,
    pub(crate) vrf_id: i64,
    pub(crate) address: Addr,
    pub(crate) pool_id: i64,
    pub(crate) owner: Option<String>,
    pub(crate) created_at: Moment,
    /// Until when it is withheld for a holder that is suspected gone.
    pub(crate) quarantined_until: Option<Moment>,
}

impl LeaseRow {
    /// The lease's id as clients see it.
    pub(crate) fn public_id(&self) -> String {
        public_id(self.attachment_id, self.entry)
    }
}

/// A lease's id: the lease set's, and the entry in it.
pub(crate) fn public_id(attachment_id: Uuid, entry: i32) -> String {
    format!("{}-{entry}", attachment_id.simple())
}

/// Takes a lease's id apart; nothing when it has another form.
pub(crate) fn parse_public_id(id: &str) -> Option<(Uuid, i32)> {
    let (attachment, entry) = id.split_once('-')?;
    Some((Uuid::try_parse(attachment).ok()?, entry.parse().ok()?))
}

/// A lease with its attachment, as lists show it.
#[derive(Clone, Debug, FromRow)]
pub(crate) struct HeldRow {
    #[sqlx(flatten)]
    pub(crate) lease: LeaseRow,
    #[sqlx(flatten)]
    pub(crate) attachment: AttachmentRow,
}

/// `history`.
#[derive(Clone, Debug, FromRow)]
pub(crate) struct HistoryRow {
    pub(crate) id: i64,
    pub(crate) attachment_id: Uuid,
    pub(crate) entry: i32,
    pub(crate) address: Addr,
    pub(crate) pool: String,
    pub(crate) cluster: String,
    pub(crate) node: String,
    pub(crate) network: String,
    pub(crate) container_id: String,
    pub(crate) ifname: String,
    pub(crate) pod_namespace: Option<String>,
    pub(crate) pod_name: Option<String>,
    pub(crate) pod_uid: Option<String>,
    pub(crate) owner: Option<String>,
    pub(crate) created_at: Moment,
    pub(crate) released_at: Moment,
    pub(crate) reason: String,
}

/// When an address was released last.
#[derive(Clone, Copy, Debug, FromRow)]
pub(crate) struct ReleasedRow {
    pub(crate) address: Addr,
    pub(crate) released_at: Moment,
}

/// `pool_change`.
#[derive(Clone, Debug, FromRow)]
pub(crate) struct PoolChangeRow {
    pub(crate) id: i64,
    pub(crate) pool: String,
    pub(crate) at: Moment,
    pub(crate) action: String,
    pub(crate) settings: Json<serde_json::Value>,
}

/// Which leases a list shows, in the database's words.
#[derive(Clone, Debug, Default)]
pub(crate) struct LeaseQuery {
    pub(crate) vrf_id: Option<i64>,
    pub(crate) pool_id: Option<i64>,
    /// The address, or the bounds of the pool's subnet: they keep the walk along the index short.
    pub(crate) between: Option<(Addr, Addr)>,
    pub(crate) cluster: Option<String>,
    pub(crate) node: Option<String>,
    pub(crate) network: Option<String>,
    pub(crate) container_id: Option<String>,
    pub(crate) pod_namespace: Option<String>,
    pub(crate) pod_name: Option<String>,
    /// Only those that are quarantined, or that are not.
    pub(crate) quarantined: Option<bool>,
    /// Only what comes after this (vrf, address).
    pub(crate) after: Option<(i64, Addr)>,
    pub(crate) limit: i64,
}

/// Along which index a list of leases goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Walk {
    /// The attachments of a container.
    Container,
    /// The attachments of a pod.
    Pod,
    /// The attachments of a node.
    Node,
    /// The addresses of an interval in one vrf.
    Interval,
    /// The addresses of an interval in each vrf.
    EveryVrf,
    /// All addresses, of one vrf or of all.
    All,
}

impl LeaseQuery {
    /// Along which index it goes, and from where: in an interval from this (vrf, address) on, else after it. None when
    /// the list is at its end.
    pub(crate) fn walk(&self) -> Option<(Walk, (i64, Addr))> {
        let walk = self.index();
        // The last address in either order, of the vrf before the first.
        let before = self.vrf_id.map_or(i64::MIN, |vrf_id| vrf_id - 1);
        let after = self.after.unwrap_or((before, Addr(u128::MAX)));
        let (Walk::Interval, Some(vrf_id), Some((first, last))) = (walk, self.vrf_id, self.between)
        else {
            return Some((walk, after));
        };
        match self.after {
            None => Some((walk, (vrf_id, first))),
            Some((_, address)) if address < last => {
                Some((walk, (vrf_id, first.max(address.next()))))
            }
            Some(_) => None,
        }
    }

    fn index(&self) -> Walk {
        let by_address = self.between.map(|_| match self.vrf_id {
            Some(_) => Walk::Interval,
            None => Walk::EveryVrf,
        });
        if let (Some(walk), Some((first, last))) = (by_address, self.between)
            && first == last
        {
            return walk;
        }
        if self.container_id.is_some() {
            Walk::Container
        } else if self.pod_name.is_some() {
            Walk::Pod
        } else if self.node.is_some() {
            Walk::Node
        } else {
            by_address.unwrap_or(Walk::All)
        }
    }
}
