//! Reading leases and their past.

use std::collections::HashMap;
use std::net::IpAddr;

use ipam_api::{CheckAnswer, CheckRequest, HistoryEntry, Lease, Page};
use time::OffsetDateTime;

use super::addr::Addr;
use super::cursor::{of_address, of_time, page_of};
use super::database::Database;
use super::moment::Moment;
use super::pools::{find, find_vrf};
use super::reclaim;
use super::retry::{finish, retry};
use super::rows::{HeldRow, LeaseQuery, PoolRow, parse_public_id};
use super::shown::{lease_of, past_of, present_of};
use super::statements::Statements;
use super::{Cursor, LeaseFilter};
use crate::error::{Error, Result};

pub(super) async fn check<D: Database>(db: &D, check: &CheckRequest) -> Result<CheckAnswer> {
    let mut answer = retry::<D, _, _>("check", || async {
        let mut tx = db.read().await?;
        let outcome = compare(&mut tx, check).await;
        finish::<D, _>(tx, outcome).await
    })
    .await?;
    let mut held = answer.leases.iter_mut();
    if answer.ok && held.any(|lease| lease.quarantined_until.is_some()) {
        reclaim::keep(db, &check.attachment).await?;
        for lease in &mut answer.leases {
            lease.quarantined_until = None;
        }
    }
    Ok(answer)
}

async fn compare<T: Statements>(tx: &mut T, check: &CheckRequest) -> Result<CheckAnswer> {
    let key = &check.attachment;
    refuse_nul(&[
        ("attachment.cluster", Some(&key.cluster)),
        ("attachment.node", Some(&key.node)),
        ("attachment.network", Some(&key.network)),
        ("attachment.container_id", Some(&key.container_id)),
        ("attachment.ifname", Some(&key.ifname)),
    ])?;
    let attachments = tx.find_attachments(std::slice::from_ref(key)).await?;
    let mut held = Vec::new();
    for attachment in attachments {
        for lease in tx.leases_of(&[attachment.id]).await? {
            held.push(HeldRow {
                lease,
                attachment: attachment.clone(),
            });
        }
    }
    let missing: Vec<_> = check
        .addresses
        .iter()
        .filter(|asked| {
            let asked = Addr::from(**asked);
            held.iter().all(|held| held.lease.address != asked)
        })
        .copied()
        .collect();
    Ok(CheckAnswer {
        ok: missing.is_empty() && !held.is_empty(),
        missing,
        leases: shown(tx, &held).await?,
    })
}

/// Leases with what their pools give to them.
pub(super) async fn shown<T: Statements>(tx: &mut T, held: &[HeldRow]) -> Result<Vec<Lease>> {
    let pools = pools_of(tx, held).await?;
    held.iter()
        .map(|held| {
            let pool = pools.get(&held.lease.pool_id).ok_or_else(|| orphan(held))?;
            lease_of(&held.lease, &held.attachment, pool)
        })
        .collect()
}

async fn pools_of<T: Statements>(tx: &mut T, held: &[HeldRow]) -> Result<HashMap<i64, PoolRow>> {
    let mut ids: Vec<_> = held.iter().map(|held| held.lease.pool_id).collect();
    ids.sort_unstable();
    ids.dedup();
    let pools = tx.pools_by_id(&ids).await?;
    Ok(pools.into_iter().map(|pool| (pool.id, pool)).collect())
}

fn orphan(held: &HeldRow) -> Error {
    Error::internal(format!(
        "the lease of {} is of pool id {}, which is not there",
        held.lease.address, held.lease.pool_id
    ))
}

pub(super) async fn leases<D: Database>(
    db: &D,
    filter: &LeaseFilter,
    cursor: &Cursor,
) -> Result<Page<Lease>> {
    retry::<D, _, _>("list_leases", || async {
        let mut tx = db.read().await?;
        let outcome = list(&mut tx, filter, cursor).await;
        finish::<D, _>(tx, outcome).await
    })
    .await
}

async fn list<T: Statements>(
    tx: &mut T,
    filter: &LeaseFilter,
    cursor: &Cursor,
) -> Result<Page<Lease>> {
    let rows = match query(tx, filter, cursor).await? {
        Some(query) => tx.list_leases(&query).await?,
        None => Vec::new(),
    };
    let pools = pools_of(tx, &rows).await?;
    page_of(
        cursor,
        rows,
        |held| of_address((held.lease.vrf_id, held.lease.address)),
        |held| {
            let pool = pools
                .get(&held.lease.pool_id)
                .ok_or_else(|| orphan(&held))?;
            lease_of(&held.lease, &held.attachment, pool)
        },
    )
}

