//! Taking an address for each entry of an open claim, or none at all.

use uuid::Uuid;

use super::super::addr::Addr;
use super::super::books::Books;
use super::super::ledger::Taken;
use super::super::order;
use super::super::rows::LeaseRow;
use super::super::shown;
use super::super::statements::Statements;
use super::desk::{Ask, Desk, State, note_pod};
use super::{Reach, shortage};
use crate::error::{Error, Result};

/// What came of an entry.
enum Picked {
    Got(i64, Taken),
    Short(Error),
    /// A pool that is not locked may have an address.
    OutOfReach,
}

/// Grants an open claim, or refuses it. False when pools have to be locked that are not.
pub(super) async fn grant<T: Statements>(
    tx: &mut T,
    desk: &mut Desk<'_>,
    books: &mut Books,
    reach: Reach,
) -> Result<bool> {
    let State::Open(asks) = &desk.state else {
        return Ok(true);
    };
    // First, so that what is replaced can be had again.
    for lease in &desk.held {
        if let Some(ledger) = books.get(lease.pool_id) {
            ledger.give_back(lease);
        }
    }
    let mut picks = Vec::with_capacity(asks.len());
    for (index, ask) in asks.iter().enumerate() {
        match pick(tx, index, ask, books, reach).await? {
            Picked::Got(pool, taken) => picks.push((pool, taken)),
            Picked::OutOfReach => return Ok(false),
            Picked::Short(error) => {
                undo(desk, picks, books);
                desk.state = State::Refused(error);
                return Ok(true);
            }
        }
    }
    hand_over(desk, &picks, books)?;
    Ok(true)
}

async fn pick<T: Statements>(
    tx: &mut T,
    index: usize,
    ask: &Ask,
    books: &mut Books,
    reach: Reach,
) -> Result<Picked> {
    if let Some((address, pool)) = ask.wanted {
        return pick_wanted(tx, index, ask, address, pool, books).await;
    }
    for listed in &ask.pools {
        let Some(ledger) = books.get(listed.id) else {
            // Not ready, or gone: there is nothing to be had. Otherwise it was not locked.
            if reach == Reach::FirstChoice && listed.state == "ready" {
                return Ok(Picked::OutOfReach);
            }
            continue;
        };
        if !ledger.is_ready() {
            continue;
        }
        if let Some(taken) = ledger.take(tx).await? {
            return Ok(Picked::Got(listed.id, taken));
        }
    }
    let error = shortage::exhausted(tx, index, ask, books).await?;
    Ok(Picked::Short(error))
}

async fn pick_wanted<T: Statements>(
    tx: &mut T,
    index: usize,
    ask: &Ask,
    address: Addr,
    pool: i64,
    books: &mut Books,
) -> Result<Picked> {
    let Some(ledger) = books.get(pool).filter(|ledger| ledger.is_ready()) else {
        let error = shortage::exhausted(tx, index, ask, books).await?;
        return Ok(Picked::Short(error));
    };
    // The settings may have changed until the pool was locked.
    if !ledger.layout.may_lease(address) {
        return Ok(Picked::Short(Error::Invalid(format!(
            "wanted: {address} is not leased by pool {:?} any more",
            ledger.pool.name
        ))));
    }
    if let Some(taken) = ledger.take_wanted(tx, address).await? {
        return Ok(Picked::Got(pool, taken));
    }
    let (vrf_id, name) = (ledger.pool.vrf_id, ledger.pool.name.clone());
    let error = shortage::taken(tx, vrf_id, name, address).await?;
    Ok(Picked::Short(error))
}

fn undo(desk: &Desk<'_>, picks: Vec<(i64, Taken)>, books: &mut Books) {
    for (pool, taken) in picks.into_iter().rev() {
        if let Some(ledger) = books.get(pool) {
            ledger.untake(taken);
        }
    }
    for lease in &desk.held {
        if let Some(ledger) = books.get(lease.pool_id) {
            ledger.ungive(lease);
        }
    }
}

/// Makes the leases of the picks.
fn hand_over(desk: &mut Desk<'_>, picks: &[(i64, Taken)], books: &mut Books) -> Result<()> {
    if !desk.inserted {
        desk.row.id = Uuid::now_v7();
        desk.row.released_at = None;
        order::note_claim(&mut desk.row, desk.claim, true);
        note_pod(&mut desk.row, desk.claim);
    }
    let created_at = books.now;
    let (mut leases, mut answer) = (Vec::new(), Vec::new());
    for (entry, (pool_id, taken)) in (0..).zip(picks) {
        let Some(ledger) = books.get(*pool_id) else {
            continue;
        };
        let lease = LeaseRow {
            attachment_id: desk.row.id,
            entry,
            vrf_id: ledger.pool.vrf_id,
            address: taken.address,
            pool_id: *pool_id,
            owner: None,
            created_at,
            quarantined_until: None,
        };
        answer.push(shown::lease_of(&lease, &desk.row, &ledger.pool)?);
        leases.push(lease);
    }
    desk.state = State::Granted { leases, answer };
    Ok(())
}
