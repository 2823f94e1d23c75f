//! Releases: a batch of them in one transaction, always by attachment. What is unknown succeeds.

use std::collections::{BTreeMap, BTreeSet};

use ipam_api::Attachment;
use uuid::Uuid;

use super::Releasing;
use super::books::Books;
use super::changes::Changes;
use super::clock::Clock;
use super::database::Database;
use super::moment::Moment;
use super::nodes::{self, Identity};
use super::order::{self, IssuedIn};
use super::retry::{begin, finish, retry};
use super::rows::{AttachmentRow, LeaseRow, parse_public_id};
use super::statements::{Ahead, Statements};
use crate::error::{Error, Result};

/// See [`super::Begun::release`].
pub(super) async fn release<D: Database>(
    db: &D,
    begun: D::Tx,
    releases: &[Releasing],
) -> Vec<Result<u64>> {
    match batch(db, Some(begun), releases).await {
        Ok(counts) => counts.into_iter().map(Ok).collect(),
        Err(error) if releases.len() == 1 => vec![Err(error)],
        Err(error @ Error::Unavailable { .. }) => error.for_each_of(releases.len()),
        Err(error) => {
            tracing::warn!(%error, releases = releases.len(), "a batch failed; its releases are tried one by one");
            let mut answers = Vec::with_capacity(releases.len());
            for release in releases {
                let alone = batch(db, None, std::slice::from_ref(release)).await;
                answers.push(alone.map(|counts| counts.iter().sum()));
            }
            answers
        }
    }
}

/// `begun`: a transaction for the first try; otherwise it begins its own.
async fn batch<D: Database>(
    db: &D,
    mut begun: Option<D::Tx>,
    releases: &[Releasing],
) -> Result<Vec<u64>> {
    retry::<D, _, _>("release", || {
        let begun = begun.take();
        async {
            let mut tx = begin(db, begun).await?;
            let outcome = work(&mut tx, db.clock(), releases).await;
            finish::<D, _>(tx, outcome).await
        }
    })
    .await
}

async fn work<T: Statements>(
    tx: &mut T,
    clock: &Clock,
    releases: &[Releasing],
) -> Result<Vec<u64>> {
    let keys = releases.iter().map(|one| one.release.attachment());
    let identities: Vec<_> = releases.iter().map(identity).collect();
    let nodes = nodes::names(identities.iter());
    let mut holdings = Holdings::lock(tx, keys, &nodes).await?;
    // After the locks: a claim of the node's next boot may have been waited for, and it commits its boot with itself.
    let boots = boots_of(tx, releases, &identities).await?;
    let mut counts = Vec::with_capacity(releases.len());
    for (one, boot) in releases.iter().zip(boots) {
        let key = one.release.attachment();
        let count = holdings.change(&key, |row| {
            let frees = order::frees(row, &one.release, boot);
            order::note_release(row, &one.release, boot);
            frees
        });
        counts.push(count);
    }
    holdings.settle(tx, clock, "release").await?;
    Ok(counts)
}

/// For each release which boot of its node it was issued in.
async fn boots_of<T: Statements>(
    tx: &mut T,
    releases: &[Releasing],
    identities: &[Identity<'_>],
) -> Result<Vec<IssuedIn>> {
    let known = nodes::known_nodes(tx, identities).await?;
    let mut boots = BTreeMap::new();
    for identity in identities {
        if !boots.contains_key(identity) {
            let name = (identity.cluster.to_owned(), identity.node.to_owned());
            let node = known.get(&name);
            let boot = if nodes::has_left(tx, node, identity.boot_id).await? {
                IssuedIn::Left
            } else if node.is_some_and(|node| node.disputed_at.is_some()) {
                IssuedIn::Disputed
            } else {
                IssuedIn::Present
            };
            boots.insert(*identity, boot);
        }
    }
    Ok((releases.iter().zip(identities))
        .map(|(one, identity)| match boots.get(identity) {
            Some(boot) if !one.earlier_boot => *boot,
            _ => IssuedIn::Left,
        })
        .collect())
}

fn identity(one: &Releasing) -> Identity<'_> {
    Identity {
        cluster: &one.release.cluster,
        node: &one.release.node,
        machine_id: None,
        boot_id: one.release.boot_id.as_deref(),
    }
}

