//! A pool's settings: from a request to a row, and back.

use std::time::Duration;

use ipam_api::{NewPool, PoolPatch, PoolState, Range};
use ipnetwork::IpNetwork;
use sqlx::types::Json;

use super::moment::Moment;
use super::rows::PoolRow;
use crate::error::{Error, Result};
use crate::pool::checks;
use crate::pool::{Interval, Layout, Subnet};

/// The vrf of a pool that names none.
pub(super) const DEFAULT_VRF: &str = "default";

/// The state of a pool that is on its way out: not shown, leases nothing, its name is still taken.
pub(super) const DELETING: &str = "deleting";

impl Layout {
    /// The layout of a pool as it stands.
    pub(crate) fn of_row(pool: &PoolRow) -> Self {
        let ranges = pool.ranges.as_ref().map(|Json(ranges)| {
            ranges
                .iter()
                .map(|range| Interval {
                    first: range.first.into(),
                    last: range.last.into(),
                })
                .collect::<Vec<_>>()
        });
        let exclude: Vec<_> = pool
            .exclude
            .iter()
            .map(|network| Subnet::of(*network).interval())
            .collect();
        Self::of(pool.subnet(), ranges.as_deref(), &exclude, pool.gateway)
    }
}

impl PoolRow {
    /// The subnet.
    pub(super) fn subnet(&self) -> Subnet {
        Subnet {
            first: self.subnet_first,
            last: self.subnet_last,
            prefix: u8::try_from(self.prefix_len).unwrap_or(u8::MAX),
        }
    }

    /// The subnet as clients see it.
    pub(super) fn network(&self) -> Result<IpNetwork> {
        let prefix = self.subnet().prefix;
        IpNetwork::new(self.subnet_first.into(), prefix).map_err(Error::internal)
    }

    /// Whether it is on its way out.
    /// How long a released address rests.
    pub(super) fn reuse_delay(&self) -> Duration {
        Duration::from_secs(self.reuse_delay_s.unsigned_abs())
    }

    pub(super) fn is_deleting(&self) -> bool {
        self.state == DELETING
    }
}

/// The row of checked settings, of a pool that is not there yet.
pub(super) fn row_of(new: &NewPool) -> Result<PoolRow> {
    let checked = checks::check(new)?;
    let mut ranges = new.ranges.clone();
    if let Some(ranges) = &mut ranges {
        // They do not overlap, so that this is the one order that equal settings have in common.
        ranges.sort_by_key(|range: &Range| range.first);
    }
    let mut exclude = new.exclude.clone();
    exclude.sort_unstable();
    exclude.dedup();
    Ok(PoolRow {
        id: 0,
        name: new.name.clone(),
        vrf_id: 0,
        vrf: new.vrf.clone().unwrap_or_else(|| DEFAULT_VRF.to_owned()),
        subnet_first: checked.subnet.first,
        subnet_last: checked.subnet.last,
        prefix_len: checked.subnet.prefix.into(),
        gateway: checked.gateway,
        ranges: ranges.map(Json),
        exclude: Json(exclude),
        routes: Json(new.routes.clone()),
        dns: Json(new.dns.clone()),
        labels: Json(new.labels.clone()),
        reuse_delay_s: checked.reuse_delay_s.into(),
        state: state_name(new.state).to_owned(),
        version: 1,
        created_at: Moment::NEVER,
        updated_at: Moment::NEVER,
    })
}

/// The settings of a pool, so that creating it anew from them gives the same pool. This is what the history keeps.
pub(super) fn settings_of(pool: &PoolRow) -> Result<NewPool> {
    Ok(NewPool {
        name: pool.name.clone(),
        subnet: pool.network()?,
        vrf: Some(pool.vrf.clone()),
        ranges: pool.ranges.as_ref().map(|Json(ranges)| ranges.clone()),
        exclude: pool.exclude.0.clone(),
        gateway: Some(pool.gateway.map(Into::into)),
        routes: pool.routes.0.clone(),
        dns: pool.dns.0.clone(),
        reuse_delay_s: u32::try_from(pool.reuse_delay_s).ok(),
        state: state_of(&pool.state),
        labels: pool.labels.0.clone(),
    })
}

