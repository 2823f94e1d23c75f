//! Leases of a boot that its machine has left: nothing of that boot runs any more, but not every runtime says so.
//!
//! containerd and podman send no GC. So when the same machine (name and machine id) comes with another boot, the leases of
//! its earlier boots are quarantined, and freed after a while unless a claim or a check gives a sign of life. Nothing is
//! freed for its age alone, and nothing of a machine that is silent: that is for an admin (`roster`).

use std::collections::BTreeSet;
use std::time::Duration;

use ipam_api::Attachment;

use super::database::Database;
use super::moment::Moment;
use super::nodes::{Identity, known_nodes};
use super::order;
use super::releases::Holdings;
use super::retry::{finish, retry};
use super::rows::{AttachmentRow, NodeRow};
use super::statements::{
    HolderStatements, LeaseStatements, NodeStatements, PoolStatements, Statements,
};
use crate::error::Result;

/// Attachments per transaction.
const PAGE: i64 = 500;
/// Nodes per round.
const NODES: i64 = 16;
/// A claim of the boot before may have been on its way when the present one was first seen: so long after that it is looked
/// for again. Claims are on the way for their deadline, which is seconds.
const SECOND_LOOK: Duration = Duration::from_secs(60);

/// See [`super::Store::reclaim`].
pub(super) async fn reclaim<D: Database>(db: &D, quarantine: Duration) -> Result<bool> {
    let work = retry::<D, _, _>("find_left_boots", || async {
        let mut tx = db.read().await?;
        let outcome = find(&mut tx, db, quarantine).await;
        finish::<D, _>(tx, outcome).await
    })
    .await?;
    for (node, seen_at) in &work.rebooted {
        if node.disputed_at.is_some() {
            end_quarantines(db, node).await?;
            continue;
        }
        // Counted from now, when all servers were away in between: nobody could give a sign of life.
        let until = (*seen_at).max(work.now).plus(quarantine);
        let marked = mark(db, node, Some(until)).await?;
        let again_at = seen_at.plus(SECOND_LOOK);
        look_again(db, node, Some(again_at).filter(|at| *at > work.now)).await?;
        if marked > 0 {
            tracing::info!(
                node.cluster,
                node.name,
                attachments = marked,
                "the node has rebooted: what its earlier boots held is quarantined"
            );
        }
    }
    for key in &work.disputed {
        keep(db, key).await?;
    }
    if !work.overdue.is_empty() {
        let released = free_overdue(db, &work).await?;
        tracing::info!(leases = released, "freed what boots held that are over");
    }
    let overdue = work.overdue.len() + work.disputed.len();
    Ok(work.rebooted.len() as i64 == NODES || overdue as i64 == PAGE)
}

/// Ends the quarantine of what the attachment holds: somebody uses it.
pub(super) async fn keep<D: Database>(db: &D, key: &Attachment) -> Result<()> {
    retry::<D, _, _>("keep", || async {
        let mut tx = db.begin().await?;
        let outcome = async {
            let mut holdings = Holdings::lock(&mut tx, std::iter::once(key.clone()), &[]).await?;
            let node = present(&mut tx, &key.cluster, &key.node).await?;
            // As if it had been claimed in the present boot: a second look must not quarantine it again. Unless a claim
            // was quicker, whose marks are better.
            let still = holdings.quarantined_until(key).is_some();
            let node = node.filter(|node| node.disputed_at.is_none());
            if let Some(boot) = node.and_then(|node| node.boot_id).filter(|_| still) {
                holdings.change(key, |row| {
                    order::note_sign_of_life(row, boot);
                    false
                });
            }
            (holdings.quarantine(&mut tx, db.clock(), None, |_| true)).await
        }
        .await;
        finish::<D, _>(tx, outcome).await
    })
    .await
}

/// What is to be done.
struct Work {
    rebooted: Vec<(NodeRow, Moment)>,
    /// Attachments whose quarantine is over.
    overdue: Vec<Attachment>,
    /// The same on nodes where nothing is freed.
    disputed: Vec<Attachment>,
    now: Moment,
    /// Up to when quarantines are over.
    over: Moment,
}

async fn find<D: Database>(tx: &mut D::Tx, db: &D, quarantine: Duration) -> Result<Work> {
    let reading = db.clock().read(tx.wall_clock().await?);
    // After a step ahead a quarantine looks over that has just begun.
    let over = reading.rested_until(quarantine);
    let overdue = tx.overdue_holders(over, PAGE).await?;
    let overdue: Vec<_> = overdue.iter().map(AttachmentRow::key).collect();
    let nodes = disputed_nodes(tx, &overdue).await?;
    let (disputed, overdue) = (overdue.into_iter()).partition(|key| nodes.contains(&name_of(key)));
    Ok(Work {
        rebooted: tx.nodes_to_reclaim(reading.now, NODES).await?,
        overdue,
        disputed,
        now: reading.now,
        over,
    })
}

/// Those of the attachments' nodes, by (cluster, name), that two machines use.
async fn disputed_nodes<T: Statements>(
    tx: &mut T,
    keys: &[Attachment],
) -> Result<BTreeSet<(String, String)>> {
    let names: BTreeSet<_> = keys.iter().map(name_of).collect();
    let nodes = tx.nodes(&Vec::from_iter(names)).await?;
    Ok((nodes.into_iter())
        .filter(|node| node.disputed_at.is_some())
        .map(|node| (node.cluster, node.name))
        .collect())
}

