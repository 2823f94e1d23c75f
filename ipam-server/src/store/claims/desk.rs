//! One claim of a batch on its way: what its attachment holds, and what is decided about it.

use std::collections::BTreeMap;
use std::sync::Arc;

use ipam_api::{Attachment, Claim, Lease};
use uuid::Uuid;

use super::super::addr::Addr;
use super::super::hints::Guess;
use super::super::nodes::{self, Identity};
use super::super::order;
use super::super::rows::{AttachmentRow, LeaseRow, PoolRow};
use super::super::shown;
use super::super::statements::{Ahead, Answer, Statements};
use super::{Granted, Reach};
use crate::error::{Error, Result};
use crate::pool::Layout;

/// A claim and its attachment, whose row is locked.
pub(super) struct Desk<'a> {
    pub(super) claim: &'a Claim,
    pub(super) row: AttachmentRow,
    /// Whether the row was made for this claim.
    pub(super) inserted: bool,
    /// What the attachment holds; when the claim is granted all the same, this is replaced.
    pub(super) held: Vec<LeaseRow>,
    pub(super) state: State,
}

/// What is decided about a claim.
pub(super) enum State {
    /// Nothing yet.
    Waiting,
    /// It gets nothing.
    Refused(Error),
    /// What is held satisfies it. `noted`: the attachment's row has to be written.
    Held { leases: Vec<Lease>, noted: bool },
    /// It gets new leases, if there are addresses.
    Open(Vec<Ask>),
    /// It got them.
    Granted {
        leases: Vec<LeaseRow>,
        answer: Vec<Lease>,
    },
}

/// One entry of an open claim.
pub(super) struct Ask {
    /// Its pools in order, as they were before they were locked.
    pub(super) pools: Vec<Arc<PoolRow>>,
    /// The address that it must be, and the pool that may lease it.
    pub(super) wanted: Option<(Addr, i64)>,
}

/// Checks the nodes, then locks the attachments in the order of their keys and reads what they hold. With it whether a node
/// was noted anew.
pub(super) async fn open<'a, T: Statements>(
    tx: &mut T,
    claims: &'a [Claim],
    guess: Option<&Guess>,
) -> Result<(Vec<Desk<'a>>, bool)> {
    let verbs: Vec<_> = (claims.iter())
        .map(|claim| (identity(claim), claim.issued))
        .collect();
    let mut desks: Vec<_> = claims.iter().map(Desk::new).collect();
    let mut rows = waiting_rows(&desks);
    if let Some(guess) = guess {
        let names = nodes::names(verbs.iter().map(|(identity, _)| identity));
        tx.ahead(&[
            Ahead::Nodes(&names),
            Ahead::Attachments(&rows),
            Ahead::Pools(&guess.names),
            Ahead::Locked(&guess.ids, guess.read_ahead as i64),
        ])
        .await?;
    }
    let admission = nodes::admit(tx, &verbs).await?;
    for desk in &mut desks {
        if let Some(error) = refusal(&admission.answers, identity(desk.claim)) {
            desk.state = State::Refused(error);
        }
    }
    if !desks.iter().all(is_waiting) {
        // Rows of claims that are refused were asked for.
        tx.forget_ahead().await?;
        rows = waiting_rows(&desks);
    }
    let known = tx.upsert_attachments(&rows).await?;
    let ids: Vec<_> = known.iter().map(|row| row.id).collect();
    let mut known: BTreeMap<Attachment, _> =
        (known.into_iter()).map(|row| (row.key(), row)).collect();
    for desk in &mut desks {
        match known.remove(&desk.claim.attachment) {
            Some(row) => desk.meet(row),
            None => desk.inserted = matches!(desk.state, State::Waiting),
        }
    }
    let mut held: BTreeMap<Uuid, Vec<LeaseRow>> = BTreeMap::new();
    for lease in tx.leases_of(&ids).await? {
        held.entry(lease.attachment_id).or_default().push(lease);
    }
    for desk in &mut desks {
        desk.held = held.remove(&desk.row.id).unwrap_or_default();
        desk.held.sort_by_key(|lease| lease.entry);
        if let Err(error) = check_boot(tx, desk).await? {
            desk.state = State::Refused(error);
        }
    }
    Ok((desks, admission.noted))
}

