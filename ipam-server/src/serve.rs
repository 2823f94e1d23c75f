//! Serving: connections, background work, and the orderly end of both.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::socket::setsockopt;
use nix::sys::socket::sockopt::TcpUserTimeout;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tower::ServiceExt;

use crate::error::causes;
use crate::http::{self, App};
use crate::listen::Listener;
use crate::store::Store;
use crate::tokens::Tokens;

/// How long the requests under way get at the end.
const DRAIN_LIMIT: Duration = Duration::from_secs(10);
/// How long a connection may take to send a request's head, or rest between two requests. Longer than the 90 seconds for
/// which clients commonly keep a connection, so that none is closed under a request.
const HEAD_LIMIT: Duration = Duration::from_secs(100);
/// The longest head of a request.
const HEAD_BYTES: usize = 64 * 1024;
/// How long what was sent to a client may stay unread, or unacknowledged where the client's machine has gone.
const UNREAD_LIMIT: Duration = Duration::from_secs(30);
/// Connections at once, on all listeners together.
const CONNECTIONS: usize = 16_384;
/// Files that are open beside them: the database's, above all.
const OTHER_FILES: usize = 128;
/// So long after its start a server frees nothing of earlier boots: while no server was there, nobody could give a sign of
/// life. Nodes whose claims and checks failed try again sooner.
const HEARING: Duration = Duration::from_secs(60);
/// From one round of background work to the next, on average.
const TIDY_EVERY: Duration = Duration::from_secs(30);
/// The same where a short quarantine is to be kept.
const TIDY_AT_LEAST: Duration = Duration::from_millis(250);
/// Between rounds while there is more to do.
const TIDY_PAUSE: Duration = Duration::from_millis(50);

/// What the service does with requests.
#[derive(Clone)]
pub struct Settings {
    /// Whose tokens are asked for; nothing: every caller may do everything.
    pub tokens: Option<Tokens>,
    /// How many claims, and how many releases, may wait.
    pub queue: usize,
    /// How long history is kept.
    pub retention: Duration,
    /// How long the leases of a boot that its machine has left are withheld before they are freed.
    pub quarantine: Duration,
}

/// How many connections there may be at once. Each is an open file, and most systems allow a process only 1,024 of them
/// unless it asks for more.
fn room() -> usize {
    let raised = getrlimit(Resource::RLIMIT_NOFILE).map(|(now, most)| {
        // What was allowed before still is.
        setrlimit(Resource::RLIMIT_NOFILE, most, most).map_or(now, |()| most)
    });
    let files = usize::try_from(raised.unwrap_or_default()).unwrap_or(usize::MAX);
    (files.saturating_sub(OTHER_FILES)).clamp(OTHER_FILES, CONNECTIONS)
}

/// Serves `store` on `listeners` until `shutdown` ends. Then it accepts nothing more, finishes what is under way (for at
/// most ten seconds) and returns; closing the store is the caller's.
pub async fn serve(
    listeners: Vec<Listener>,
    store: Store,
    settings: Settings,
    shutdown: impl Future<Output = ()>,
) {
    let app = Arc::new(App::new(store.clone(), &settings));
    let (stop, stopping) = watch::channel(false);
    let tidy = tokio::spawn(tidy(store, settings, stopping.clone()));
    let router = http::router(Arc::clone(&app));
    let room = room();
    let slots = Arc::new(Semaphore::new(room));
    let mut accepting = JoinSet::new();
    for listener in listeners {
        accepting.spawn(accept(
            listener,
            router.clone(),
            Arc::clone(&slots),
            stopping.clone(),
        ));
    }
    shutdown.await;
    tracing::info!("stopping: finishing what is under way");
    // Fails only when nobody listens any more.
    let _ = stop.send(true);
    let finished = async {
        accepting.join_all().await;
        // Every connection holds a slot.
        let _ = slots.acquire_many(room as u32).await;
        app.allocator.drained().await;
        let _ = tidy.await;
    };
    if tokio::time::timeout(DRAIN_LIMIT, finished).await.is_err() {
        tracing::warn!("some requests did not finish in time and are given up");
    }
}

