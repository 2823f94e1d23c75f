//! Nodes as an admin sees them: listed, shown, and forgotten when they are gone for good.

use ipam_api::{ForgetDryRun, Node, Page};

use super::Cursor;
use super::cursor::{of_names, page_of};
use super::database::Database;
use super::reads::shown;
use super::releases::Holdings;
use super::retry::{finish, retry};
use super::rows::{AttachmentRow, HeldRow};
use super::shown::node_of;
use super::statements::{NodeStatements, PoolStatements, Statements};
use crate::error::{Error, Result};

/// Attachments per transaction.
const PAGE: i64 = 500;
/// Leases that a dry run shows.
const SHOWN_MAX: usize = 100;
/// Steps of a removal that find something though all that the node held was found before: claims that were on their way make
/// one or two, only a machine that lives makes more and more.
const LATE_STEPS: usize = 20;

/// Where a walk over a node's attachments is: (network, container_id, ifname).
type Place = (String, String, String);

/// See [`super::Store::nodes`].
pub(super) async fn list<D: Database>(
    db: &D,
    cluster: Option<&str>,
    cursor: &Cursor,
) -> Result<Page<Node>> {
    retry::<D, _, _>("list_nodes", || async {
        let mut tx = db.read().await?;
        let outcome = page(&mut tx, cluster, cursor).await;
        finish::<D, _>(tx, outcome).await
    })
    .await
}

async fn page<T: Statements>(
    tx: &mut T,
    cluster: Option<&str>,
    cursor: &Cursor,
) -> Result<Page<Node>> {
    let (after_cluster, after_name) = cursor.after_names()?;
    let after = (after_cluster.as_str(), after_name.as_str());
    let views = (tx.view_nodes(cluster, None, after, cursor.rows())).await?;
    page_of(
        cursor,
        views,
        |view| of_names(&view.node.cluster, &view.node.name),
        |view| Ok(node_of(view)),
    )
}

/// See [`super::Store::node`].
pub(super) async fn show<D: Database>(db: &D, cluster: &str, name: &str) -> Result<Node> {
    retry::<D, _, _>("show_node", || async {
        let mut tx = db.read().await?;
        let found = (tx.view_nodes(Some(cluster), Some(name), ("", ""), 1)).await;
        finish::<D, _>(tx, found.map_err(Error::from)).await
    })
    .await?
    .pop()
    .map(node_of)
    .ok_or_else(|| not_found(cluster, name))
}

/// See [`super::Store::try_forget_node`].
pub(super) async fn try_forget<D: Database>(
    db: &D,
    cluster: &str,
    name: &str,
) -> Result<ForgetDryRun> {
    retry::<D, _, _>("try_forget_node", || async {
        let mut tx = db.read().await?;
        let outcome = look(&mut tx, cluster, name).await;
        finish::<D, _>(tx, outcome).await
    })
    .await
}

async fn look<T: Statements>(tx: &mut T, cluster: &str, name: &str) -> Result<ForgetDryRun> {
    let (mut total, mut first) = (0, Vec::new());
    let mut place = Some(Place::default());
    while let Some(after) = place {
        let holders = holders(tx, cluster, name, &after).await?;
        let ids: Vec<_> = holders.iter().map(|row| row.id).collect();
        for lease in tx.leases_of(&ids).await? {
            total += 1;
            let holder = holders.iter().find(|row| row.id == lease.attachment_id);
            if let (true, Some(attachment)) = (first.len() < SHOWN_MAX, holder) {
                let attachment = attachment.clone();
                first.push(HeldRow { lease, attachment });
            }
        }
        place = next(&holders);
    }
    let is_known = !tx
        .view_nodes(Some(cluster), Some(name), ("", ""), 1)
        .await?
        .is_empty();
    if total == 0 && !is_known {
        return Err(not_found(cluster, name));
    }
    Ok(ForgetDryRun {
        leases_freed_total: total,
        leases_freed: shown(tx, &first).await?,
    })
}

/// See [`super::Store::forget_node`].
pub(super) async fn forget<D: Database>(db: &D, cluster: &str, name: &str) -> Result<u64> {
    let (mut released, mut late_steps) = (0, 0);
    loop {
        let step = retry::<D, _, _>("forget_node", || async {
            let mut tx = db.begin().await?;
            let outcome = forget_step(&mut tx, db, cluster, name).await;
            finish::<D, _>(tx, outcome).await
        })
        .await?;
        match step {
            Step::Freed { leases, all } => {
                released += leases;
                late_steps += usize::from(all || late_steps > 0);
            }
            Step::Over { was_known: false } if released == 0 => {
                return Err(not_found(cluster, name));
            }
            Step::Over { .. } => return Ok(released),
        }
        if late_steps > LATE_STEPS {
            return Err(goes_on(cluster, name, released));
        }
    }
}

enum Step {
    Freed {
        leases: u64,
        /// Whether the node held no more than that.
        all: bool,
    },
    /// Nothing was left, and the node is deleted. Only then, so that a repeat finds the node whatever happened on the way.
    Over { was_known: bool },
}

/// Frees what some of the node's attachments hold. What was freed is not found again, and what was claimed meanwhile is,
/// wherever it sorts.
async fn forget_step<D: Database>(
    tx: &mut D::Tx,
    db: &D,
    cluster: &str,
    name: &str,
) -> Result<Step> {
    let known = tx.nodes(&[(cluster.to_owned(), name.to_owned())]).await?;
    if !known.is_empty() {
        // A claim that brings the node's machine or boot is waited for, and seen.
        let now = tx.wall_clock().await?;
        tx.lock_node(cluster, name, now).await?;
    }
    let holders = holders(tx, cluster, name, &Place::default()).await?;
    if holders.is_empty() {
        let was_known = tx.delete_node(cluster, name).await?;
        return Ok(Step::Over { was_known });
    }
    let keys: Vec<_> = holders.iter().map(AttachmentRow::key).collect();
    let mut holdings = Holdings::lock(tx, keys.iter().cloned(), &[]).await?;
    let freed = keys.iter().map(|key| holdings.change(key, |_| true)).sum();
    holdings.settle(tx, db.clock(), "forgotten").await?;
    Ok(Step::Freed {
        leases: freed,
        all: next(&holders).is_none(),
    })
}

async fn holders<T: Statements>(
    tx: &mut T,
    cluster: &str,
    name: &str,
    (network, container_id, ifname): &Place,
) -> Result<Vec<AttachmentRow>> {
    let after = (network.as_str(), container_id.as_str(), ifname.as_str());
    Ok(tx.holders_of(cluster, name, after, PAGE).await?)
}

/// Where the next page begins; none after the last.
fn next(page: &[AttachmentRow]) -> Option<Place> {
    let last = page.last().filter(|_| page.len() as i64 == PAGE)?;
    let key = last.key();
    Some((key.network, key.container_id, key.ifname))
}

fn goes_on(cluster: &str, name: &str, released: u64) -> Error {
    Error::NodeNameConflict {
        cluster: cluster.to_owned(),
        node: name.to_owned(),
        detail: format!(
            "it goes on claiming while it is forgotten ({released} lease(s) were freed); stop it first"
        ),
    }
}

fn not_found(cluster: &str, name: &str) -> Error {
    Error::NodeNotFound {
        cluster: cluster.to_owned(),
        name: name.to_owned(),
    }
}
