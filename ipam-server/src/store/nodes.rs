//! One name, one machine: which machine and which boot a node's name stands for.

use std::collections::{BTreeMap, BTreeSet};

use super::boots::Stranger;
use super::moment::Moment;
use super::rows::NodeRow;
use super::statements::{Answer, Statements};
use crate::error::{Error, Result};

/// Who says that it is a node; callers that are not plugins leave out machine and boot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Identity<'a> {
    pub(super) cluster: &'a str,
    pub(super) node: &'a str,
    pub(super) machine_id: Option<&'a str>,
    pub(super) boot_id: Option<&'a str>,
}

impl Identity<'_> {
    fn name(&self) -> (String, String) {
        (self.cluster.to_owned(), self.node.to_owned())
    }

    fn is_known_as(&self, row: &NodeRow) -> bool {
        let same = |said: Option<&str>, known: &Option<String>| {
            said.is_none_or(|said| known.as_deref() == Some(said))
        };
        same(self.machine_id, &row.machine_id) && same(self.boot_id, &row.boot_id)
    }

    fn conflict(&self, detail: String) -> Error {
        Error::NodeNameConflict {
            cluster: self.cluster.to_owned(),
            node: self.node.to_owned(),
            detail,
        }
    }
}

/// What is said to those who ask.
pub(super) struct Admission<'a> {
    /// The refusal for each identity that is a second machine with one name.
    pub(super) answers: BTreeMap<Identity<'a>, Result<()>>,
    /// Whether a node was noted anew: to be committed, though the verbs that showed it be refused. Otherwise a machine that
    /// has rebooted and finds the pools filled by its boot before would never be known to have left that.
    pub(super) noted: bool,
}

/// Takes note of machines and boots.
///
/// Each identity comes with when its verb was issued. Costs one read without a lock when nothing is new, which is nearly
/// always.
pub(super) async fn admit<'a, T: Statements>(
    tx: &mut T,
    verbs: &[(Identity<'a>, Option<i64>)],
) -> Answer<Admission<'a>> {
    let identities: Vec<_> = verbs.iter().map(|(identity, _)| *identity).collect();
    let known = known_nodes(tx, &identities).await?;
    let (mut answers, mut noted) = (BTreeMap::new(), false);
    // In the order of names, because rows are locked on the way; of one name in the order of arrival.
    let mut in_order = verbs.to_vec();
    in_order.sort_by_key(|(identity, _)| (identity.cluster, identity.node));
    for (identity, issued) in in_order {
        if answers.contains_key(&identity) {
            continue;
        }
        let says_nothing = identity.machine_id.is_none() && identity.boot_id.is_none();
        let row = known.get(&identity.name());
        if says_nothing || row.is_some_and(|row| identity.is_known_as(row)) {
            answers.insert(identity, Ok(()));
        } else {
            // The node's lock comes before those that were asked for ahead.
            tx.forget_ahead().await?;
            let entry = introduce(tx, identity, issued).await?;
            noted |= matches!(entry, Entry::Noted | Entry::Disputes(_));
            answers.insert(identity, entry.answer());
        }
    }
    Ok(Admission { answers, noted })
}

/// Refuses an identity whose boot is not the node's present one (any more).
///
/// For after the locks of attachments, where the node itself must not be locked any more: a claim of the node's next boot
/// may have been waited for, and it commits that boot together with its leases.
pub(super) async fn check_presence<T: Statements>(
    tx: &mut T,
    identity: Identity<'_>,
) -> Answer<Result<()>> {
    let Some(said) = identity.boot_id else {
        return Ok(Ok(()));
    };
    let known = known_nodes(tx, &[identity]).await?;
    let present = known
        .get(&identity.name())
        .and_then(|node| node.boot_id.as_deref());
    if present.is_none_or(|present| present == said) {
        return Ok(Ok(()));
    }
    let present = present.unwrap_or_default();
    Ok(Err(identity.conflict(format!(
        "boot {said} asks, but the node is in boot {present} by now"
    ))))
}

/// Refuses who wants to free or to take over what other boots of the node hold, when two of them live at once.
pub(super) async fn check_undisputed<T: Statements>(
    tx: &mut T,
    identity: Identity<'_>,
) -> Answer<Result<()>> {
    let known = known_nodes(tx, &[identity]).await?;
    let is_disputed = known.values().any(|node| node.disputed_at.is_some());
    Ok(match is_disputed {
        true => Err(identity.conflict(
            "two machines use the name: nothing is freed or handed on until the node is forgotten"
                .to_owned(),
        )),
        false => Ok(()),
    })
}

