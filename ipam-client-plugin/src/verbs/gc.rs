//! GC: free what this node holds on the network for attachments that the runtime does not know any more.

use std::time::Instant;

use cni::{Error, NetConf};
use ipam_api::{GcRequest, Released, ValidAttachment};

use crate::client::{Patience, Reply};
use crate::session::Session;

/// Collects. A missing list is refused: it is not an empty one, and nothing may be freed on its account.
pub fn gc(session: &Session, conf: &NetConf) -> Result<(), Error> {
    let valid = conf.valid_attachments.as_ref().ok_or_else(|| {
        Error::invalid_config(
            "cni.dev/valid-attachments is missing: without it everything would be garbage, so nothing is collected",
        )
    })?;
    session.admit()?;
    let request = GcRequest {
        cluster: session.node.cluster.clone(),
        node: session.node.name.clone(),
        network: conf.name.clone(),
        machine_id: session.identity.machine_id.clone(),
        boot_id: Some(session.identity.boot_id.clone()),
        issued: Some(session.identity.issued),
        valid: (valid.iter())
            .map(|attachment| ValidAttachment {
                container_id: attachment.container_id.clone(),
                ifname: attachment.ifname.clone(),
            })
            .collect(),
    };
    let body = serde_json::to_vec(&request)
        .map_err(|e| Error::internal(format!("cannot encode the gc: {e}")))?;
    let patience = Patience::until(Instant::now() + session.config.timeout);
    let reply: Reply<Released> = (session.client)
        .post("/v1/gc", &|_| body.clone(), patience)
        .map_err(|fault| session.explain(fault))?;
    session.note_server(&reply);
    tracing::info!(network = conf.name, released = reply.body.released, "GC");
    Ok(())
}