/// The rows of the claims that are not refused, in the order of their keys.
fn waiting_rows(desks: &[Desk<'_>]) -> Vec<AttachmentRow> {
    let waiting = desks.iter().filter(|desk| is_waiting(desk));
    let mut rows: Vec<_> = waiting.map(|desk| desk.row.clone()).collect();
    rows.sort_by(|a, b| a.key_columns().cmp(&b.key_columns()));
    rows
}

fn is_waiting(desk: &Desk<'_>) -> bool {
    matches!(desk.state, State::Waiting)
}

/// Refuses a claim of another boot than the attachment's, unless the node is in that now, and in no other.
async fn check_boot<T: Statements>(tx: &mut T, desk: &Desk<'_>) -> Answer<Result<()>> {
    if !desk.is_of_another_boot() {
        return Ok(Ok(()));
    }
    let identity = identity(desk.claim);
    let present = nodes::check_presence(tx, identity).await?;
    if present.is_err() || desk.held.is_empty() {
        return Ok(present);
    }
    nodes::check_undisputed(tx, identity).await
}

fn identity(claim: &Claim) -> Identity<'_> {
    Identity {
        cluster: &claim.attachment.cluster,
        node: &claim.attachment.node,
        machine_id: claim.machine_id.as_deref(),
        boot_id: claim.boot_id.as_deref(),
    }
}

/// The refusal of an identity, in the same words for each of its claims.
fn refusal<'a>(
    admitted: &BTreeMap<Identity<'a>, Result<()>>,
    identity: Identity<'a>,
) -> Option<Error> {
    match admitted.get(&identity)? {
        Err(Error::NodeNameConflict {
            cluster,
            node,
            detail,
        }) => Some(Error::NodeNameConflict {
            cluster: cluster.clone(),
            node: node.clone(),
            detail: detail.clone(),
        }),
        _ => None,
    }
}

impl<'a> Desk<'a> {
    fn new(claim: &'a Claim) -> Self {
        let mut row = AttachmentRow::new(&claim.attachment);
        order::note_claim(&mut row, claim, true);
        note_pod(&mut row, claim);
        Self {
            claim,
            row,
            inserted: false,
            held: Vec::new(),
            state: State::Waiting,
        }
    }

    /// Takes the row as the database has it.
    fn meet(&mut self, stored: AttachmentRow) {
        self.row = stored;
        if order::is_superseded(&self.row, self.claim) {
            let key = Box::new(self.claim.attachment.clone());
            self.state = State::Refused(Error::Superseded(key));
        }
    }

    /// Decides as far as the attachment and the pools' settings tell.
    pub(super) fn decide(&mut self, pools: &[Arc<PoolRow>]) {
        if !matches!(self.state, State::Waiting) {
            return;
        }
        self.state = if self.held.is_empty() {
            self.ask(pools)
        } else if self.is_satisfied(pools) {
            self.show_held(pools)
        } else if self.is_of_another_boot() {
            // An earlier one: the node is in the claim's.
            self.ask(pools)
        } else {
            State::Refused(Error::AttachmentDiffers {
                attachment: Box::new(self.claim.attachment.clone()),
                held: self.describe_held(pools),
            })
        };
    }

    /// As many entries, each held pool in its entry's list, each wanted address among the held. The pools' states do not
    /// matter.
    fn is_satisfied(&self, pools: &[Arc<PoolRow>]) -> bool {
        let is_listed = |lease: &LeaseRow| {
            let entry = usize::try_from(lease.entry).ok();
            let entry = entry.and_then(|index| self.claim.entries.get(index));
            let name = by_id(pools, lease.pool_id).map(|pool| &pool.name);
            entry.is_some_and(|entry| name.is_some_and(|name| entry.pools.contains(name)))
        };
        self.held.len() == self.claim.entries.len()
            && self.held.iter().all(is_listed)
            && (self.claim.wanted.iter()).all(|wanted| {
                self.held
                    .iter()
                    .any(|lease| lease.address == (*wanted).into())
            })
    }

    fn is_of_another_boot(&self) -> bool {
        let (then, now) = (&self.row.claim_boot, &self.claim.boot_id);
        then.is_some() && now.is_some() && then != now
    }

    fn show_held(&mut self, pools: &[Arc<PoolRow>]) -> State {
        let before = self.row.clone();
        order::note_claim(&mut self.row, self.claim, false);
        let shown: Result<_> = (self.held.iter())
            .filter_map(|lease| Some((lease, by_id(pools, lease.pool_id)?)))
            .map(|(lease, pool)| {
                // The claim is the sign of life that ends it.
                let quarantined_until = None;
                let lease = LeaseRow {
                    quarantined_until,
                    ..lease.clone()
                };
                shown::lease_of(&lease, &self.row, pool)
            })
            .collect();
        let noted = self.row != before;
        match shown {
            Ok(leases) => State::Held { leases, noted },
            Err(error) => State::Refused(error),
        }
    }

