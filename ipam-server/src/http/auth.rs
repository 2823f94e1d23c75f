//! Who may do what, and for whom a request is meant.

use std::sync::Arc;

use axum::extract::{MatchedPath, Request, State};
use axum::http::Method;
use axum::http::header::AUTHORIZATION;
use axum::middleware::Next;
use axum::response::Response;
use ipam_api::SERVICE_ID_HEADER;

use super::App;
use super::error::{Failure, Result};
use crate::tokens::Role;

/// What a node's token may `POST` to.
const NODE_PATHS: [&str; 5] = [
    "/v1/leases",
    "/v1/release",
    "/v1/gc",
    "/v1/check",
    "/v1/status",
];
/// What anybody may ask: probes have no token.
const OPEN_PATHS: [&str; 2] = ["/healthz", "/readyz"];

/// Refuses a request whose sender is pinned to another service, before anything is done.
pub(super) async fn check_service(
    State(app): State<Arc<App>>,
    request: Request,
    next: Next,
) -> Result<Response> {
    match request.headers().get(SERVICE_ID_HEADER) {
        Some(asked) if asked != app.service_id => Err(Failure::WrongService {
            own: app.store.service_id().to_owned(),
            asked: String::from_utf8_lossy(asked.as_bytes()).into_owned(),
        }),
        _ => Ok(next.run(request).await),
    }
}

/// Asks for a token, where tokens are kept.
pub(super) async fn check_token(
    State(app): State<Arc<App>>,
    request: Request,
    next: Next,
) -> Result<Response> {
    let path = request.extensions().get::<MatchedPath>();
    let open = path.is_some_and(|path| OPEN_PATHS.contains(&path.as_str()));
    if let Some(tokens) = app.tokens.as_ref().filter(|_| !open) {
        let given = bearer(&request)?;
        let role = tokens.role(given).ok_or(Failure::Unauthenticated(
            "the bearer token is in no token file of this server",
        ))?;
        // What has no route is answered as such, so that a newer plugin can tell that this server is older.
        if role == Role::Node && path.is_some() && !is_for_nodes(&request) {
            return Err(Failure::Forbidden);
        }
    }
    Ok(next.run(request).await)
}

/// Whether a node's token is enough for this.
pub(super) fn is_for_nodes(request: &Request) -> bool {
    let path = request.extensions().get::<MatchedPath>();
    *request.method() == Method::POST
        && path.is_some_and(|path| NODE_PATHS.contains(&path.as_str()))
}

fn bearer(request: &Request) -> Result<&str> {
    let missing = Failure::Unauthenticated("this needs the header Authorization: Bearer TOKEN");
    let Some(value) = request.headers().get(AUTHORIZATION) else {
        return Err(missing);
    };
    match value.to_str().ok().and_then(|text| text.split_once(' ')) {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => Ok(token.trim()),
        _ => Err(missing),
    }
}
