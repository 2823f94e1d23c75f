//! Vrfs and pools: create and show.

use ipam_api::{NewPool, Page, Pool, PoolChange, Vrf};

use super::clock::{Clock, Reading};
use super::cursor::page_of;
use super::database::Database;
use super::moment::Moment;
use super::retry::{finish, retry};
use super::rows::{CounterRow, IntervalRow, PoolChangeRow, PoolRow};
use super::settings::{are_alike, row_of, settings_of};
use super::shown::pool_of;
use super::statements::Statements;
use super::surgery::put_in;
use super::usage::usage_of;
use super::{Cursor, PoolSummary, Versioned};
use crate::error::{Error, Result};
use crate::pool::checks::{can_exist, check_vrf_name};
use crate::pool::{Interval, Layout};

/// Pools that the summary reads at a time.
const SUMMARY_PAGE: i64 = 500;

pub(super) async fn create_vrf<D: Database>(db: &D, name: &str) -> Result<bool> {
    check_vrf_name(name)?;
    retry::<D, _, _>("create_vrf", || async {
        let mut tx = db.begin().await?;
        let outcome = insert_vrf(&mut tx, name).await;
        finish::<D, _>(tx, outcome).await
    })
    .await
}

async fn insert_vrf<T: Statements>(tx: &mut T, name: &str) -> Result<bool> {
    let now = tx.wall_clock().await?;
    Ok(tx.insert_vrf(name, now).await?)
}

pub(super) async fn vrfs<D: Database>(db: &D, cursor: &Cursor) -> Result<Page<Vrf>> {
    let after = cursor.after_name()?;
    let names = retry::<D, _, _>("vrfs", || async {
        let mut tx = db.read().await?;
        let outcome = names(&mut tx, after, cursor.rows()).await;
        finish::<D, _>(tx, outcome).await
    })
    .await?;
    page_of(cursor, names, String::clone, |name| Ok(Vrf { name }))
}

async fn names<T: Statements>(tx: &mut T, after: &str, limit: i64) -> Result<Vec<String>> {
    Ok(tx.vrf_names(after, limit).await?)
}

pub(super) async fn create<D: Database>(db: &D, new: &NewPool) -> Result<(Versioned, bool)> {
    let row = row_of(new)?;
    retry::<D, _, _>("create_pool", || async {
        let mut tx = db.begin().await?;
        let outcome = insert_or_find(&mut tx, db.clock(), row.clone()).await;
        finish::<D, _>(tx, outcome).await
    })
    .await
}

async fn insert_or_find<T: Statements>(
    tx: &mut T,
    clock: &Clock,
    mut row: PoolRow,
) -> Result<(Versioned, bool)> {
    let Some(vrf_id) = tx.lock_vrf(&row.vrf).await? else {
        return Err(Error::VrfNotFound(row.vrf));
    };
    row.vrf_id = vrf_id;
    let named = tx.pools_by_name(std::slice::from_ref(&row.name)).await?;
    if let Some(existing) = named.into_iter().next() {
        check_alike(&existing, &row)?;
        return Ok((shown(tx, clock, &existing).await?, false));
    }
    let layout = Layout::of_row(&row);
    check_subnet(tx, &row).await?;
    check_ranges(tx, &row, &layout).await?;
    let reading = clock.read(tx.wall_clock().await?);
    let now = reading.now;
    (row.created_at, row.updated_at) = (now, now);
    row.id = insert(tx, &row).await?;
    fill(tx, &row, &layout, &reading).await?;
    let settings = serde_json::to_value(settings_of(&row)?).map_err(Error::internal)?;
    tx.insert_pool_change(&row.name, now, "create", &settings)
        .await?;
    Ok((shown(tx, clock, &row).await?, true))
}

/// The pool that has the name already must be the one that is asked for.
fn check_alike(existing: &PoolRow, row: &PoolRow) -> Result<()> {
    if existing.is_deleting() {
        return Err(Error::unavailable(format!(
            "pool {:?} is being deleted; its name is free in a moment",
            row.name
        )));
    }
    if are_alike(existing, row)? {
        return Ok(());
    }
    Err(Error::AlreadyExists(format!("pool {:?}", row.name)))
}