/// Attachments whose rows are locked, with what they hold.
pub(super) struct Holdings {
    by_key: BTreeMap<Attachment, Holding>,
}

struct Holding {
    row: AttachmentRow,
    inserted: bool,
    noted: bool,
    leases: Vec<LeaseRow>,
    freed: Vec<LeaseRow>,
}

impl Holdings {
    /// Locks the attachments in the order of their keys; unknown ones get a row, so that a claim which comes late meets it.
    /// `nodes` are those that will be asked for next, by (cluster, name).
    pub(super) async fn lock<T: Statements>(
        tx: &mut T,
        keys: impl Iterator<Item = Attachment>,
        nodes: &[(String, String)],
    ) -> Result<Self> {
        let keys: BTreeSet<_> = keys.collect();
        let keys = Vec::from_iter(keys);
        let rows: Vec<_> = keys.iter().map(AttachmentRow::new).collect();
        let mut next = vec![Ahead::Attachments(&rows), Ahead::LeasesOf(&keys)];
        if !nodes.is_empty() {
            next.push(Ahead::Nodes(nodes));
        }
        tx.ahead(&next).await?;
        let known = tx.upsert_attachments(&rows).await?;
        let mut leases: BTreeMap<Uuid, Vec<LeaseRow>> = BTreeMap::new();
        for lease in tx.leases_of_keys(&keys).await? {
            leases.entry(lease.attachment_id).or_default().push(lease);
        }
        let mut known: BTreeMap<_, _> = (known.into_iter()).map(|row| (row.key(), row)).collect();
        let by_key = (rows.into_iter())
            .map(|given| {
                let known = known.remove(&given.key());
                let inserted = known.is_none();
                let row = known.unwrap_or(given);
                let holding = Holding {
                    inserted,
                    noted: false,
                    leases: leases.remove(&row.id).unwrap_or_default(),
                    freed: Vec::new(),
                    row,
                };
                (holding.row.key(), holding)
            })
            .collect();
        Ok(Self { by_key })
    }

    /// Lets `verb` note itself on the attachment's row and decide whether what it holds is freed; how many leases are.
    pub(super) fn change(
        &mut self,
        key: &Attachment,
        verb: impl FnOnce(&mut AttachmentRow) -> bool,
    ) -> u64 {
        let Some(holding) = self.by_key.get_mut(key) else {
            return 0;
        };
        let before = holding.row.clone();
        let frees = verb(&mut holding.row);
        holding.noted |= holding.row != before;
        if !frees {
            return 0;
        }
        let count = holding.leases.len() as u64;
        holding.freed.append(&mut holding.leases);
        count
    }

    /// When the attachment's oldest lease was made.
    pub(super) fn held_since(&self, key: &Attachment) -> Option<Moment> {
        let holding = self.by_key.get(key)?;
        holding.leases.iter().map(|lease| lease.created_at).min()
    }

    /// Until when what the attachment holds is quarantined.
    pub(super) fn quarantined_until(&self, key: &Attachment) -> Option<Moment> {
        let leases = &self.by_key.get(key)?.leases;
        leases
            .iter()
            .filter_map(|lease| lease.quarantined_until)
            .max()
    }

