//! Reads bodies, queries and paths; what is wrong with them is told as every other failure, by field.

use std::error::Error as _;
use std::time::Duration;

use axum::body::{Bytes, HttpBody};
use axum::extract::rejection::{BytesRejection, FailedToBufferBody};
use axum::extract::{self, FromRequest, FromRequestParts, Request};
use axum::http::header::CONTENT_TYPE;
use axum::http::request::Parts;
use serde::de::DeserializeOwned;
use tokio::sync::{Semaphore, SemaphorePermit};

use super::error::Failure;
use crate::error::causes;

/// The largest body; the attachments of a GC are the longest list.
pub(super) const BODY_BYTES: usize = 4 * 1024 * 1024;
/// Larger bodies than this are few: only a GC with a long list, or a replay, has one.
const SMALL_BODY: u64 = 64 * 1024;
/// So many larger bodies are read at once, and the others wait: else a hundred clients that hold theirs back would fill
/// the memory.
static LARGE_BODIES: Semaphore = Semaphore::const_new(16);
/// How long a body may take to arrive.
const BODY_LIMIT: Duration = Duration::from_secs(30);

/// A JSON body.
pub(super) struct Json<T>(pub(super) T);

/// The query, without parameters that are unknown.
pub(super) struct Query<T>(pub(super) T);

/// The variable parts of the path.
pub(super) struct Path<T>(pub(super) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Json<T> {
    type Rejection = Failure;

    async fn from_request(request: Request, state: &S) -> Result<Self, Failure> {
        check_content_type(&request)?;
        let (body, _place) = read_body(request, state).await?;
        match serde_json::from_slice(&body) {
            Ok(value) => Ok(Self(value)),
            Err(error) => Err(name_field::<T>(&body, &error)),
        }
    }
}

/// Reads a body again that is wrong, to tell where. It costs too much for those that are right.
fn name_field<T: DeserializeOwned>(body: &[u8], error: &serde_json::Error) -> Failure {
    let mut json = serde_json::Deserializer::from_slice(body);
    let (path, what) = match serde_path_to_error::deserialize::<_, T>(&mut json) {
        Err(error) => (error.path().to_string(), error.into_inner().to_string()),
        // It is what comes after it that is wrong.
        Ok(_) => (".".to_owned(), error.to_string()),
    };
    Failure::invalid(match path.as_str() {
        "." | "?" => format!("body: {what}"),
        field => format!("{field}: {what}"),
    })
}

/// `application/json`, or a format that is JSON underneath (`application/merge-patch+json`).
fn check_content_type(request: &Request) -> Result<(), Failure> {
    let header = request.headers().get(CONTENT_TYPE);
    let text = header
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    let essence = text.split(';').next().unwrap_or_default().trim();
    let essence = essence.to_ascii_lowercase();
    let subtype = essence.strip_prefix("application/");
    match subtype.is_some_and(|subtype| subtype == "json" || subtype.ends_with("+json")) {
        true => Ok(()),
        false => Err(Failure::NotJson(text.to_owned())),
    }
}

/// Reads a body, and answers what it takes up among the large ones.
async fn read_body<S: Send + Sync>(
    request: Request,
    state: &S,
) -> Result<(Bytes, Option<SemaphorePermit<'static>>), Failure> {
    let reading = async {
        let size = request.body().size_hint().upper();
        let place = match size.is_some_and(|size| size <= SMALL_BODY) {
            true => None,
            // The semaphore is never closed.
            false => LARGE_BODIES.acquire().await.ok(),
        };
        Ok((Bytes::from_request(request, state).await?, place))
    };
    match tokio::time::timeout(BODY_LIMIT, reading).await {
        Ok(Ok(read)) => Ok(read),
        Ok(Err(BytesRejection::FailedToBufferBody(FailedToBufferBody::LengthLimitError(_)))) => {
            Err(Failure::TooBig(BODY_BYTES))
        }
        Ok(Err(_)) => Err(Failure::BodyLost("the connection broke before its end")),
        Err(_) => Err(Failure::BodyLost("it did not arrive in time")),
    }
}

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Query<T> {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Failure> {
        match extract::Query::try_from_uri(&parts.uri) {
            Ok(extract::Query(value)) => Ok(Self(value)),
            Err(error) => {
                // The rejection's own words say "failed to deserialize"; its cause names the parameter.
                let cause = error.source().map_or_else(|| error.to_string(), causes);
                Err(Failure::invalid(format!("query: {cause}")))
            }
        }
    }
}

impl<T: DeserializeOwned + Send, S: Send + Sync> FromRequestParts<S> for Path<T> {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Failure> {
        match extract::Path::from_request_parts(parts, state).await {
            Ok(extract::Path(value)) => Ok(Self(value)),
            Err(error) => Err(Failure::invalid(format!("path: {}", error.body_text()))),
        }
    }
}