/// The filter in the database's words; nothing when no lease can match it.
async fn query<T: Statements>(
    tx: &mut T,
    filter: &LeaseFilter,
    cursor: &Cursor,
) -> Result<Option<LeaseQuery>> {
    let after = cursor.after_address()?;
    let LeaseFilter {
        vrf,
        pool,
        cluster,
        node,
        network,
        container_id,
        address,
        owner,
        pod,
        quarantined,
    } = filter;
    refuse_nul(&[
        ("cluster", cluster.as_ref()),
        ("node", node.as_ref()),
        ("network", network.as_ref()),
        ("container_id", container_id.as_ref()),
        ("pod", pod.as_ref()),
    ])?;
    let vrf_id = match vrf {
        Some(vrf) => Some(find_vrf(tx, vrf).await?),
        None => None,
    };
    let pool = match pool {
        Some(pool) => Some(find(tx, pool).await?),
        None => None,
    };
    let is_elsewhere = pool
        .as_ref()
        .is_some_and(|pool| vrf_id.is_some_and(|id| id != pool.vrf_id));
    // No lease has an owner yet.
    if is_elsewhere || owner.is_some() {
        return Ok(None);
    }
    let between = match (address, &pool) {
        (Some(address), _) => Some((Addr::from(*address), Addr::from(*address))),
        (None, Some(pool)) => Some((pool.subnet_first, pool.subnet_last)),
        (None, None) => None,
    };
    let (pod_namespace, pod_name) = match pod.as_deref().map(|pod| pod.split_once('/')) {
        Some(Some((namespace, name))) => (Some(namespace.to_owned()), Some(name.to_owned())),
        Some(None) => (None, pod.clone()),
        None => (None, None),
    };
    Ok(Some(LeaseQuery {
        vrf_id: vrf_id.or(pool.as_ref().map(|pool| pool.vrf_id)),
        pool_id: pool.as_ref().map(|pool| pool.id),
        between,
        cluster: cluster.clone(),
        node: node.clone(),
        network: network.clone(),
        container_id: container_id.clone(),
        quarantined: *quarantined,
        pod_namespace,
        pod_name,
        after,
        limit: cursor.rows(),
    }))
}

/// PostgreSQL cannot take a NUL in text; nothing that is stored has one.
fn refuse_nul(fields: &[(&str, Option<&String>)]) -> Result<()> {
    for (field, value) in fields {
        if value.is_some_and(|value| value.contains('\0')) {
            return Err(Error::Invalid(format!("{field}: holds a NUL character")));
        }
    }
    Ok(())
}

pub(super) async fn lease<D: Database>(db: &D, id: &str) -> Result<Lease> {
    retry::<D, _, _>("lease", || async {
        let mut tx = db.read().await?;
        let outcome = one(&mut tx, id).await;
        finish::<D, _>(tx, outcome).await
    })
    .await
}

async fn one<T: Statements>(tx: &mut T, id: &str) -> Result<Lease> {
    let not_found = || Error::LeaseNotFound(id.to_owned());
    let (attachment_id, entry) = parse_public_id(id).ok_or_else(not_found)?;
    let held = tx.lease_by_key(attachment_id, entry).await?;
    let shown = shown(tx, held.as_slice()).await?;
    shown.into_iter().next().ok_or_else(not_found)
}

pub(super) async fn history<D: Database>(
    db: &D,
    vrf: &str,
    address: IpAddr,
    at: Option<OffsetDateTime>,
    cursor: &Cursor,
) -> Result<Page<HistoryEntry>> {
    let past = Past {
        vrf,
        address: address.into(),
    };
    retry::<D, _, _>("history", || async {
        let mut tx = db.read().await?;
        let outcome = match at {
            Some(at) => past.holder_at(&mut tx, at.into()).await,
            None => past.holders(&mut tx, cursor).await,
        };
        finish::<D, _>(tx, outcome).await
    })
    .await
}

/// An address whose past is asked for.
struct Past<'a> {
    vrf: &'a str,
    address: Addr,
}

impl Past<'_> {
    /// Who held it at that time, or nobody.
    async fn holder_at<T: Statements>(&self, tx: &mut T, at: Moment) -> Result<Page<HistoryEntry>> {
        let vrf_id = find_vrf(tx, self.vrf).await?;
        let present = self.present(tx, vrf_id).await?;
        let at = at.clamp(Moment::NEVER, Moment::LAST);
        let holder = match present {
            Some((created_at, present)) if created_at <= at => Some(present),
            _ => tx
                .history_at(vrf_id, self.address, at)
                .await?
                .filter(|row| row.created_at <= at)
                .map(|row| past_of(row, self.vrf)),
        };
        Ok(Page {
            items: holder.into_iter().collect(),
            next_cursor: None,
        })
    }

    /// All who held it, the latest first.
    async fn holders<T: Statements>(
        &self,
        tx: &mut T,
        cursor: &Cursor,
    ) -> Result<Page<HistoryEntry>> {
        let vrf_id = find_vrf(tx, self.vrf).await?;
        let first_page = (Moment::LAST, i64::MAX);
        let below = cursor.before_time()?;
        let mut entries = Vec::new();
        if below.is_none() {
            let present = self.present(tx, vrf_id).await?;
            entries.extend(present.map(|(_, present)| (first_page, present)));
        }
        let past = tx
            .history(
                vrf_id,
                self.address,
                below.unwrap_or(first_page),
                cursor.rows(),
            )
            .await?;
        entries.extend(
            past.into_iter()
                .map(|row| ((row.released_at, row.id), past_of(row, self.vrf))),
        );
        page_of(
            cursor,
            entries,
            |(key, _)| of_time(*key),
            |(_, entry)| Ok(entry),
        )
    }

    /// The present holder, and since when.
    async fn present<T: Statements>(
        &self,
        tx: &mut T,
        vrf_id: i64,
    ) -> Result<Option<(Moment, HistoryEntry)>> {
        let Some(held) = tx.lease_on(vrf_id, self.address).await? else {
            return Ok(None);
        };
        let pools = tx.pools_by_id(&[held.lease.pool_id]).await?;
        let pool = pools.first().ok_or_else(|| orphan(&held))?;
        Ok(Some((held.lease.created_at, present_of(held, pool))))
    }
}
