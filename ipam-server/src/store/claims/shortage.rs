//! Why a claim cannot be granted, with the figures that its sender needs. Only read when that happens.

use std::net::IpAddr;
use std::time::Duration;

use super::super::addr::Addr;
use super::super::books::Books;
use super::super::resting::Resting;
use super::super::statements::{Answer, Statements};
use super::desk::Ask;
use crate::error::Error;
use crate::pool;

/// No pool of the entry leases an address now.
pub(super) async fn exhausted<T: Statements>(
    tx: &mut T,
    entry: usize,
    ask: &Ask,
    books: &mut Books,
) -> Answer<Error> {
    let (mut reasons, mut next_free) = (Vec::new(), None);
    for listed in &ask.pools {
        let name = &listed.name;
        let Some(ledger) = books.get(listed.id) else {
            reasons.push(format!("pool {name:?} is {}", listed.state));
            continue;
        };
        if !ledger.is_ready() {
            reasons.push(format!("pool {name:?} is {}", ledger.pool.state));
            continue;
        }
        let Resting {
            count: cooling,
            next_free_in,
        } = ledger.resting(tx).await?;
        next_free = next_free.into_iter().chain(next_free_in).min();
        reasons.push(format!(
            "pool {name:?} is exhausted (size {}, leased {}, cooling {cooling}, quarantined {})",
            pool::count(&ledger.layout.ranges),
            ledger.counter.leased,
            ledger.counter.quarantined,
        ));
    }
    let seconds =
        |time: Duration| u64::try_from(time.as_micros().div_ceil(1_000_000)).unwrap_or(u64::MAX);
    Ok(Error::PoolExhausted {
        entry,
        detail: reasons.join("; "),
        retry_after_s: next_free.map(seconds),
    })
}

/// The address is held, by whom the database says.
pub(super) async fn taken<T: Statements>(
    tx: &mut T,
    vrf_id: i64,
    pool: String,
    address: Addr,
) -> Answer<Error> {
    let held = tx.lease_on(vrf_id, address).await?;
    let holder = held.map_or_else(
        // A neighbour in the batch, or space that is just being taken out of the pool.
        || "another claim of this moment".to_owned(),
        |held| held.attachment.key().to_string(),
    );
    Ok(Error::AddressTaken {
        address: IpAddr::from(address),
        pool,
        holder,
    })
}
