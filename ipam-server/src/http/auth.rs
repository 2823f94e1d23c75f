//! Who may do what, and for whom a request is meant.

use axum::extract::{MatchedPath, Request};
use axum::http::Method;
use axum::http::header::AUTHORIZATION;
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

/// Refuses, before anything is done, a request whose sender is pinned to another service, or who may not do this.
pub(super) fn admit(app: &App, request: &Request) -> Result<()> {
    check_service(app, request)?;
    check_token(app, request)
}

fn check_service(app: &App, request: &Request) -> Result<()> {
    match request.headers().get(SERVICE_ID_HEADER) {
        Some(asked) if asked != app.service_id => Err(Failure::WrongService {
            own: app.store.service_id().to_owned(),
            asked: String::from_utf8_lossy(asked.as_bytes()).into_owned(),
        }),
        _ => Ok(()),
    }
}

/// Asks for a token, where tokens are kept.
fn check_token(app: &App, request: &Request) -> Result<()> {
    let path = request.extensions().get::<MatchedPath>();
    let open = path.is_some_and(|path| OPEN_PATHS.contains(&path.as_str()));
    let Some(tokens) = app.tokens.as_ref().filter(|_| !open) else {
        return Ok(());
    };
    let role = tokens
        .role(bearer(request)?)
        .ok_or(Failure::Unauthenticated(
            "the bearer token is in no token file of this server",
        ))?;
    // What has no route is answered as such, so that a newer plugin can tell that this server is older.
    match role == Role::Node && path.is_some() && !is_for_nodes(request) {
        true => Err(Failure::Forbidden),
        false => Ok(()),
    }
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