    fn describe_held(&self, pools: &[Arc<PoolRow>]) -> String {
        let one = |lease: &LeaseRow| {
            let pool = by_id(pools, lease.pool_id).map_or("?", |pool| &pool.name);
            format!("{} of pool {pool:?}", lease.address)
        };
        self.held.iter().map(one).collect::<Vec<_>>().join(", ")
    }

    /// Finds the pools of each entry, and the entry of each wanted address.
    fn ask(&self, pools: &[Arc<PoolRow>]) -> State {
        let mut asks = Vec::with_capacity(self.claim.entries.len());
        for entry in &self.claim.entries {
            let mut listed = Vec::with_capacity(entry.pools.len());
            for name in &entry.pools {
                match pools
                    .iter()
                    .find(|pool| pool.name == *name && pool.state != "deleting")
                {
                    Some(pool) => listed.push(Arc::clone(pool)),
                    None => return State::Refused(Error::PoolNotFound(name.clone())),
                }
            }
            asks.push(Ask {
                pools: listed,
                wanted: None,
            });
        }
        for wanted in &self.claim.wanted {
            let address = Addr::from(*wanted);
            let free_entry = asks.iter_mut().filter(|ask| ask.wanted.is_none());
            let Some((ask, pool)) = free_entry.into_iter().find_map(|ask| {
                let pool = ask.pool_that_may_lease(address)?;
                Some((ask, pool))
            }) else {
                return State::Refused(self.nowhere(address));
            };
            ask.wanted = Some((address, pool));
        }
        State::Open(asks)
    }

    fn nowhere(&self, address: Addr) -> Error {
        let names = self.claim.entries.iter().flat_map(|entry| &entry.pools);
        let names: Vec<_> = names.map(String::as_str).collect();
        Error::Invalid(format!(
            "wanted: {address} is not an address that an entry without another wanted address may lease (pools: {})",
            names.join(", ")
        ))
    }

    /// The pools whose free space or counts this claim changes.
    pub(super) fn pools_to_lock(&self, reach: Reach) -> Vec<i64> {
        let held = self.held.iter().map(|lease| lease.pool_id);
        match &self.state {
            State::Open(asks) => held
                .chain(asks.iter().flat_map(|ask| ask.pools_to_lock(reach)))
                .collect(),
            State::Held { .. } if self.is_quarantined() => held.collect(),
            _ => Vec::new(),
        }
    }

    /// Whether what is held was suspected to be left behind.
    pub(super) fn is_quarantined(&self) -> bool {
        let mut held = self.held.iter();
        held.any(|lease| lease.quarantined_until.is_some())
    }

    pub(super) fn answer(self) -> Result<Granted> {
        match self.state {
            State::Refused(error) => Err(error),
            State::Held { leases, .. } => Ok(Granted {
                leases,
                fresh: false,
            }),
            State::Granted { answer, .. } => Ok(Granted {
                leases: answer,
                fresh: true,
            }),
            State::Waiting | State::Open(_) => super::no_answer(),
        }
    }
}

impl Ask {
    fn pool_that_may_lease(&self, address: Addr) -> Option<i64> {
        let may_lease = |pool: &&Arc<PoolRow>| {
            // The bounds first: they are cheaper than the layout.
            pool.subnet_first <= address
                && address <= pool.subnet_last
                && Layout::of_row(pool).may_lease(address)
        };
        self.pools.iter().find(may_lease).map(|pool| pool.id)
    }

    fn pools_to_lock(&self, reach: Reach) -> Vec<i64> {
        if let Some((_, pool)) = self.wanted {
            return vec![pool];
        }
        match reach {
            Reach::Every => self.pools.iter().map(|pool| pool.id).collect(),
            Reach::FirstChoice => {
                let ready = self.pools.iter().find(|pool| pool.state == "ready");
                ready.map(|pool| pool.id).into_iter().collect()
            }
        }
    }
}

/// Records the pod's identity on the attachment.
pub(super) fn note_pod(row: &mut AttachmentRow, claim: &Claim) {
    let pod = claim.pod.clone().unwrap_or_default();
    (row.pod_namespace, row.pod_name, row.pod_uid) = (pod.namespace, pod.name, pod.uid);
}

fn by_id(pools: &[Arc<PoolRow>], id: i64) -> Option<&PoolRow> {
    pools.iter().map(Arc::as_ref).find(|pool| pool.id == id)
}
