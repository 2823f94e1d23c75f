//! Leases as clients see them.

use std::net::IpAddr;

use ipam_api::{Attachment, Lease, Pod};
use ipnetwork::IpNetwork;

use super::rows::{HeldRow, LeaseRow, PoolRow};

/// A lease with what its pool gives along.
pub(super) fn lease(row: &LeaseRow, attachment: &Attachment, pod: &Pod, pool: &PoolRow) -> Lease {
    let address = IpAddr::from(row.address);
    let prefix = u8::try_from(pool.prefix_len).ok();
    Lease {
        id: row.public_id(),
        vrf: pool.vrf.clone(),
        pool: pool.name.clone(),
        // A CHECK keeps the prefix length within its family's.
        address: prefix
            .and_then(|prefix| IpNetwork::new(address, prefix).ok())
            .unwrap_or_else(|| IpNetwork::from(address)),
        gateway: pool.gateway.map(IpAddr::from),
        routes: pool.routes.0.clone(),
        dns: pool.dns.0.clone(),
        attachment: attachment.clone(),
        pod: pod.clone(),
        owner: row.owner.clone(),
        created_at: row.created_at.into(),
    }
}

/// The same from a row with its attachment.
pub(super) fn held(row: &HeldRow, pool: &PoolRow) -> Lease {
    lease(
        &row.lease,
        &row.attachment.key(),
        &row.attachment.pod(),
        pool,
    )
}