/// Inserts the pool's row. Another server can have taken the name meanwhile in another vrf only, whose lock this
/// transaction does not hold; that is a pool with other settings.
async fn insert<T: Statements>(tx: &mut T, row: &PoolRow) -> Result<i64> {
    tx.insert_pool(row).await.map_err(|error| match &error {
        sqlx::Error::Database(cause) if cause.constraint() == Some("pool_name_key") => {
            Error::AlreadyExists(format!("pool {:?}", row.name))
        }
        _ => error.into(),
    })
}

/// Refuses a subnet that is nested in another of the vrf, or laps over it. Equal ones may be: two teams, one VLAN.
async fn check_subnet<T: Statements>(tx: &mut T, row: &PoolRow) -> Result<()> {
    let last = row.subnet_last;
    let Some(other) = tx.subnet_at_or_before(row.vrf_id, last).await? else {
        return Ok(());
    };
    let (subnet, present) = (row.subnet(), other.subnet());
    if subnet == present || !meet(subnet.interval(), present.interval()) {
        return Ok(());
    }
    Err(Error::RangesOverlap(format!(
        "subnet {subnet} of pool {:?} overlaps subnet {present} of pool {:?}; subnets of vrf {:?} are equal or apart",
        row.name, other.name, row.vrf
    )))
}

/// Refuses ranges that hold addresses of another pool of the vrf.
pub(super) async fn check_ranges<T: Statements>(
    tx: &mut T,
    row: &PoolRow,
    layout: &Layout,
) -> Result<()> {
    for range in &layout.ranges {
        let found = tx
            .range_at_or_before(row.vrf_id, range.last, row.id)
            .await?;
        let Some(other) = found else { continue };
        let present = Interval {
            first: other.first,
            last: other.last,
        };
        if !meet(*range, present) {
            continue;
        }
        let pools = tx.pools_by_id(&[other.pool_id]).await?;
        let name = pools.first().map_or("", |pool| pool.name.as_str());
        return Err(Error::RangesOverlap(format!(
            "range {range} of pool {:?} overlaps range {present} of pool {name:?} in vrf {:?}",
            row.name, row.vrf
        )));
    }
    Ok(())
}

/// Whether the two share an address. Families are looked at by themselves: PostgreSQL sorts IPv4 below all of IPv6, so
/// that what it finds next to a low IPv6 address can be an IPv4 interval, which as a number is higher.
fn meet(one: Interval, other: Interval) -> bool {
    one.first.is_v4() == other.first.is_v4() && one.overlaps(other)
}

/// Gives a new pool its ranges, its free space and its counter. `rest`: up to when released addresses have rested; those of
/// a pool that was here before may not have.
async fn fill<T: Statements>(
    tx: &mut T,
    row: &PoolRow,
    layout: &Layout,
    reading: &Reading,
) -> Result<()> {
    let ranges = interval_rows(row.id, &layout.ranges);
    tx.replace_ranges(row.vrf_id, row.id, &ranges).await?;
    let mut counter = CounterRow {
        pool_id: row.id,
        leased: 0,
        leased_reserved: 0,
        quarantined: 0,
        returned: 0,
        fresh_from: row.subnet_first,
        returned_from_at: Moment::NEVER,
        returned_from: row.subnet_first,
        returned_first: false,
        probe_at: row.created_at,
        last_at: row.created_at,
        version: 0,
    };
    let rest = reading.rested_until(row.reuse_delay());
    put_in(tx, row, &mut counter, &layout.leasable, rest).await?;
    tx.insert_counter(&counter).await?;
    Ok(())
}

pub(super) fn interval_rows(pool_id: i64, intervals: &[Interval]) -> Vec<IntervalRow> {
    intervals
        .iter()
        .map(|interval| IntervalRow {
            pool_id,
            first: interval.first,
            last: interval.last,
        })
        .collect()
}

pub(super) async fn show<D: Database>(db: &D, name: &str) -> Result<Versioned> {
    retry::<D, _, _>("show_pool", || async {
        let mut tx = db.read().await?;
        let outcome = find_and_show(&mut tx, db.clock(), name).await;
        finish::<D, _>(tx, outcome).await
    })
    .await
}

async fn find_and_show<T: Statements>(tx: &mut T, clock: &Clock, name: &str) -> Result<Versioned> {
    let row = find(tx, name).await?;
    shown(tx, clock, &row).await
}

