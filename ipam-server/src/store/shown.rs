//! Rows as clients see them.

use ipam_api::{Attachment, HistoryEntry, Lease, Node, Pod, Pool, Range, Usage};
use ipnetwork::IpNetwork;

use super::Versioned;
use super::rows::{AttachmentRow, HeldRow, HistoryRow, LeaseRow, NodeView, PoolRow, public_id};
use super::settings::state_of;
use crate::error::{Error, Result};
use crate::pool::Layout;

/// A lease with what its pool gives to it.
pub(super) fn lease_of(
    lease: &LeaseRow,
    attachment: &AttachmentRow,
    pool: &PoolRow,
) -> Result<Lease> {
    let address = IpNetwork::new(lease.address.into(), pool.subnet().prefix);
    Ok(Lease {
        id: lease.public_id(),
        vrf: pool.vrf.clone(),
        pool: pool.name.clone(),
        address: address.map_err(Error::internal)?,
        gateway: pool.gateway.map(Into::into),
        routes: pool.routes.0.clone(),
        dns: pool.dns.0.clone(),
        attachment: attachment.key(),
        pod: attachment.pod(),
        owner: lease.owner.clone(),
        created_at: lease.created_at.into(),
        quarantined_until: lease.quarantined_until.map(Into::into),
    })
}

/// A node with what it holds.
pub(super) fn node_of(view: NodeView) -> Node {
    let count = |count: i64| count.unsigned_abs();
    Node {
        cluster: view.node.cluster,
        name: view.node.name,
        machine_id: view.node.machine_id,
        boot_id: view.node.boot_id,
        created_at: view.created_at.into(),
        boot_seen_at: view.boot_seen_at.map(Into::into),
        last_claim_at: view.last_claim_at.map(Into::into),
        disputed_at: view.node.disputed_at.map(Into::into),
        leases: count(view.leases),
        quarantined: count(view.quarantined),
    }
}

/// A pool with its usage.
pub(super) fn pool_of(pool: &PoolRow, layout: &Layout, usage: Usage) -> Result<Versioned> {
    let ranges = match &pool.ranges {
        Some(given) => given.0.clone(),
        None => layout
            .ranges
            .iter()
            .map(|range| Range {
                first: range.first.into(),
                last: range.last.into(),
            })
            .collect(),
    };
    Ok(Versioned {
        version: pool.version,
        pool: Pool {
            name: pool.name.clone(),
            vrf: pool.vrf.clone(),
            subnet: pool.network()?,
            ranges,
            exclude: pool.exclude.0.clone(),
            gateway: pool.gateway.map(Into::into),
            routes: pool.routes.0.clone(),
            dns: pool.dns.0.clone(),
            reuse_delay_s: u32::try_from(pool.reuse_delay_s).map_err(Error::internal)?,
            state: state_of(&pool.state),
            labels: pool.labels.0.clone(),
            usage,
            created_at: pool.created_at.into(),
            updated_at: pool.updated_at.into(),
        },
    })
}

/// A lease of the past.
pub(super) fn past_of(row: HistoryRow, vrf: &str) -> HistoryEntry {
    HistoryEntry {
        lease_id: public_id(row.attachment_id, row.entry),
        vrf: vrf.to_owned(),
        pool: row.pool,
        address: row.address.into(),
        attachment: Attachment {
            cluster: row.cluster,
            node: row.node,
            network: row.network,
            container_id: row.container_id,
            ifname: row.ifname,
        },
        pod: Pod {
            namespace: row.pod_namespace,
            name: row.pod_name,
            uid: row.pod_uid,
        },
        owner: row.owner,
        created_at: row.created_at.into(),
        released_at: Some(row.released_at.into()),
        reason: Some(row.reason),
    }
}

/// The present holder, in the history's shape.
pub(super) fn present_of(held: HeldRow, pool: &PoolRow) -> HistoryEntry {
    HistoryEntry {
        lease_id: held.lease.public_id(),
        vrf: pool.vrf.clone(),
        pool: pool.name.clone(),
        address: held.lease.address.into(),
        attachment: held.attachment.key(),
        pod: held.attachment.pod(),
        owner: held.lease.owner,
        created_at: held.lease.created_at.into(),
        released_at: None,
        reason: None,
    }
}
