//! The REST service: every route on one screen, a file per noun. `error` is the only place that names a failing status.

mod auth;
mod check;
mod error;
mod extract;
mod health;
mod history;
mod leases;
mod nodes;
mod pools;
mod release;
mod request;
mod summary;
mod validate;
mod vrfs;

use std::sync::Arc;

use axum::Router;
use axum::http::HeaderValue;
use axum::middleware::from_fn_with_state;
use axum::routing::{get, post};
use tower_http::catch_panic::CatchPanicLayer;

use crate::allocator::Allocator;
use crate::serve::Settings;
use crate::store::Store;
use crate::tokens::Tokens;
use error::Failure;
use summary::Summary;

/// What the handlers share.
pub struct App {
    store: Store,
    pub(crate) allocator: Allocator,
    summary: Summary,
    tokens: Option<Tokens>,
    service_id: HeaderValue,
}

impl App {
    /// A service over `store`.
    pub fn new(store: Store, settings: &Settings) -> Self {
        Self {
            allocator: Allocator::new(&store, settings.queue),
            summary: Summary::new(store.clone()),
            tokens: settings.tokens.clone(),
            service_id: service_id(&store),
            store,
        }
    }
}

fn service_id(store: &Store) -> HeaderValue {
    // The first migration wrote a UUID; anything else in its place cannot be a header, and then no client is pinned to it.
    HeaderValue::from_str(store.service_id()).unwrap_or(HeaderValue::from_static("unknown"))
}

/// Every route.
pub fn router(app: Arc<App>) -> Router {
    Router::new()
        .route("/v1/vrfs", get(vrfs::list).post(vrfs::create))
        .route("/v1/pools", get(pools::list).post(pools::create))
        .route(
            "/v1/pools/{pool}",
            get(pools::show).patch(pools::change).delete(pools::delete),
        )
        .route("/v1/pools/{pool}/changes", get(pools::changes))
        .route("/v1/leases", get(leases::list).post(leases::claim))
        .route("/v1/leases/{id}", get(leases::show).delete(leases::release))
        .route("/v1/nodes", get(nodes::list))
        .route("/v1/nodes/{node}", get(nodes::show).delete(nodes::forget))
        .route("/v1/release", post(release::release))
        .route("/v1/gc", post(release::collect))
        .route("/v1/check", post(check::check))
        .route("/v1/status", post(check::status))
        .route("/v1/history", get(history::list))
        .route("/healthz", get(health::alive))
        .route("/readyz", get(health::ready))
        .fallback(async || Failure::NotFound)
        .method_not_allowed_fallback(async || Failure::MethodNotAllowed)
        // Each layer costs every request: whatever can be a function call in `observe` is one.
        .layer(CatchPanicLayer::custom(error::panicked))
        .layer(from_fn_with_state(Arc::clone(&app), request::observe))
        .with_state(app)
}
