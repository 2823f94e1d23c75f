//! `/v1/release` (CNI DEL and the spool's replay) and `/v1/gc` (CNI GC): giving back.

use std::sync::Arc;

use axum::extract::State;
use axum::{Extension, Json as Answer};
use ipam_api::{GcRequest, ReleaseRequest, Released};

use super::error::Result;
use super::extract::Json;
use super::request::Arrival;
use super::{App, request, validate};
use crate::store::Releasing;

/// `POST /v1/release`: by attachment, a list; unknown ones succeed.
pub(super) async fn release(
    State(app): State<Arc<App>>,
    Extension(Arrival(arrival)): Extension<Arrival>,
    Json(request): Json<ReleaseRequest>,
) -> Result<Answer<Released>> {
    validate::release(&request)?;
    if let Some(first) = request.attachments.first() {
        request::about("attachment", first.attachment());
    }
    let releases = order(request);
    let released = app.allocator.release(releases, arrival).await?;
    Ok(Answer(Released { released }))
}

/// `POST /v1/gc`: frees what the node holds on the network but for the valid attachments.
pub(super) async fn collect(
    State(app): State<Arc<App>>,
    Json(gc): Json<GcRequest>,
) -> Result<Answer<Released>> {
    validate::gc(&gc)?;
    let scope = format!("{}/{}/{}", gc.cluster, gc.node, gc.network);
    request::about("attachment", scope);
    // A client that goes away must not leave the collection half way.
    let task = tokio::spawn(async move { app.store.collect(&gc).await });
    let released = task.await.map_err(crate::Error::internal)??;
    Ok(Answer(Released { released }))
}

/// Tells records of an earlier boot than the sender is in now.
fn order(request: ReleaseRequest) -> Vec<Releasing> {
    let now = request.boot_id;
    let releases = request.attachments.into_iter();
    releases
        .map(|release| Releasing {
            earlier_boot: now.is_some() && release.boot_id.is_some() && release.boot_id != now,
            release,
        })
        .collect()
}
