//! Lists of leases. Every filter may be left out, and a plan that must do for all of them would use no index: so the most
//! telling filter chooses the statement, and with it the index; the others are checked row by row.

use super::Tx;
use crate::store::rows::{HeldRow, LeaseQuery, Walk};
use crate::store::statements::Answer;

/// A statement that answers leases `l` with their attachments `a`: the name, then everything from `from` on.
macro_rules! select_held {
    ($name:literal, $rest:expr) => {
        concat!(
            "-- ",
            $name,
            "
             select l.attachment_id, l.entry, l.vrf_id, l.address, l.pool_id, l.owner, l.created_at,
                 l.quarantined_until, a.id, a.cluster, a.node, a.network, a.container_id, a.ifname, a.claim_boot, a.claim_issued, a.granted_issued,
                 a.release_boot, a.release_issued, a.released_at, a.pod_namespace, a.pod_name, a.pod_uid,
                 a.earlier_release_boot, a.earlier_release_issued
             ",
            $rest
        )
    };
}
pub(super) use select_held;

/// What every list checks row by row, and its order.
macro_rules! checks {
    () => {
        "
                 and (?3 is null or l.vrf_id = ?3)
                 and (?4 is null or l.pool_id = ?4)
                 and (?5 is null or a.cluster = ?5)
                 and (?6 is null or a.node = ?6)
                 and (?7 is null or a.network = ?7)
                 and (?8 is null or a.container_id = ?8)
                 and (?9 is null or a.pod_namespace = ?9)
                 and (?10 is null or a.pod_name = ?10)
                 and (?11 is null or l.address between ?11 and ?12)
                 and (?14 is null or ?14 = (l.quarantined_until is not null))
             order by l.vrf_id, l.address
             limit ?13"
    };
}

/// Leases `l` and their attachments `a`, in the order of work that `cross join` keeps.
macro_rules! list {
    ($from:expr) => {
        select_held!("list_leases", concat!($from, checks!()))
    };
}

/// The attachments that one filter names, then their leases.
macro_rules! by_holder {
    ($holders:literal) => {
        list!(concat!(
            "from attachment a
             cross join lease l on l.attachment_id = a.id
             where ",
            $holders,
            "
                 and (l.vrf_id, l.address) > (?1, ?2)"
        ))
    };
}

/// A page of leases by (vrf_id, address).
pub(super) async fn list_leases(tx: &mut Tx, query: &LeaseQuery) -> Answer<Vec<HeldRow>> {
    let Some((walk, from)) = query.walk() else {
        return Ok(Vec::new());
    };
    let statement = match walk {
        Walk::Container => by_holder!("container_id = ?8"),
        Walk::Pod => by_holder!("pod_name = ?10"),
        Walk::Node => by_holder!("node = ?6"),
        Walk::Interval => list!(
            "from lease l
             cross join attachment a on a.id = l.attachment_id
             where l.vrf_id = ?1
                 and l.address >= ?2
                 and l.address <= ?12"
        ),
        Walk::EveryVrf => list!(
            "from vrf v
             cross join lease l on l.vrf_id = v.id
                 and l.address between ?11 and ?12
             cross join attachment a on a.id = l.attachment_id
             where (l.vrf_id, l.address) > (?1, ?2)"
        ),
        Walk::All => list!(
            "from lease l
             cross join attachment a on a.id = l.attachment_id
             where (l.vrf_id, l.address) > (?1, ?2)
                 and l.vrf_id <= coalesce(?3, 9223372036854775807)"
        ),
    };
    let (first, last) = query.between.unzip();
    sqlx::query_as(statement)
        .bind(from.0)
        .bind(from.1)
        .bind(query.vrf_id)
        .bind(query.pool_id)
        .bind(&query.cluster)
        .bind(&query.node)
        .bind(&query.network)
        .bind(&query.container_id)
        .bind(&query.pod_namespace)
        .bind(&query.pod_name)
        .bind(first)
        .bind(last)
        .bind(query.limit)
        .bind(query.quarantined)
        .fetch_all(tx.connection())
        .await
}
