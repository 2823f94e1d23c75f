//! DEL: give the attachment's addresses back. It never holds up a container's removal.

use std::time::Duration;

use cni::{Error, Invocation, NetConf};
use ipam_api::ReleaseRequest;

use crate::client::Patience;
use crate::replay;
use crate::session::Session;

/// The most time that a DEL waits for a server. Runtimes remove containers one after another and hold the pod's name and
/// disk until then; what the spool delivers a little later costs nobody anything.
const BUDGET: Duration = Duration::from_secs(2);

/// Releases, now or by way of the spool. True when a server has confirmed it.
pub fn del(session: &Session, invocation: &Invocation, conf: &NetConf) -> Result<bool, Error> {
    if session.node.name.is_empty() {
        // No ADD is served without a name, so that nothing can be held.
        tracing::warn!("the node has no name: nothing to release");
        return Ok(false);
    }
    let release = session.release(session.attachment(invocation, conf));
    let request = ReleaseRequest {
        attachments: vec![release.clone()],
        boot_id: Some(session.identity.boot_id.clone()),
    };
    let patience = Patience::once_within(BUDGET.min(session.config.timeout));
    match replay::release(&session.client, &request, patience) {
        Ok(reply) => {
            session.note_server(&reply);
            Ok(true)
        }
        Err(fault) => {
            session.spool(release)?;
            tracing::warn!(%fault, "the release is spooled");
            Ok(false)
        }
    }
}