/// The pool of this name, unless it is on its way out.
pub(super) async fn find<T: Statements>(tx: &mut T, name: &str) -> Result<PoolRow> {
    if !can_exist(name) {
        return Err(Error::PoolNotFound(name.to_owned()));
    }
    let found = tx.pools_by_name(&[name.to_owned()]).await?;
    found
        .into_iter()
        .find(|pool| !pool.is_deleting())
        .ok_or_else(|| Error::PoolNotFound(name.to_owned()))
}

/// The id of the vrf of this name.
pub(super) async fn find_vrf<T: Statements>(tx: &mut T, name: &str) -> Result<i64> {
    let id = match can_exist(name) {
        true => tx.vrf_id(name).await?,
        false => None,
    };
    id.ok_or_else(|| Error::VrfNotFound(name.to_owned()))
}

/// A pool with its usage, as this transaction sees it.
pub(super) async fn shown<T: Statements>(
    tx: &mut T,
    clock: &Clock,
    row: &PoolRow,
) -> Result<Versioned> {
    let counters = tx.counters(&[row.id]).await?;
    let Some(counter) = counters.first() else {
        return Err(Error::PoolNotFound(row.name.clone()));
    };
    let layout = Layout::of_row(row);
    let usage = usage_of(tx, clock, row, &layout, counter).await?;
    pool_of(row, &layout, usage)
}

pub(super) async fn list<D: Database>(
    db: &D,
    vrf: Option<&str>,
    cursor: &Cursor,
) -> Result<Page<Pool>> {
    let after = cursor.after_name()?;
    let pools = retry::<D, _, _>("list_pools", || async {
        let mut tx = db.read().await?;
        let outcome = list_shown(&mut tx, db.clock(), vrf, (after, cursor.rows())).await;
        finish::<D, _>(tx, outcome).await
    })
    .await?;
    page_of(cursor, pools, |pool| pool.name.clone(), Ok)
}

async fn list_shown<T: Statements>(
    tx: &mut T,
    clock: &Clock,
    vrf: Option<&str>,
    (after, limit): (&str, i64),
) -> Result<Vec<Pool>> {
    let vrf_id = match vrf {
        Some(vrf) => Some(find_vrf(tx, vrf).await?),
        None => None,
    };
    let mut pools = Vec::new();
    for row in tx.list_pools(vrf_id, after, limit).await? {
        pools.push(shown(tx, clock, &row).await?.pool);
    }
    Ok(pools)
}

pub(super) async fn summary<D: Database>(db: &D) -> Result<Vec<PoolSummary>> {
    let mut pools: Vec<PoolSummary> = Vec::new();
    loop {
        let after = pools.last().map_or("", |pool| pool.name.as_str());
        let page = retry::<D, _, _>("summary", || async {
            let mut tx = db.read().await?;
            let outcome = list_shown(&mut tx, db.clock(), None, (after, SUMMARY_PAGE)).await;
            finish::<D, _>(tx, outcome).await
        })
        .await?;
        let is_last = page.len() < SUMMARY_PAGE as usize;
        pools.extend(page.into_iter().map(|pool| PoolSummary {
            name: pool.name,
            state: pool.state,
            free: pool.usage.free,
        }));
        if is_last {
            return Ok(pools);
        }
    }
}

pub(super) async fn changes<D: Database>(
    db: &D,
    pool: &str,
    cursor: &Cursor,
) -> Result<Page<PoolChange>> {
    if !can_exist(pool) {
        return Err(Error::PoolNotFound(pool.to_owned()));
    }
    let before = cursor.before_id()?;
    let rows = retry::<D, _, _>("pool_changes", || async {
        let mut tx = db.read().await?;
        let outcome = change_rows(&mut tx, pool, before, cursor.rows()).await;
        finish::<D, _>(tx, outcome).await
    })
    .await?;
    // A pool that is gone has a past still; one that never was has none.
    if rows.is_empty() && cursor.after.is_none() {
        return Err(Error::PoolNotFound(pool.to_owned()));
    }
    page_of(
        cursor,
        rows,
        |row| row.id.to_string(),
        |row| {
            Ok(PoolChange {
                pool: row.pool,
                at: row.at.into(),
                action: row.action,
                settings: row.settings.0,
            })
        },
    )
}

async fn change_rows<T: Statements>(
    tx: &mut T,
    pool: &str,
    before: i64,
    limit: i64,
) -> Result<Vec<PoolChangeRow>> {
    Ok(tx.pool_changes(pool, before, limit).await?)
}

#[cfg(test)]
mod tests;
