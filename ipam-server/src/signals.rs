//! What the process is told by signals.

use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::error::{Error, Result, causes};
use crate::tokens::Tokens;

/// SIGTERM and SIGINT, listened to from the moment that this is made.
pub struct Stop {
    terminate: Signal,
    interrupt: Signal,
}

impl Stop {
    /// Begins to listen.
    ///
    /// # Errors
    /// `Internal` when the process cannot listen to signals.
    pub fn listen() -> Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate()).map_err(Error::internal)?,
            interrupt: signal(SignalKind::interrupt()).map_err(Error::internal)?,
        })
    }

    /// Ends when the process is told to stop.
    pub async fn told(mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

/// Reads the token files again at each SIGHUP.
///
/// # Errors
/// `Internal` when the process cannot listen to signals.
pub fn reload_on_hangup(tokens: Option<Tokens>) -> Result<()> {
    let mut hangup = signal(SignalKind::hangup()).map_err(Error::internal)?;
    tokio::spawn(async move {
        while hangup.recv().await.is_some() {
            match tokens.as_ref().map_or(Ok(()), Tokens::reload) {
                Ok(()) => tracing::info!("token files read again"),
                Err(error) => {
                    tracing::error!(error = %causes(&error), "the tokens stay as they were");
                }
            }
        }
    });
    Ok(())
}
