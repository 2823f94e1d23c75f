//! `/v1/vrfs`: address spaces.

use std::sync::Arc;

use axum::Json as Answer;
use axum::extract::State;
use axum::http::StatusCode;
use ipam_api::{Page, Vrf};
use serde::Deserialize;

use super::App;
use super::error::Result;
use super::extract::{Json, Query};
use super::validate;

/// The query of a list.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ListQuery {
    limit: Option<u32>,
    cursor: Option<String>,
}

/// `GET /v1/vrfs`.
pub(super) async fn list(
    State(app): State<Arc<App>>,
    Query(query): Query<ListQuery>,
) -> Result<Answer<Page<Vrf>>> {
    let cursor = validate::cursor(query.cursor, query.limit)?;
    Ok(Answer(app.store.vrfs(&cursor).await?))
}

/// `POST /v1/vrfs`: 201, or 200 when it existed.
pub(super) async fn create(
    State(app): State<Arc<App>>,
    Json(vrf): Json<Vrf>,
) -> Result<(StatusCode, Answer<Vrf>)> {
    validate::name("name", &vrf.name)?;
    let created = app.store.create_vrf(&vrf.name).await?;
    let status = match created {
        true => StatusCode::CREATED,
        false => StatusCode::OK,
    };
    Ok((status, Answer(vrf)))
}