/// Whether the boot is one that the node has left.
pub(super) async fn has_left<T: Statements>(
    tx: &mut T,
    node: Option<&NodeRow>,
    boot_id: Option<&str>,
) -> Answer<bool> {
    let (Some(node), Some(boot_id)) = (node, boot_id) else {
        return Ok(false);
    };
    if node.boot_id.as_deref() == Some(boot_id) {
        return Ok(false);
    }
    let boots = tx.boots(&node.cluster, &node.name).await?;
    Ok(boots.iter().any(|seen| seen.boot_id == boot_id))
}

/// The names, as (cluster, name), in order.
pub(super) fn names<'a>(
    identities: impl Iterator<Item = &'a Identity<'a>>,
) -> Vec<(String, String)> {
    let names: BTreeSet<_> = identities.map(Identity::name).collect();
    names.into_iter().collect()
}

/// The nodes of these identities that are known, by (cluster, name).
pub(super) async fn known_nodes<T: Statements>(
    tx: &mut T,
    identities: &[Identity<'_>],
) -> Answer<BTreeMap<(String, String), NodeRow>> {
    let rows = tx.nodes(&names(identities.iter())).await?;
    Ok((rows.into_iter())
        .map(|row| ((row.cluster.clone(), row.name.clone()), row))
        .collect())
}

/// What comes of an identity that was not known as it is.
enum Entry {
    /// It has become known meanwhile.
    Known,
    /// It is admitted, and noted.
    Noted,
    Refused(Error),
    /// It is refused, and its node is disputed from now on.
    Disputes(Error),
}

impl Entry {
    fn answer(self) -> Result<()> {
        match self {
            Self::Known | Self::Noted => Ok(()),
            Self::Refused(error) | Self::Disputes(error) => Err(error),
        }
    }
}

async fn introduce<T: Statements>(
    tx: &mut T,
    identity: Identity<'_>,
    issued: Option<i64>,
) -> Answer<Entry> {
    let asked_at = tx.wall_clock().await?;
    let mut row = (tx.lock_node(identity.cluster, identity.node, asked_at)).await?;
    // The present boot may have been noted while the node was waited for: before this, or the clock would look set back.
    let now: Moment = tx.wall_clock().await?;
    if identity.is_known_as(&row) {
        return Ok(Entry::Known);
    }
    if let (Some(said), Some(known)) = (identity.machine_id, row.machine_id.as_deref())
        && said != known
    {
        return Ok(Entry::Refused(identity.conflict(format!(
            "machine {said} uses the name of machine {known}; give each machine a name of its own"
        ))));
    }
    if let Some(said) = identity
        .boot_id
        .filter(|boot| row.boot_id.as_deref() != Some(*boot))
    {
        let boots = tx.boots(identity.cluster, identity.node).await?;
        let verb = Stranger {
            issued,
            now,
            node: &row,
            boots: &boots,
        };
        if let Some(boot) = boots.iter().find(|seen| seen.boot_id == said) {
            let lives_on = !verb.was_on_its_way(boot);
            return come_back(tx, identity, row, lives_on.then_some(now)).await;
        }
        if verb.is_surely_earlier() {
            let present = row.boot_id.unwrap_or_default();
            return Ok(Entry::Refused(identity.conflict(format!(
                "boot {said} began before boot {present}, which the node is in: it is over"
            ))));
        }
        row.booted_at = verb.booted_at();
        // Only a machine that is known to be the same one proves by its new boot that the one before is over; and not while
        // two of them live at once.
        if row.boot_id.is_some()
            && row.machine_id.is_some()
            && identity.machine_id.is_some()
            && row.disputed_at.is_none()
        {
            row.reclaim_at = Some(now);
        }
        row.boot_id = Some(said.to_owned());
    }
    if row.machine_id.is_none() {
        row.machine_id = identity.machine_id.map(str::to_owned);
    }
    tx.save_node(&row, now).await?;
    Ok(Entry::Noted)
}

/// Refuses a boot that was followed by another. `living_at`: it lives beside that one.
async fn come_back<T: Statements>(
    tx: &mut T,
    identity: Identity<'_>,
    mut row: NodeRow,
    living_at: Option<Moment>,
) -> Answer<Entry> {
    let said = identity.boot_id.unwrap_or_default();
    let present = row.boot_id.clone().unwrap_or_default();
    let error = identity.conflict(format!(
        "boot {said} is back after boot {present} was seen: two machines use the name (or it was reverted to a snapshot); give each its own"
    ));
    let Some(now) = living_at.filter(|_| row.disputed_at.is_none()) else {
        return Ok(Entry::Refused(error));
    };
    row.disputed_at = Some(now);
    // For the quarantines that the present boot has begun: they are ended.
    row.reclaim_at = Some(now);
    tx.save_node(&row, now).await?;
    Ok(Entry::Disputes(error))
}
