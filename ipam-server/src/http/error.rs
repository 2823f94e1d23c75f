//! What a failure looks like from outside: the only place that names a failing status.

use std::any::Any;
use std::error::Error as StdError;

use axum::body::Body;
use axum::http::header::{RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderValue, Response as HttpResponse, StatusCode};
use axum::response::{IntoResponse, Response};
use ipam_api::{Code, Problem};

use crate::error::{Error, causes};

/// How soon a client may try again when the database is away or the queue is full.
const RETRY_AFTER_S: u64 = 1;

/// The result of a handler.
pub(super) type Result<T, E = Failure> = std::result::Result<T, E>;

/// Why a request is not served.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    /// In words of the domain.
    #[error(transparent)]
    Domain(#[from] Error),
    /// No route has this path.
    #[error("there is no such route; the README lists them")]
    NotFound,
    /// The route does not have this method; the header Allow lists its methods.
    #[error("this route does not have this method; the header Allow lists its methods")]
    MethodNotAllowed,
    /// The body is not JSON by its own word.
    #[error("content-type: {0:?} is not application/json")]
    NotJson(String),
    /// The body did not arrive.
    #[error("body: {0}")]
    BodyLost(&'static str),
    /// The body is too big.
    #[error("body: more than {0} bytes; send several requests")]
    TooBig(usize),
    /// No token, or one that is in no file.
    #[error("{0}")]
    Unauthenticated(&'static str),
    /// The token's role does not allow this.
    #[error("a node's token may claim, release, gc, check and ask for status only")]
    Forbidden,
    /// The client means another service.
    #[error(
        "this is service {own}, and the request is meant for service {asked}: the address leads to another database than before"
    )]
    WrongService {
        /// This service's id.
        own: String,
        /// The id that the client is pinned to.
        asked: String,
    },
}

impl Failure {
    /// A field of the request is wrong.
    pub(super) fn invalid(text: impl Into<String>) -> Self {
        Self::Domain(Error::Invalid(text.into()))
    }

    fn status_and_code(&self) -> (StatusCode, Code) {
        match self {
            Self::Domain(error) => domain(error),
            Self::NotFound => (StatusCode::NOT_FOUND, Code::NotFound),
            Self::MethodNotAllowed => (StatusCode::METHOD_NOT_ALLOWED, Code::InvalidRequest),
            Self::NotJson(_) => (StatusCode::UNSUPPORTED_MEDIA_TYPE, Code::InvalidRequest),
            Self::BodyLost(_) => (StatusCode::REQUEST_TIMEOUT, Code::InvalidRequest),
            Self::TooBig(_) => (StatusCode::PAYLOAD_TOO_LARGE, Code::InvalidRequest),
            Self::Unauthenticated(_) => (StatusCode::UNAUTHORIZED, Code::Unauthenticated),
            Self::Forbidden => (StatusCode::FORBIDDEN, Code::Forbidden),
            Self::WrongService { .. } => (StatusCode::CONFLICT, Code::WrongService),
        }
    }

    fn retry_after_s(&self) -> Option<u64> {
        match self {
            Self::Domain(Error::Unavailable { .. }) => Some(RETRY_AFTER_S),
            Self::Domain(Error::PoolExhausted { retry_after_s, .. }) => *retry_after_s,
            _ => None,
        }
    }
}

fn domain(error: &Error) -> (StatusCode, Code) {
    match error {
        Error::Invalid(_) => (StatusCode::BAD_REQUEST, Code::InvalidRequest),
        Error::VrfNotFound(_) => (StatusCode::NOT_FOUND, Code::VrfNotFound),
        Error::PoolNotFound(_) => (StatusCode::NOT_FOUND, Code::PoolNotFound),
        Error::LeaseNotFound(_) => (StatusCode::NOT_FOUND, Code::LeaseNotFound),
        Error::NodeNotFound { .. } => (StatusCode::NOT_FOUND, Code::NodeNotFound),
        Error::PoolExhausted { .. } => (StatusCode::INSUFFICIENT_STORAGE, Code::PoolExhausted),
        Error::AddressTaken { .. } => (StatusCode::CONFLICT, Code::AddressTaken),
        Error::AttachmentDiffers { .. } => (StatusCode::CONFLICT, Code::AttachmentDiffers),
        Error::Superseded(_) => (StatusCode::CONFLICT, Code::Superseded),
        Error::NodeNameConflict { .. } => (StatusCode::CONFLICT, Code::NodeNameConflict),
        Error::PoolInUse { .. } => (StatusCode::CONFLICT, Code::PoolInUse),
        Error::RangesOverlap(_) => (StatusCode::CONFLICT, Code::RangesOverlap),
        Error::Stale { .. } => (StatusCode::PRECONDITION_FAILED, Code::Stale),
        Error::AlreadyExists(_) => (StatusCode::CONFLICT, Code::AlreadyExists),
        Error::Unavailable { .. } => (StatusCode::SERVICE_UNAVAILABLE, Code::Unavailable),
        Error::Database(_) | Error::Internal(_) => {
            (StatusCode::INTERNAL_SERVER_ERROR, Code::Internal)
        }
    }
}

impl IntoResponse for Failure {
    /// An answer without a body: `request::observe` knows the request's id, and writes it.
    fn into_response(self) -> Response {
        let (status, code) = self.status_and_code();
        self.log(code);
        let detail = match code {
            Code::Internal => {
                "internal error; the server's log has the details under this request_id".to_owned()
            }
            _ => self.to_string(),
        };
        let problem = Problem {
            kind: "about:blank".to_owned(),
            title: status.canonical_reason().unwrap_or_default().to_owned(),
            status: status.as_u16(),
            detail,
            code,
            request_id: None,
        };
        let mut response = status.into_response();
        if let Some(seconds) = self.retry_after_s() {
            response.headers_mut().insert(RETRY_AFTER, seconds.into());
        }
        if code == Code::Unauthenticated {
            let challenge = HeaderValue::from_static("Bearer");
            response.headers_mut().insert(WWW_AUTHENTICATE, challenge);
        }
        response.extensions_mut().insert(problem);
        response
    }
}

impl Failure {
    /// What the client is not told is told here, once.
    fn log(&self, code: Code) {
        match (code, self) {
            (Code::Internal, _) => tracing::error!(error = %causes(self), "internal error"),
            (Code::Unavailable, Self::Domain(error)) if error.source().is_some() => {
                tracing::warn!(error = %causes(error), "the database cannot serve");
            }
            _ => {}
        }
    }
}

/// The answer when a handler panicked.
pub(super) fn panicked(panic: Box<dyn Any + Send + 'static>) -> HttpResponse<Body> {
    let text = panic
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| panic.downcast_ref::<&str>().copied())
        .unwrap_or("of an unknown kind");
    Failure::Domain(Error::internal(format!("a panic: {text}"))).into_response()
}
