//! Requests to the server's own router over a SQLite file: no input is a failure of the server's.
//!
//! An input is the method and the path with its query in the first line, and the body.

#![no_main]

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::{Request, StatusCode, header};
use ipam_server::Settings;
use ipam_server::http::{App, router};
use ipam_server::store::Store;
use libfuzzer_sys::fuzz_target;
use tempfile::TempDir;
use tokio::runtime::{Builder, Runtime};
use tower::ServiceExt;

/// A service that goes on from input to input: its pools and leases are those of earlier ones.
static SERVICE: LazyLock<Service> = LazyLock::new(Service::start);

struct Service {
    runtime: Runtime,
    router: Router,
    _folder: TempDir,
}

impl Service {
    fn start() -> Self {
        let runtime = Builder::new_current_thread().enable_all().build();
        let runtime = runtime.expect("a runtime");
        let folder = TempDir::with_prefix("ipam-fuzz-").expect("a folder");
        let url = format!("sqlite://{}", folder.path().join("ipam.db").display());
        let store = runtime.block_on(Store::open(&url)).expect("a database");
        let settings = Settings {
            tokens: None,
            queue: 64,
            retention: Duration::from_secs(60),
            quarantine: Duration::from_secs(60),
        };
        let router = runtime.block_on(async { router(Arc::new(App::new(store, &settings))) });
        Self {
            runtime,
            router,
            _folder: folder,
        }
    }

    fn status(&self, request: Request<Body>) -> StatusCode {
        let answer = self.runtime.block_on(self.router.clone().oneshot(request));
        answer.expect("a router answers").status()
    }
}

fuzz_target!(|input: &[u8]| {
    if let Some(request) = request(input) {
        let status = SERVICE.status(request);
        assert_ne!(status, StatusCode::INTERNAL_SERVER_ERROR);
    }
});

fn request(input: &[u8]) -> Option<Request<Body>> {
    let end = input.iter().position(|byte| *byte == b'\n')?;
    let line = str::from_utf8(&input[..end]).ok()?;
    let (method, path) = line.split_once(' ')?;
    Request::builder()
        .method(method)
        .uri(path)
        .header(header::CONTENT_TYPE, "application/json")
        .body(Body::from(input[end + 1..].to_vec()))
        .ok()
}
