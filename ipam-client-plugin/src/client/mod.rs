//! Calls of the service: one request, tried at the listed servers in turn until one answers or the time is up.
//!
//! Every call is idempotent, so that a try whose answer got lost may be repeated elsewhere. This is the only place on
//! the node that retries.

mod answer;
mod candidates;
mod http;

use std::cell::OnceCell;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use cni::Error;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tokio::runtime::{Builder, Runtime};

use crate::fault::Fault;
use crate::hash;
use crate::server::Server;
use answer::Miss;
use candidates::Candidates;

/// Where a service is, and how to be let in.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Access {
    /// Its servers.
    pub servers: Vec<Server>,
    /// The id that its answers must carry; none before the first success.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service_id: Option<String>,
    /// A file with the bearer token, read anew for each call: tokens are rotated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token_file: Option<PathBuf>,
    /// A file with the certificates that `https://` servers are checked against.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_file: Option<PathBuf>,
}

/// How long a call goes on.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// When it ends at the latest.
    pub deadline: Instant,
    /// Whether it tries servers again that did not answer.
    pub repeats: bool,
}

impl Patience {
    /// Until the deadline.
    pub fn until(deadline: Instant) -> Self {
        Self {
            deadline,
            repeats: true,
        }
    }

    /// Each server once, within `time` from now.
    pub fn once_within(time: Duration) -> Self {
        Self {
            deadline: Instant::now() + time,
            repeats: false,
        }
    }
}

/// A useful answer.
#[derive(Clone, Debug)]
pub struct Reply<T> {
    /// Which of the servers gave it, and whether it was the first in line.
    pub server: Server,
    /// Whether a server that goes before it gave none.
    pub in_place_of_another: bool,
    /// The service's id.
    pub service_id: String,
    /// What it says.
    pub body: T,
}

/// A client of one service. Connections are kept while it lives.
#[derive(Debug)]
pub struct Client {
    access: Access,
    /// The index of the server that is asked first.
    first: usize,
    http: Vec<OnceCell<reqwest::Client>>,
    runtime: Option<Runtime>,
}

impl Client {
    /// A client that asks `first` first, or else a server chosen by the node's name, so that the nodes of a cluster
    /// spread over the servers. Nothing is connected yet.
    pub fn new(access: Access, first: Option<&Server>, node: &str) -> Result<Self, Error> {
        let runtime = Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|e| Error::io(format!("cannot start the runtime: {e}")))?;
        let preferred = first.and_then(|first| access.servers.iter().position(|s| s == first));
        let spread = || usize::try_from(hash::stable(&[node]) % access.servers.len().max(1) as u64);
        Ok(Self {
            first: preferred.or_else(|| spread().ok()).unwrap_or(0),
            http: access.servers.iter().map(|_| OnceCell::new()).collect(),
            access,
            runtime: Some(runtime),
        })
    }

    /// Whom it speaks to.
    pub fn access(&self) -> &Access {
        &self.access
    }

    /// Pins the service, once it is known.
    pub fn pin(&mut self, service_id: &str) {
        self.access.service_id = Some(service_id.to_owned());
    }

    /// POSTs to a path of the API. `body` makes the request's body out of the time that is left.
    pub fn post<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &dyn Fn(Duration) -> Vec<u8>,
        patience: Patience,
    ) -> Result<Reply<T>, Fault> {
        let runtime = self.runtime.as_ref().expect("it is taken by drop only");
        runtime.block_on(self.try_in_turn(path, body, patience))
    }

    async fn try_in_turn<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &dyn Fn(Duration) -> Vec<u8>,
        patience: Patience,
    ) -> Result<Reply<T>, Fault> {
        let token = self.token()?;
        let mut candidates = Candidates::new(self.access.servers.len(), self.first);
        let mut in_doubt = false;
        while let Some(turn) = candidates.next(patience) {
            // Even a sleep of nothing takes a millisecond, as long as all the rest of a call.
            if !turn.pause.is_zero() {
                tokio::time::sleep(turn.pause).await;
            }
            let left = patience.deadline.saturating_duration_since(Instant::now());
            let request = self.request(turn.index, path, token.as_deref())?;
            let answer = http::send(request.body(body(left)), turn.share).await;
            let server = &self.access.servers[turn.index];
            let pinned = self.access.service_id.as_deref();
            match answer.and_then(|answer| answer.judge::<T>(server, pinned)) {
                Ok((service_id, body)) => {
                    return Ok(Reply {
                        server: server.clone(),
                        in_place_of_another: turn.index != self.first,
                        service_id,
                        body,
                    });
                }
                Err(Miss::Definite(mut fault)) => {
                    fault.note_doubt(in_doubt);
                    return Err(fault);
                }
                Err(Miss::Try(miss)) => {
                    in_doubt |= miss.sent;
                    candidates.missed(turn.index, miss);
                }
            }
        }
        Err(Fault::Unanswered {
            passing: candidates.passing(),
            tries: candidates.report(&self.access.servers),
            in_doubt,
        })
    }

    fn token(&self) -> Result<Option<String>, Fault> {
        let Some(path) = &self.access.token_file else {
            return Ok(None);
        };
        let text = std::fs::read_to_string(path).map_err(|e| {
            Fault::Local(format!(
                "cannot read the token from {}: {e}",
                path.display()
            ))
        })?;
        match text.trim() {
            "" => Err(Fault::Local(format!("{} holds no token", path.display()))),
            token => Ok(Some(token.to_owned())),
        }
    }
}

impl Drop for Client {
    /// Does not wait for a name that is still being resolved on a thread of the runtime's.
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}
