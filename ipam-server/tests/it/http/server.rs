//! A server inside the test's process, over a database of its own.

use std::ops::Deref;
use std::time::Duration;

use ipam_server::listen::{Address, bind_all};
use ipam_server::store::Store;
use ipam_server::tokens::Tokens;
use ipam_server::{Settings, serve};
use tempfile::TempDir;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::rest::Rest;

/// A server and its client.
pub(super) struct Server {
    rest: Rest,
    store: Store,
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
    /// The SQLite file's, when it is one.
    pub(super) folder: TempDir,
}

impl Deref for Server {
    type Target = Rest;

    fn deref(&self) -> &Rest {
        &self.rest
    }
}

/// What most tests need.
pub(super) fn settings() -> Settings {
    Settings {
        quarantine: Duration::from_secs(600),
        tokens: None,
        queue: 1_000,
        retention: Duration::from_secs(86_400),
    }
}

impl Server {
    pub(super) async fn sqlite() -> Self {
        Self::sqlite_with(settings()).await
    }

    pub(super) async fn sqlite_with(settings: Settings) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let url = format!("sqlite://{}", folder.path().join("ipam.db").display());
        Self::start(&url, settings, folder).await
    }

    pub(super) async fn sqlite_with_tokens(tokens: Tokens) -> Self {
        let tokens = Some(tokens);
        Self::sqlite_with(Settings {
            tokens,
            ..settings()
        })
        .await
    }

    pub(super) async fn postgres(url: &str) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        Self::start(url, settings(), folder).await
    }

    async fn start(url: &str, settings: Settings, folder: TempDir) -> Self {
        let store = Store::open(url).await.expect("the database opens");
        let address: Address = "127.0.0.1:0".parse().expect("an address");
        let listeners = bind_all(&[address]).await.expect("a port");
        let rest = Rest::new(&listeners[0].curl());
        let (stop, stopped) = oneshot::channel();
        let shutdown = async move {
            let _ = stopped.await;
        };
        let task = tokio::spawn(serve(listeners, store.clone(), settings, shutdown));
        Self {
            rest,
            store,
            stop,
            task,
            folder,
        }
    }

    /// Stops the server and checks the books.
    pub(super) async fn end(self) {
        self.stop.send(()).expect("the server runs");
        self.task.await.expect("the server ends");
        let wrong = self.store.audit().await.expect("an audit");
        assert_eq!(wrong, Vec::<String>::new());
        self.store.close().await;
    }
}

/// Runs a test on SQLite, and on PostgreSQL where there is one.
pub(super) async fn everywhere(test: impl AsyncFn(&Server)) {
    let server = Server::sqlite().await;
    test(&server).await;
    server.end().await;
    if let Some(url) = harness::postgres::database() {
        let server = Server::postgres(&url).await;
        test(&server).await;
        server.end().await;
    }
}