fn name_of(key: &Attachment) -> (String, String) {
    (key.cluster.clone(), key.node.clone())
}

/// Ends what a boot has begun that is not known to be the node's only one.
async fn end_quarantines<D: Database>(db: &D, node: &NodeRow) -> Result<()> {
    tracing::warn!(
        node.cluster,
        node.name,
        "two machines use the node's name: nothing of it is freed until it is forgotten"
    );
    mark(db, node, None).await?;
    look_again(db, node, None).await
}

/// Begins the quarantine of what earlier boots of the node hold, or with none ends all of the node's; how many attachments.
async fn mark<D: Database>(db: &D, node: &NodeRow, until: Option<Moment>) -> Result<usize> {
    let mut after = (String::new(), String::new(), String::new());
    let mut marked = 0;
    loop {
        let page = retry::<D, _, _>("quarantine", || async {
            let mut tx = db.begin().await?;
            let outcome = mark_page(&mut tx, db, node, &after, until).await;
            finish::<D, _>(tx, outcome).await
        })
        .await?;
        marked += page.marked;
        match page.last {
            Some(last) => after = last,
            None => return Ok(marked),
        }
    }
}

struct Page {
    marked: usize,
    /// The last attachment that was looked at; none when there are no more.
    last: Option<(String, String, String)>,
}

async fn mark_page<D: Database>(
    tx: &mut D::Tx,
    db: &D,
    node: &NodeRow,
    after: &(String, String, String),
    until: Option<Moment>,
) -> Result<Page> {
    let after = (after.0.as_str(), after.1.as_str(), after.2.as_str());
    let holders = (tx.holders_of(&node.cluster, &node.name, after, PAGE)).await?;
    let last = (holders.last()).filter(|_| holders.len() as i64 == PAGE);
    let last = last.map(|row| {
        let key = row.key();
        (key.network, key.container_id, key.ifname)
    });
    let concerns = |row: &AttachmentRow, node: &NodeRow| match until {
        Some(_) => is_left(row, node),
        None => node.disputed_at.is_some(),
    };
    let suspects: Vec<_> = (holders.iter())
        .filter(|row| concerns(row, node))
        .map(AttachmentRow::key)
        .collect();
    let marked = suspects.len();
    if marked > 0 {
        let holdings = Holdings::lock(tx, suspects.into_iter(), &[]).await?;
        // Read again: a claim that was waited for may have been of yet another boot.
        let present = present(tx, &node.cluster, &node.name).await?;
        let chosen = |row: &AttachmentRow| present.as_ref().is_some_and(|node| concerns(row, node));
        holdings.quarantine(tx, db.clock(), until, chosen).await?;
    }
    Ok(Page { marked, last })
}

/// Whether the attachment's claim is of a boot that the node has left.
fn is_left(row: &AttachmentRow, node: &NodeRow) -> bool {
    node.disputed_at.is_none()
        && row.claim_boot.is_some()
        && node.boot_id.is_some()
        && row.claim_boot != node.boot_id
}

async fn present<T: Statements>(tx: &mut T, cluster: &str, node: &str) -> Result<Option<NodeRow>> {
    let identity = Identity {
        cluster,
        node,
        machine_id: None,
        boot_id: None,
    };
    let mut known = known_nodes(tx, &[identity]).await?;
    Ok(known.pop_first().map(|(_, row)| row))
}

/// Notes when the node's earlier boots are looked through again, unless there is a newer one, or a dispute, by now.
async fn look_again<D: Database>(db: &D, node: &NodeRow, at: Option<Moment>) -> Result<()> {
    retry::<D, _, _>("look_again", || async {
        let mut tx = db.begin().await?;
        let outcome = async {
            if present(&mut tx, &node.cluster, &node.name).await?.is_none() {
                return Ok(());
            }
            let now = tx.wall_clock().await?;
            let mut row = tx.lock_node(&node.cluster, &node.name, now).await?;
            if (&row.boot_id, row.disputed_at) == (&node.boot_id, node.disputed_at) {
                row.reclaim_at = at;
                tx.save_node(&row, now).await?;
            }
            Ok(())
        }
        .await;
        finish::<D, _>(tx, outcome).await
    })
    .await
}

/// Frees what is still quarantined; how many leases.
async fn free_overdue<D: Database>(db: &D, work: &Work) -> Result<u64> {
    retry::<D, _, _>("reclaim", || async {
        let mut tx = db.begin().await?;
        let outcome = async {
            let mut holdings = Holdings::lock(&mut tx, work.overdue.iter().cloned(), &[]).await?;
            let disputed = disputed_nodes(&mut tx, &work.overdue).await?;
            let mut released = 0;
            for key in &work.overdue {
                let until = holdings.quarantined_until(key);
                let is_over = until.is_some_and(|until| until <= work.over)
                    && !disputed.contains(&name_of(key));
                released += holdings.change(key, |_| is_over);
            }
            holdings.settle(&mut tx, db.clock(), "reclaim").await?;
            Ok(released)
        }
        .await;
        finish::<D, _>(tx, outcome).await
    })
    .await
}
