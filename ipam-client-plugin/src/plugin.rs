//! The plugin as the CNI library sees it: each verb over a session of its own, and what is left to do after the answer.

use std::cell::OnceCell;
use std::fmt::Debug;

use cni::{CniResult, Error, Invocation, NetConf, Plugin};

use crate::replay;
use crate::session::Session;
use crate::verbs::{add, check, del, gc, status};

/// The IPAM plugin, for one call.
#[derive(Debug)]
pub struct Ipam {
    issued: i64,
    /// Kept where a server has answered: then the spool may be replayed, or the ADD undone.
    session: OnceCell<Session>,
}

impl Ipam {
    /// A plugin whose verb was issued at `issued`, on the clock of [`crate::identity::boottime_ns`].
    pub fn new(issued: i64) -> Self {
        Self {
            issued,
            session: OnceCell::new(),
        }
    }

    fn keep(&self, session: Session) {
        // There is one verb per process, so that nothing is there yet.
        let _ = self.session.set(session);
    }
}

impl Plugin for Ipam {
    fn about(&self) -> &str {
        concat!(
            "cluster-ipam ",
            env!("CARGO_PKG_VERSION"),
            ": CNI IPAM plugin that leases addresses from ipam-server"
        )
    }

    fn add(&self, invocation: &Invocation, conf: &NetConf) -> Result<CniResult, Error> {
        let work = || {
            let mut session = Session::strict(conf, self.issued)?;
            let result = add::add(&mut session, invocation, conf)?;
            self.keep(session);
            Ok(result)
        };
        told(invocation, conf, work())
    }

    fn del(&self, invocation: &Invocation, conf: &NetConf) -> Result<(), Error> {
        let work = || {
            let session = Session::lenient(conf, self.issued)?;
            if del::del(&session, invocation, conf)? {
                self.keep(session);
            }
            Ok(())
        };
        told(invocation, conf, work())
    }

    fn check(&self, invocation: &Invocation, conf: &NetConf) -> Result<(), Error> {
        let work = || {
            let mut session = Session::strict(conf, self.issued)?;
            session.speak_for_recorded_node();
            if check::check(&session, invocation, conf)? {
                self.keep(session);
            }
            Ok(())
        };
        told(invocation, conf, work())
    }

    fn status(&self, invocation: &Invocation, conf: &NetConf) -> Result<(), Error> {
        let work = || status::status(&Session::strict(conf, self.issued)?, conf);
        told(invocation, conf, work())
    }

    fn gc(&self, invocation: &Invocation, conf: &NetConf) -> Result<(), Error> {
        let work = || {
            let session = Session::strict(conf, self.issued)?;
            gc::gc(&session, conf)?;
            self.keep(session);
            Ok(())
        };
        told(invocation, conf, work())
    }

    fn undo(&self, invocation: &Invocation, conf: &NetConf) -> Result<(), Error> {
        match self.session.get() {
            Some(session) => add::give_up(session, session.attachment(invocation, conf)),
            None => Ok(()),
        }
    }

    fn after(&self, _: &Invocation, _: &NetConf) {
        if let Some(session) = self.session.get() {
            let spool = session.spool_dir();
            replay::after_work(
                &session.client,
                &session.state,
                &spool,
                &session.identity.boot_id,
            );
        }
    }
}

/// Logs what came of a verb: the one place for that.
fn told<T: Debug>(
    invocation: &Invocation,
    conf: &NetConf,
    result: Result<T, Error>,
) -> Result<T, Error> {
    let Invocation {
        command,
        container_id,
        ifname,
        ..
    } = invocation;
    let network = &conf.name;
    match &result {
        Ok(outcome) => {
            tracing::info!(%command, network, container_id, ifname, ?outcome, "done");
        }
        Err(error) => {
            tracing::error!(%command, network, container_id, ifname, code = error.code, %error, "failed");
        }
    }
    result
}
