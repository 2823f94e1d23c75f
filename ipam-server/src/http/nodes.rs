//! `/v1/nodes`: the machines that run plugins, and what is done about one that is gone.

use std::sync::Arc;

use axum::Json as Answer;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use ipam_api::{DEFAULT_CLUSTER, Node, Page, Released};
use serde::Deserialize;

use super::error::Result;
use super::extract::{Path, Query};
use super::{App, request, validate};

/// The query of the list of nodes.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ListQuery {
    cluster: Option<String>,
    limit: Option<u32>,
    cursor: Option<String>,
}

/// The query of one node.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ShowQuery {
    cluster: Option<String>,
}

/// The query of a removal.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ForgetQuery {
    cluster: Option<String>,
    #[serde(default)]
    dry_run: bool,
}

/// `GET /v1/nodes`: of all clusters, or of one.
pub(super) async fn list(
    State(app): State<Arc<App>>,
    Query(query): Query<ListQuery>,
) -> Result<Answer<Page<Node>>> {
    validate::optional_text("cluster", query.cluster.as_deref())?;
    let cursor = validate::cursor(query.cursor, query.limit)?;
    let cluster = query.cluster.as_deref();
    Ok(Answer(app.store.nodes(cluster, &cursor).await?))
}

/// `GET /v1/nodes/{node}`.
pub(super) async fn show(
    State(app): State<Arc<App>>,
    Path(name): Path<String>,
    Query(query): Query<ShowQuery>,
) -> Result<Answer<Node>> {
    let cluster = cluster(query.cluster.as_deref(), &name)?;
    Ok(Answer(app.store.node(cluster, &name).await?))
}

/// `DELETE /v1/nodes/{node}`: frees all that it holds and forgets its machine; or with `?dry_run=true` what that would free.
pub(super) async fn forget(
    State(app): State<Arc<App>>,
    Path(name): Path<String>,
    Query(query): Query<ForgetQuery>,
) -> Result<Response> {
    let cluster = cluster(query.cluster.as_deref(), &name)?.to_owned();
    request::about("node", format!("{cluster}/{name}"));
    if query.dry_run {
        let outcome = app.store.try_forget_node(&cluster, &name).await?;
        return Ok(Answer(outcome).into_response());
    }
    // A client that goes away must not leave it half way.
    let task = tokio::spawn(async move { app.store.forget_node(&cluster, &name).await });
    let released = task.await.map_err(crate::Error::internal)??;
    Ok(Answer(Released { released }).into_response())
}

/// The node's cluster, checked like its name.
fn cluster<'a>(asked: Option<&'a str>, name: &str) -> Result<&'a str> {
    let cluster = asked.unwrap_or(DEFAULT_CLUSTER);
    validate::text("cluster", cluster)?;
    validate::text("node", name)?;
    Ok(cluster)
}