    /// Begins, or with none ends, the quarantine of what those attachments hold that are `chosen`. One that has begun stays
    /// as it is.
    pub(super) async fn quarantine<T: Statements>(
        self,
        tx: &mut T,
        clock: &Clock,
        until: Option<Moment>,
        chosen: impl Fn(&AttachmentRow) -> bool,
    ) -> Result<()> {
        let (mut ids, mut leases) = (Vec::new(), Vec::new());
        let (mut changed, mut unmarked) = (Vec::new(), Vec::new());
        for holding in self.by_key.into_values() {
            if holding.inserted {
                unmarked.push(holding.row.id);
                continue;
            }
            if chosen(&holding.row) {
                let changes =
                    |lease: &LeaseRow| lease.quarantined_until.is_some() != until.is_some();
                let before = leases.len();
                leases.extend(holding.leases.into_iter().filter(changes));
                if leases.len() > before {
                    ids.push(holding.row.id);
                }
            }
            if holding.noted {
                changed.push(holding.row);
            }
        }
        let mut books = Books::open(tx, clock, &pools_of(&leases)).await?;
        for lease in &leases {
            if let Some(ledger) = books.get(lease.pool_id) {
                ledger.quarantine(lease, until);
            }
        }
        let changes = Changes {
            attachments: changed,
            ..books.close()
        };
        tx.write(&changes).await?;
        tx.quarantine_leases(&ids, until).await?;
        tx.delete_attachments(&unmarked).await?;
        Ok(())
    }

    /// Frees only the lease of this entry; false when it is not held.
    fn free_entry(&mut self, key: &Attachment, id: Uuid, entry: i32) -> bool {
        let Some(holding) = self
            .by_key
            .get_mut(key)
            .filter(|holding| holding.row.id == id)
        else {
            return false;
        };
        let Some(index) = (holding.leases.iter()).position(|lease| lease.entry == entry) else {
            return false;
        };
        holding.freed.push(holding.leases.remove(index));
        true
    }

    /// Writes it all, as the last of the transaction: the freed leases' lives to the history, their addresses to free space, the marks to the rows.
    pub(super) async fn settle<T: Statements>(
        self,
        tx: &mut T,
        clock: &Clock,
        reason: &str,
    ) -> Result<()> {
        let freed: Vec<LeaseRow> = (self.by_key.values())
            .flat_map(|holding| holding.freed.iter().cloned())
            .collect();
        let mut books = Books::open(tx, clock, &pools_of(&freed)).await?;
        for lease in &freed {
            if let Some(ledger) = books.get(lease.pool_id) {
                ledger.give_back(lease);
            }
        }
        let now = books.now;
        let (mut changed, mut unmarked) = (Vec::new(), Vec::new());
        for mut holding in self.by_key.into_values() {
            // A newer mark is kept as long as a first one.
            let marked = holding.noted || holding.row.released_at.is_none();
            if holding.leases.is_empty() && marked {
                holding.row.released_at = Some(now);
                holding.noted = true;
            }
            if holding.inserted && holding.row.release_issued.is_none() {
                unmarked.push(holding.row.id);
            } else if holding.noted {
                changed.push(holding.row);
            }
        }
        let changes = Changes {
            attachments: changed,
            ..books.close()
        };
        tx.delete_attachments(&unmarked).await?;
        tx.write_last(&freed, now, reason, &changes).await?;
        Ok(())
    }
}

/// The pools that these leases are of, from which nothing is wanted.
fn pools_of(leases: &[LeaseRow]) -> BTreeMap<i64, usize> {
    leases.iter().map(|lease| (lease.pool_id, 0)).collect()
}

/// See [`super::Store::release_lease`].
pub(super) async fn release_lease<D: Database>(db: &D, id: &str) -> Result<()> {
    retry::<D, _, _>("release_lease", || async {
        let mut tx = db.begin().await?;
        let outcome = release_one(&mut tx, db.clock(), id).await;
        finish::<D, _>(tx, outcome).await
    })
    .await
}

async fn release_one<T: Statements>(tx: &mut T, clock: &Clock, id: &str) -> Result<()> {
    let not_found = || Error::LeaseNotFound(id.to_owned());
    let (attachment_id, entry) = parse_public_id(id).ok_or_else(not_found)?;
    let seen = tx
        .lease_by_key(attachment_id, entry)
        .await?
        .ok_or_else(not_found)?;
    let key = seen.attachment.key();
    let mut holdings = Holdings::lock(tx, std::iter::once(key.clone()), &[]).await?;
    // It may have been released, and the attachment claimed anew, until the row was locked.
    if !holdings.free_entry(&key, attachment_id, entry) {
        return Err(not_found());
    }
    holdings.settle(tx, clock, "admin").await
}