/// The pool's row with a patch applied; the whole of its settings is checked again. Times and version stay.
pub(super) fn patched(pool: &PoolRow, patch: &PoolPatch) -> Result<PoolRow> {
    let mut new = settings_of(pool)?;
    let PoolPatch {
        ranges,
        exclude,
        gateway,
        routes,
        dns,
        reuse_delay_s,
        state,
        labels,
    } = patch.clone();
    replace(&mut new.ranges, ranges);
    replace(&mut new.exclude, exclude);
    replace(&mut new.gateway, gateway.map(Some));
    replace(&mut new.routes, routes);
    replace(&mut new.dns, dns);
    replace(&mut new.reuse_delay_s, reuse_delay_s.map(Some));
    replace(&mut new.state, state);
    replace(&mut new.labels, labels);
    Ok(PoolRow {
        id: pool.id,
        vrf_id: pool.vrf_id,
        version: pool.version,
        created_at: pool.created_at,
        updated_at: pool.updated_at,
        ..row_of(&new)?
    })
}

fn replace<T>(field: &mut T, value: Option<T>) {
    if let Some(value) = value {
        *field = value;
    }
}

/// Whether two pools are set up alike.
pub(super) fn are_alike(one: &PoolRow, other: &PoolRow) -> Result<bool> {
    Ok(settings_of(one)? == settings_of(other)?)
}

/// A state as the database has it.
pub(super) fn state_name(state: PoolState) -> &'static str {
    match state {
        PoolState::Ready => "ready",
        PoolState::Draining => "draining",
        PoolState::Disabled => "disabled",
    }
}

/// A state as clients see it. One that is being deleted is not shown; it leases nothing.
pub(super) fn state_of(name: &str) -> PoolState {
    match name {
        "ready" => PoolState::Ready,
        "draining" => PoolState::Draining,
        _ => PoolState::Disabled,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn pool() -> PoolRow {
        let new = json!({
            "name": "p", "subnet": "10.0.0.0/24", "exclude": ["10.0.0.9", "10.0.0.4/31", "10.0.0.9"],
            "ranges": [{ "first": "10.0.0.8", "last": "10.0.0.20" }, { "first": "10.0.0.1", "last": "10.0.0.5" }],
        });
        row_of(&serde_json::from_value(new).expect("well-formed")).expect("accepted")
    }

    #[test]
    fn settings_make_the_same_pool_again() {
        let row = pool();
        let again = row_of(&settings_of(&row).expect("settings")).expect("accepted");
        assert!(are_alike(&row, &again).expect("settings"));
        assert_eq!(Layout::of_row(&row), Layout::of_row(&again));
    }

    #[test]
    fn order_and_repetition_make_no_difference() {
        let mut new = settings_of(&pool()).expect("settings");
        new.exclude.reverse();
        new.exclude.push(new.exclude[0]);
        new.ranges.as_mut().expect("ranges").reverse();
        let other = row_of(&new).expect("accepted");
        assert!(are_alike(&pool(), &other).expect("settings"));
    }

    #[test]
    fn a_patch_replaces_what_it_names_and_leaves_the_rest() {
        let patch: PoolPatch =
            serde_json::from_value(json!({ "ranges": null, "exclude": [], "state": "draining" }))
                .expect("well-formed");
        let row = patched(&pool(), &patch).expect("accepted");
        assert!(row.ranges.is_none() && row.exclude.is_empty());
        assert_eq!(row.state, "draining");
        assert_eq!(row.gateway, pool().gateway);
        let none = patched(&pool(), &PoolPatch::default()).expect("accepted");
        assert!(are_alike(&pool(), &none).expect("settings"));
    }

    #[test]
    fn a_patch_is_checked_with_what_it_leaves() {
        let patch: PoolPatch =
            serde_json::from_value(json!({ "gateway": "10.9.0.1" })).expect("well-formed");
        assert!(patched(&pool(), &patch).is_err());
    }
}
