//! GC: frees what a node holds on a network and its runtime does not know any more.
//!
//! Attachments are selected without locks, a page at a time; each page is a transaction that locks them in the order of
//! their keys and decides again. So a claim that commits meanwhile is seen, and a long list holds no lock for long.

use std::collections::HashSet;

use ipam_api::{Attachment, GcRequest};

use super::clock::Clock;
use super::database::Database;
use super::moment::Moment;
use super::nodes::{self, Identity};
use super::order;
use super::releases::Holdings;
use super::retry::{finish, retry};
use super::rows::AttachmentRow;
use super::statements::{PoolStatements, Statements};
use crate::error::{Error, Result};

/// Attachments per transaction.
const PAGE: i64 = 500;

/// See [`super::Store::collect`].
pub(super) async fn collect<D: Database>(db: &D, gc: &GcRequest) -> Result<u64> {
    let valid: HashSet<(&str, &str)> = (gc.valid.iter())
        .map(|valid| (valid.container_id.as_str(), valid.ifname.as_str()))
        .collect();
    let arrival = retry::<D, _, _>("collect", || now(db)).await?;
    let mut after = (String::new(), String::new());
    let mut released = 0;
    loop {
        let page = || collect_page(db, gc, &valid, &after, arrival);
        let page = retry::<D, _, _>("collect", page).await?;
        released += page.released;
        match page.last {
            Some(last) => after = last,
            None => return Ok(released),
        }
    }
}

async fn now<D: Database>(db: &D) -> Result<Moment> {
    let mut tx = db.read().await?;
    let now = tx.wall_clock().await;
    finish::<D, _>(tx, now.map_err(Error::from)).await
}

struct Page {
    released: u64,
    /// The last attachment that was looked at; none when there are no more.
    last: Option<(String, String)>,
}

async fn collect_page<D: Database>(
    db: &D,
    gc: &GcRequest,
    valid: &HashSet<(&str, &str)>,
    after: &(String, String),
    arrival: Moment,
) -> Result<Page> {
    let mut tx = db.begin().await?;
    let outcome = work(&mut tx, db.clock(), gc, valid, after, arrival).await;
    finish::<D, _>(tx, outcome).await?
}

/// A page; or within the success, so that what was noted of its node is committed, why the GC is refused.
async fn work<T: Statements>(
    tx: &mut T,
    clock: &Clock,
    gc: &GcRequest,
    valid: &HashSet<(&str, &str)>,
    after: &(String, String),
    arrival: Moment,
) -> Result<Result<Page>> {
    let admission = nodes::admit(tx, &[(identity(gc), gc.issued)]).await?;
    if let Some(refusal) = admission.answers.into_values().find_map(Result::err) {
        return Ok(Err(refusal));
    }
    if let Err(refusal) = nodes::check_undisputed(tx, identity(gc)).await? {
        return Ok(Err(refusal));
    }
    let after = (after.0.as_str(), after.1.as_str());
    let holders = (tx.holders_on(&gc.cluster, &gc.node, &gc.network, after, PAGE)).await?;
    let last = (holders.last()).filter(|_| holders.len() as i64 == PAGE);
    let last = last.map(|row| (row.container_id.clone(), row.ifname.clone()));
    let suspects: Vec<Attachment> = (holders.iter())
        .filter(|row| !valid.contains(&(row.container_id.as_str(), row.ifname.as_str())))
        .filter(|row| order::is_garbage(row, gc))
        .map(AttachmentRow::key)
        .collect();
    let mut released = 0;
    if !suspects.is_empty() {
        let mut holdings = Holdings::lock(tx, suspects.iter().cloned(), &[]).await?;
        nodes::check_presence(tx, identity(gc)).await??;
        nodes::check_undisputed(tx, identity(gc)).await??;
        for key in &suspects {
            let held_since = holdings.held_since(key);
            released += holdings.change(key, |row| {
                let arrived_before = held_since.is_some_and(|since| since < arrival);
                let is_garbage =
                    order::is_garbage(row, gc) && (arrived_before || order::is_ordered(row, gc));
                if is_garbage {
                    order::note_collected(row, gc);
                }
                is_garbage
            });
        }
        holdings.settle(tx, clock, "gc").await?;
    }
    Ok(Ok(Page { released, last }))
}

fn identity(gc: &GcRequest) -> Identity<'_> {
    Identity {
        cluster: &gc.cluster,
        node: &gc.node,
        machine_id: gc.machine_id.as_deref(),
        boot_id: gc.boot_id.as_deref(),
    }
}