/// Accepts connections until told to stop; the listener (and the socket's file) goes with it.
async fn accept(
    listener: Listener,
    router: Router,
    slots: Arc<Semaphore>,
    mut stopping: watch::Receiver<bool>,
) {
    loop {
        // The semaphore is never closed.
        let Ok(slot) = Arc::clone(&slots).acquire_owned().await else {
            return;
        };
        let accepted = tokio::select! {
            accepted = accept_one(&listener) => accepted,
            () = stopped(&mut stopping) => return,
        };
        let (router, stopping) = (router.clone(), stopping.clone());
        match accepted {
            Ok(connection) => {
                tokio::spawn(async move {
                    connection.serve(router, stopping).await;
                    drop(slot);
                });
            }
            // Out of file descriptors, most likely: those of others come free.
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

enum Connection {
    Tcp(tokio::net::TcpStream),
    Unix(tokio::net::UnixStream),
}

async fn accept_one(listener: &Listener) -> std::io::Result<Connection> {
    match listener {
        Listener::Tcp(listener) => {
            let (stream, _) = listener.accept().await?;
            // Answers are small, and whoever waits for one waits for all of it.
            stream.set_nodelay(true)?;
            let limit = UNREAD_LIMIT.as_millis() as u32;
            // Not all systems can.
            let _ = setsockopt(&stream, TcpUserTimeout, &limit);
            Ok(Connection::Tcp(stream))
        }
        Listener::Unix(listener, _) => {
            let (stream, _) = listener.accept().await?;
            Ok(Connection::Unix(stream))
        }
    }
}

impl Connection {
    async fn serve(self, router: Router, stopping: watch::Receiver<bool>) {
        match self {
            Self::Tcp(stream) => serve_connection(stream, router, stopping).await,
            Self::Unix(stream) => serve_connection(stream, router, stopping).await,
        }
    }
}

async fn serve_connection<S>(stream: S, router: Router, mut stopping: watch::Receiver<bool>)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let service =
        router.map_request(|request: Request<hyper::body::Incoming>| request.map(Body::new));
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_LIMIT)
        .max_buf_size(HEAD_BYTES)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(service));
    let mut connection = pin!(connection);
    let outcome = tokio::select! {
        outcome = connection.as_mut() => outcome,
        () = stopped(&mut stopping) => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = outcome {
        tracing::debug!(%error, "a connection broke");
    }
}

/// Prunes, reclaims and goes on with surgery, a round at a time, until told to stop.
async fn tidy(store: Store, settings: Settings, mut stopping: watch::Receiver<bool>) {
    let every = (settings.quarantine / 4).clamp(TIDY_AT_LEAST, TIDY_EVERY);
    let begun = Instant::now();
    loop {
        let has_listened = begun.elapsed() >= settings.quarantine.min(HEARING);
        let pause = match tidy_round(&store, &settings, has_listened).await {
            Ok(true) => TIDY_PAUSE,
            Ok(false) => jittered(every),
            Err(error) => {
                tracing::warn!(error = %causes(&error), "background work failed; trying again later");
                jittered(every)
            }
        };
        if tokio::time::timeout(pause, stopped(&mut stopping))
            .await
            .is_ok()
        {
            return;
        }
    }
}

/// One round; true when there is more to do at once.
async fn tidy_round(
    store: &Store,
    settings: &Settings,
    has_listened: bool,
) -> crate::error::Result<bool> {
    // Both, whatever becomes of either.
    let tidied = store.tidy(settings.retention).await;
    let reclaimed = match has_listened {
        true => store.reclaim(settings.quarantine).await,
        false => Ok(false),
    };
    Ok(tidied? | reclaimed?)
}

async fn stopped(stopping: &mut watch::Receiver<bool>) {
    // The sender lives until everything has stopped.
    let _ = stopping.wait_for(|stop| *stop).await;
}

/// Half to one and a half of it: several servers of one database should not meet.
fn jittered(pause: Duration) -> Duration {
    let random = uuid::Uuid::now_v7().as_bytes()[15];
    pause / 2 + pause * u32::from(random) / 255
}
