//! The netlink connection to one namespace. Everything that talks rtnetlink goes through here, so that the rest of the
//! plugins is plain sequential code and errors name what failed, where, and what the kernel's number means.

use std::future::Future;
use std::rc::Rc;
use std::time::Duration;

use cni::Error;
use futures_util::{Stream, TryStreamExt};
use nix::errno::Errno;
use rtnetlink::Handle;
use tokio::runtime::{Builder, Runtime};

use crate::fault;
use crate::netns::Netns;

/// The kernel answers at once; a plugin that waits for longer than this has lost a message.
const PATIENCE: Duration = Duration::from_secs(10);

/// A netlink socket inside one namespace.
#[derive(Clone)]
pub struct Netlink {
    runtime: Rc<Runtime>,
    handle: Handle,
    netns: Rc<Netns>,
    place: Rc<str>,
}

impl Netlink {
    /// Connects to the namespace in which the plugin was started.
    pub fn host() -> Result<Netlink, Error> {
        let runtime = Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|e| Error::io(format!("cannot start the event loop: {e}")))?;
        let netns = Rc::new(Netns::own()?);
        Netlink::connect(Rc::new(runtime), netns, "the host".into())
    }

    /// Connects to another namespace.
    pub fn enter(&self, netns: Netns) -> Result<Netlink, Error> {
        let place = format!("netns {:?}", netns.path()).into();
        Netlink::connect(Rc::clone(&self.runtime), Rc::new(netns), place)
    }

    fn connect(runtime: Rc<Runtime>, netns: Rc<Netns>, place: Rc<str>) -> Result<Netlink, Error> {
        let opened = {
            let _reactor = runtime.enter();
            netns.visit(rtnetlink::new_connection)?
        };
        let (connection, handle, _) = opened
            .map_err(|e| Error::io(format!("cannot open a netlink socket in {place}: {e}")))?;
        runtime.spawn(connection);
        Ok(Netlink {
            runtime,
            handle,
            netns,
            place,
        })
    }

    /// The namespace that this connection is about.
    pub fn netns(&self) -> &Netns {
        &self.netns
    }

    /// What to call the namespace in an error.
    pub fn place(&self) -> &str {
        &self.place
    }

    pub(crate) fn handle(&self) -> &Handle {
        &self.handle
    }

    /// Runs one request to its end.
    pub(crate) fn wait<T>(
        &self,
        request: impl Future<Output = Result<T, rtnetlink::Error>>,
    ) -> Result<T, Failure> {
        fault::point("netlink").map_err(|e| Failure::Other(e.msg))?;
        self.runtime.block_on(async {
            match tokio::time::timeout(PATIENCE, request).await {
                Ok(answer) => answer.map_err(Failure::from),
                Err(_) => Err(Failure::Silence),
            }
        })
    }

    /// Runs one request that is answered by many messages.
    pub(crate) fn collect<T>(
        &self,
        answers: impl Stream<Item = Result<T, rtnetlink::Error>>,
    ) -> Result<Vec<T>, Failure> {
        self.wait(answers.try_collect())
    }
}

/// Why the kernel refused.
#[derive(Debug)]
pub(crate) enum Failure {
    Errno(i32),
    Silence,
    Other(String),
}

impl Failure {
    pub(crate) fn is(&self, errno: Errno) -> bool {
        matches!(self, Failure::Errno(e) if *e == errno as i32)
    }

    /// The error "what: meaning", code 999.
    pub(crate) fn during(&self, what: impl std::fmt::Display) -> Error {
        Error::internal(format!("{what}: {self}"))
    }
}

impl From<rtnetlink::Error> for Failure {
    fn from(error: rtnetlink::Error) -> Self {
        match error {
            rtnetlink::Error::NetlinkError(message) => {
                Failure::Errno(message.raw_code().saturating_neg())
            }
            other => Failure::Other(other.to_string()),
        }
    }
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Failure::Errno(errno) => f.write_str(&meaning(*errno)),
            Failure::Silence => f.write_str("the kernel did not answer"),
            Failure::Other(text) => f.write_str(text),
        }
    }
}

/// What an error number means, in the words that operators know from upstream's plugins: "file exists".
pub(crate) fn meaning(errno: i32) -> String {
    let text = std::io::Error::from_raw_os_error(errno).to_string();
    let text = text.split(" (os error").next().unwrap_or_default();
    let mut letters = text.chars();
    let first = letters.next().map(|c| c.to_ascii_lowercase());
    first.into_iter().chain(letters).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn error_numbers_are_told_in_words() {
        for (errno, text) in [
            (Errno::EEXIST, "file exists"),
            (Errno::ENETUNREACH, "network is unreachable"),
            (Errno::EOPNOTSUPP, "operation not supported"),
        ] {
            assert_eq!(meaning(errno as i32), text);
        }
    }
}
