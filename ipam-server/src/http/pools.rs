//! `/v1/pools`: create, list, show with usage, change, delete. The version is the ETag.

use std::sync::Arc;

use axum::Json as Answer;
use axum::extract::State;
use axum::http::header::{ETAG, IF_MATCH, LOCATION};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use ipam_api::{NewPool, Page, Pool, PoolChange, PoolPatch};
use serde::Deserialize;

use super::error::{Failure, Result};
use super::extract::{Json, Path, Query};
use super::{App, request, validate};
use crate::store::Versioned;

/// The query of the list of pools.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ListQuery {
    vrf: Option<String>,
    limit: Option<u32>,
    cursor: Option<String>,
}

/// The query of a pool's changes.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ChangesQuery {
    limit: Option<u32>,
    cursor: Option<String>,
}

/// The query of a change.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ChangeQuery {
    #[serde(default)]
    dry_run: bool,
}

/// `GET /v1/pools`.
pub(super) async fn list(
    State(app): State<Arc<App>>,
    Query(query): Query<ListQuery>,
) -> Result<Answer<Page<Pool>>> {
    let vrf = query.vrf.as_deref();
    vrf.map_or(Ok(()), |vrf| validate::name("vrf", vrf))?;
    let cursor = validate::cursor(query.cursor, query.limit)?;
    Ok(Answer(app.store.pools(vrf, &cursor).await?))
}

/// `POST /v1/pools`: 201, or 200 when the same pool existed.
pub(super) async fn create(
    State(app): State<Arc<App>>,
    Json(new): Json<NewPool>,
) -> Result<Response> {
    validate::new_pool(&new)?;
    request::about("pool", &new.name);
    let (pool, created) = app.store.create_pool(&new).await?;
    if !created {
        return Ok(with_etag(pool));
    }
    let location = [(LOCATION, format!("/v1/pools/{}", new.name))];
    Ok((StatusCode::CREATED, location, with_etag(pool)).into_response())
}

/// `GET /v1/pools/{pool}`.
pub(super) async fn show(
    State(app): State<Arc<App>>,
    Path(name): Path<String>,
) -> Result<Response> {
    validate::name("pool", &name)?;
    Ok(with_etag(app.store.pool(&name).await?))
}

/// `PATCH /v1/pools/{pool}`, or with `?dry_run=true` what it would do.
pub(super) async fn change(
    State(app): State<Arc<App>>,
    Path(name): Path<String>,
    Query(query): Query<ChangeQuery>,
    headers: HeaderMap,
    Json(patch): Json<PoolPatch>,
) -> Result<Response> {
    validate::name("pool", &name)?;
    validate::pool_settings(&patch)?;
    request::about("pool", &name);
    let version = if_match(&headers)?;
    if query.dry_run {
        let outcome = app.store.try_change_pool(&name, &patch, version).await?;
        return Ok(Answer(outcome).into_response());
    }
    Ok(with_etag(
        app.store.change_pool(&name, &patch, version).await?,
    ))
}

/// `DELETE /v1/pools/{pool}`, or with `?dry_run=true` what it would do.
pub(super) async fn delete(
    State(app): State<Arc<App>>,
    Path(name): Path<String>,
    Query(query): Query<ChangeQuery>,
    headers: HeaderMap,
) -> Result<Response> {
    validate::name("pool", &name)?;
    request::about("pool", &name);
    let version = if_match(&headers)?;
    if query.dry_run {
        let outcome = app.store.try_delete_pool(&name, version).await?;
        return Ok(Answer(outcome).into_response());
    }
    app.store.delete_pool(&name, version).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// `GET /v1/pools/{pool}/changes`: its settings over time.
pub(super) async fn changes(
    State(app): State<Arc<App>>,
    Path(name): Path<String>,
    Query(query): Query<ChangesQuery>,
) -> Result<Answer<Page<PoolChange>>> {
    validate::name("pool", &name)?;
    let cursor = validate::cursor(query.cursor, query.limit)?;
    Ok(Answer(app.store.pool_changes(&name, &cursor).await?))
}

fn with_etag(Versioned { version, pool }: Versioned) -> Response {
    ([(ETAG, format!("\"{version}\""))], Answer(pool)).into_response()
}

/// The version that the caller saw; nothing without the header, and for `*`.
fn if_match(headers: &HeaderMap) -> Result<Option<i64>> {
    let Some(header) = headers.get(IF_MATCH) else {
        return Ok(None);
    };
    let text = String::from_utf8_lossy(header.as_bytes());
    let quoted = text
        .trim()
        .strip_prefix('"')
        .and_then(|text| text.strip_suffix('"'));
    match quoted.map(str::parse) {
        Some(Ok(version)) => Ok(Some(version)),
        None if text.trim() == "*" => Ok(None),
        _ => Err(Failure::invalid(format!(
            "If-Match: {text:?} is neither * nor the ETag that GET /v1/pools/{{pool}} answers, as in \"3\""
        ))),
    }
}
