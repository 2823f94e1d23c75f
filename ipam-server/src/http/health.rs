//! `/healthz` and `/readyz`: for probes.

use std::sync::Arc;
use std::time::Duration;

use axum::Json as Answer;
use axum::extract::State;
use serde::Serialize;

use super::App;
use super::error::Result;
use crate::error::Error;

/// How long the database is waited for.
const PATIENCE: Duration = Duration::from_secs(2);

/// What a probe is told.
#[derive(Serialize)]
pub(super) struct Health {
    status: &'static str,
}

/// `GET /healthz`: the process serves requests.
pub(super) async fn alive() -> Answer<Health> {
    Answer(Health { status: "alive" })
}

/// `GET /readyz`: the database serves too.
pub(super) async fn ready(State(app): State<Arc<App>>) -> Result<Answer<Health>> {
    match tokio::time::timeout(PATIENCE, app.store.ping()).await {
        Ok(outcome) => outcome?,
        Err(_) => return Err(Error::unavailable("the database did not answer in time").into()),
    }
    Ok(Answer(Health { status: "ready" }))
}
