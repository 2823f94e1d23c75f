//! What every request and every answer has: an id, the service's id, one line in the log, and errors as problem details.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{DefaultBodyLimit, MatchedPath, Request, State};
use axum::http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use axum::http::{HeaderName, HeaderValue, Method, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use ipam_api::{Problem, SERVICE_ID_HEADER};
use tokio::time::Instant;
use tracing::field::{Empty, display};
use tracing::{Instrument, Span};
use uuid::Uuid;

use super::extract::BODY_BYTES;
use super::{App, auth};

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const SERVICE_ID: HeaderName = HeaderName::from_static(SERVICE_ID_HEADER);
/// The longest id that a client may give its request.
const LONGEST_ID: usize = 128;

/// When a request arrived; its deadline counts from here.
#[derive(Clone, Copy)]
pub(super) struct Arrival(pub(super) Instant);

/// Surrounds everything else.
pub(super) async fn observe(
    State(app): State<Arc<App>>,
    mut request: Request,
    next: Next,
) -> Response {
    let arrival = Instant::now();
    request.extensions_mut().insert(Arrival(arrival));
    DefaultBodyLimit::max(BODY_BYTES).apply(&mut request);
    let id = request_id(&request);
    let span = span(&request, &id);
    let kind = Kind::of(&request);
    let served = async {
        match auth::admit(&app, &request) {
            Ok(()) => next.run(request).await,
            Err(failure) => failure.into_response(),
        }
    };
    let mut response = served.instrument(span.clone()).await;
    let problem = response.extensions_mut().remove::<Problem>();
    span.in_scope(|| kind.log(response.status(), problem.as_ref(), arrival));
    if let Some(problem) = problem {
        response = write_problem(response, problem, &id);
    }
    let headers = response.headers_mut();
    headers.insert(SERVICE_ID, app.service_id.clone());
    headers.insert(REQUEST_ID, id);
    response
}

/// Adds to the request's lines in the log whom or what it is about.
pub(super) fn about(field: &'static str, value: impl std::fmt::Display) {
    Span::current().record(field, display(value));
}

/// The client's own id when it can be trusted in a log, else a new one.
fn request_id(request: &Request) -> HeaderValue {
    let sane = |value: &&HeaderValue| {
        let bytes = value.as_bytes();
        (1..=LONGEST_ID).contains(&bytes.len())
            && bytes
                .iter()
                .all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(byte))
    };
    let given = request.headers().get(REQUEST_ID);
    given.filter(sane).cloned().unwrap_or_else(new_id)
}

fn new_id() -> HeaderValue {
    let id = Uuid::now_v7().simple().to_string();
    HeaderValue::from_str(&id).unwrap_or(HeaderValue::from_static("none"))
}

fn span(request: &Request, id: &HeaderValue) -> Span {
    tracing::info_span!(
        "request",
        id = id.to_str().unwrap_or_default(),
        method = %request.method(),
        path = path(request),
        attachment = Empty,
        pool = Empty,
        node = Empty,
    )
}

/// The route's path, which is the same for all of its requests; the path itself where there is no route.
fn path(request: &Request) -> &str {
    request
        .extensions()
        .get::<MatchedPath>()
        .map_or(request.uri().path(), MatchedPath::as_str)
}

fn write_problem(response: Response, mut problem: Problem, id: &HeaderValue) -> Response {
    problem.request_id = id.to_str().ok().map(str::to_owned);
    let (mut parts, _) = response.into_parts();
    // Plain strings and numbers: there is nothing that cannot be written.
    let body = serde_json::to_vec(&problem).unwrap_or_default();
    let json = HeaderValue::from_static("application/problem+json");
    parts.headers.insert(CONTENT_TYPE, json);
    parts.headers.remove(CONTENT_LENGTH);
    Response::from_parts(parts, Body::from(body))
}

/// How loud a request's line is when it succeeds.
#[derive(Clone, Copy, PartialEq)]
enum Kind {
    /// An admin's change.
    Change,
    /// Reads, and what nodes do all day.
    Daily,
}

impl Kind {
    fn of(request: &Request) -> Self {
        let reads = matches!(*request.method(), Method::GET | Method::HEAD);
        match reads || auth::is_for_nodes(request) {
            true => Self::Daily,
            false => Self::Change,
        }
    }

    fn log(self, status: StatusCode, problem: Option<&Problem>, arrival: Instant) {
        let took_us = u64::try_from(arrival.elapsed().as_micros()).unwrap_or(u64::MAX);
        let why = problem.map(|problem| problem.detail.as_str());
        let status = status.as_u16();
        match status {
            // The error itself was told where it became an answer, and it is one.
            500 => tracing::warn!(status, took_us, why, "failed"),
            501.. => tracing::warn!(status, took_us, why, "not served"),
            400.. => tracing::info!(status, took_us, why, "refused"),
            _ if self == Self::Change => tracing::info!(status, took_us, "served"),
            _ => tracing::debug!(status, took_us, "served"),
        }
    }
}
