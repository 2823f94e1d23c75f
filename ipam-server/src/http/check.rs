//! `/v1/check` (CNI CHECK) and `/v1/status` (CNI STATUS): asking without changing anything.

use std::sync::Arc;

use axum::Json as Answer;
use axum::extract::State;
use ipam_api::{CheckAnswer, CheckRequest, StatusAnswer, StatusRequest};

use super::error::Result;
use super::extract::Json;
use super::{App, request, validate};

/// `POST /v1/check`: does this attachment hold these addresses?
pub(super) async fn check(
    State(app): State<Arc<App>>,
    Json(check): Json<CheckRequest>,
) -> Result<Answer<CheckAnswer>> {
    validate::check(&check)?;
    request::about("attachment", &check.attachment);
    Ok(Answer(app.store.check(&check).await?))
}

/// `POST /v1/status`: could these entries be served? The answer is at most a second old.
pub(super) async fn status(
    State(app): State<Arc<App>>,
    Json(status): Json<StatusRequest>,
) -> Result<Answer<StatusAnswer>> {
    validate::status(&status)?;
    let pools = app.summary.pools().await?;
    Ok(Answer(pools.answer(&status.entries)))
}
