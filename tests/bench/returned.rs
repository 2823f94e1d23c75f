//! Single addresses that come back and are leased again, while a snapshot keeps every row that this leaves dead.

use std::time::Instant;

use anyhow::Result;
use ipam_server::store::Store;
use serde_json::json;
use sqlx::Connection;

use crate::lab::Lab;
use crate::row::{Goal, Peer, Row};
use crate::samples::Samples;
use crate::service::Service;
use crate::soak::{BATCH, POOL, claim, key, release, snapshot};

pub(crate) const ROWS: &[&str] = &["returned"];

/// A pool whose free space is single addresses that were leased before, and all of them leased again under a snapshot that
/// sees every row which that leaves dead.
pub(crate) fn run(lab: &Lab) -> Result<Vec<Row>> {
    let service = Service::start(lab)?;
    let count = lab.amount(20_480, 200_192);
    let pool = json!({ "ranges": [{ "first": "10.0.0.16", "last": last_of(count) }] });
    service.create_pool(POOL, "10.0.0.0/8", &pool)?;
    let (first, last) =
        tokio::runtime::Runtime::new()?.block_on(drain(service.server.database_url(), count))?;
    service.check_books()?;
    Ok(vec![Row {
        id: "returned",
        what: format!(
            "the last batches of {count} returned addresses, leased again under a snapshot"
        ),
        unit: "ms",
        ours: last,
        peer: Some(Peer {
            name: "the first",
            value: first,
        }),
        goal: Goal::TimesOrLess(2.0),
        note: String::new(),
    }])
}

/// The last of so many addresses from 10.0.0.16 on.
fn last_of(count: usize) -> std::net::Ipv4Addr {
    let first = u32::from(std::net::Ipv4Addr::new(10, 0, 0, 16));
    std::net::Ipv4Addr::from(first + u32::try_from(count).unwrap_or(u32::MAX) - 1)
}

/// Medians of the first and of the last twentieth of the batches.
async fn drain(url: &str, count: usize) -> Result<(f64, f64)> {
    let store = Store::open(url).await?;
    let keys: Vec<_> = (0..count).map(key).collect();
    let claims: Vec<_> = keys.iter().map(claim).collect();
    let releases: Vec<_> = keys.iter().map(release).collect();
    for batch in claims.chunks(BATCH) {
        store
            .allocate(batch)
            .await
            .into_iter()
            .try_for_each(|answer| answer.map(drop))?;
    }
    for batch in releases.chunks(BATCH) {
        store
            .release(batch)
            .await
            .into_iter()
            .try_for_each(|answer| answer.map(drop))?;
    }
    let reader = snapshot(url).await?;
    let mut times = Vec::new();
    for batch in claims.chunks(BATCH) {
        let begin = Instant::now();
        store
            .allocate(batch)
            .await
            .into_iter()
            .try_for_each(|answer| answer.map(drop))?;
        times.push(begin.elapsed().as_secs_f64() * 1e3);
    }
    reader.close().await?;
    store.close().await;
    let few = times.len() / 20;
    let median = |times: &[f64]| times.iter().copied().collect::<Samples>().median();
    Ok((median(&times[..few]), median(&times[times.len() - few..])))
}
