//! `/v1/leases`: claim, list, show, and the admin's release.

use std::net::IpAddr;
use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::{Extension, Json as Answer};
use ipam_api::{Claim, Lease, Leases, Page};
use serde::Deserialize;

use super::error::Result;
use super::extract::{Json, Path, Query};
use super::request::Arrival;
use super::{App, request, validate};
use crate::store::LeaseFilter;

/// The query of the list of leases.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ListQuery {
    vrf: Option<String>,
    pool: Option<String>,
    cluster: Option<String>,
    node: Option<String>,
    network: Option<String>,
    container_id: Option<String>,
    address: Option<IpAddr>,
    owner: Option<String>,
    pod: Option<String>,
    quarantined: Option<bool>,
    limit: Option<u32>,
    cursor: Option<String>,
}

/// `POST /v1/leases`: 201, or 200 with the same body when the attachment holds them already.
pub(super) async fn claim(
    State(app): State<Arc<App>>,
    Extension(Arrival(arrival)): Extension<Arrival>,
    Json(claim): Json<Claim>,
) -> Result<(StatusCode, Answer<Leases>)> {
    validate::claim(&claim)?;
    request::about("attachment", &claim.attachment);
    let granted = app.allocator.claim(claim, arrival).await?;
    let status = match granted.fresh {
        true => StatusCode::CREATED,
        false => StatusCode::OK,
    };
    let leases = granted.leases;
    Ok((status, Answer(Leases { leases })))
}

/// `GET /v1/leases`.
pub(super) async fn list(
    State(app): State<Arc<App>>,
    Query(query): Query<ListQuery>,
) -> Result<Answer<Page<Lease>>> {
    let (filter, after, limit) = query.take_apart()?;
    let cursor = validate::cursor(after, limit)?;
    Ok(Answer(app.store.leases(&filter, &cursor).await?))
}

/// `GET /v1/leases/{id}`.
pub(super) async fn show(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
) -> Result<Answer<Lease>> {
    validate::text("id", &id)?;
    Ok(Answer(app.store.lease(&id).await?))
}

/// `DELETE /v1/leases/{id}`.
pub(super) async fn release(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
) -> Result<StatusCode> {
    validate::text("id", &id)?;
    app.store.release_lease(&id).await?;
    Ok(StatusCode::NO_CONTENT)
}

impl ListQuery {
    /// The filter, checked, and where the page begins and ends.
    fn take_apart(self) -> Result<(LeaseFilter, Option<String>, Option<u32>)> {
        let Self {
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
            limit,
            cursor,
        } = self;
        for (field, value) in [
            ("vrf", &vrf),
            ("pool", &pool),
            ("cluster", &cluster),
            ("node", &node),
            ("network", &network),
            ("container_id", &container_id),
            ("owner", &owner),
        ] {
            validate::optional_text(field, value.as_deref())?;
        }
        if let Some(pod) = &pod {
            validate::pod_filter(pod)?;
        }
        if let Some(address) = address {
            validate::plain_address("address", address)?;
        }
        let filter = LeaseFilter {
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
        };
        Ok((filter, cursor, limit))
    }
}
