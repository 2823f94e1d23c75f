//! `/v1/history`: who held an address.

use std::net::IpAddr;
use std::sync::Arc;

use axum::Json as Answer;
use axum::extract::State;
use ipam_api::{HistoryEntry, Page};
use serde::Deserialize;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::error::{Failure, Result};
use super::extract::Query;
use super::{App, validate};

/// The query.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ListQuery {
    vrf: Option<String>,
    address: IpAddr,
    at: Option<String>,
    limit: Option<u32>,
    cursor: Option<String>,
}

/// `GET /v1/history`: all holders, the latest first; with `at` only the one at that time.
pub(super) async fn list(
    State(app): State<Arc<App>>,
    Query(query): Query<ListQuery>,
) -> Result<Answer<Page<HistoryEntry>>> {
    let vrf = query.vrf.as_deref().unwrap_or("default");
    validate::name("vrf", vrf)?;
    validate::plain_address("address", query.address)?;
    let at = query.at.as_deref().map(time).transpose()?;
    let cursor = validate::cursor(query.cursor, query.limit)?;
    let page = app.store.history(vrf, query.address, at, &cursor).await?;
    Ok(Answer(page))
}

fn time(text: &str) -> Result<OffsetDateTime> {
    // A plus sign in a query means a space; in a time it can only have been a plus sign.
    OffsetDateTime::parse(&text.replace(' ', "+"), &Rfc3339).map_err(|_| {
        Failure::invalid(format!(
            "at: {text:?} is not an RFC 3339 time, as in 2026-01-31T12:00:00Z"
        ))
    })
}
