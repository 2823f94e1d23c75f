//! ADD: claim one address per entry, all or nothing, and tell the runtime.

use std::time::{Duration, Instant};

use cni::{CniResult, Error, Invocation, NetConf, Version};
use ipam_api::{Attachment, Claim, ReleaseRequest};

use crate::client::{Patience, Reply};
use crate::fault::Fault;
use crate::granted::Granted;
use crate::replay;
use crate::request::Request;
use crate::session::Session;
use crate::state::State;

/// How long an ADD that gives up tries to say so, before it leaves that to a later call.
const FAREWELL: Duration = Duration::from_millis(500);

/// Claims, and makes the result. Whatever fails after the claim was sent, it is taken back.
pub fn add(
    session: &mut Session,
    invocation: &Invocation,
    conf: &NetConf,
) -> Result<CniResult, Error> {
    let request = Request::read(invocation, conf)?;
    refuse_early_versions(session, conf, &request)?;
    session.admit()?;
    let deadline = Instant::now() + session.config.timeout;
    let attachment = session.attachment(invocation, conf);
    settle(session, &attachment);
    let reply = match claim(session, attachment.clone(), request, deadline) {
        Ok(reply) => reply,
        Err(fault) => {
            if fault.in_doubt() {
                report(give_up(session, attachment));
            }
            return Err(session.explain(fault));
        }
    };
    let service_id = reply.service_id.clone();
    let told = deliver(session, conf, reply);
    session.client.pin(&service_id);
    told.inspect_err(|_| report(give_up(session, attachment)))
}

/// Takes back what this call's claim created, and nothing else: leases that the attachment held before stay.
pub fn give_up(session: &Session, attachment: Attachment) -> Result<(), Error> {
    let mut release = session.release(attachment);
    release.claim_issued = Some(session.identity.issued);
    let request = ReleaseRequest {
        attachments: vec![release.clone()],
        boot_id: Some(session.identity.boot_id.clone()),
    };
    let patience = Patience::once_within(FAREWELL.min(session.config.timeout));
    match replay::release(&session.client, &request, patience) {
        Ok(_) => Ok(()),
        Err(_) => session.spool(release),
    }
}

fn report(given_up: Result<(), Error>) {
    if let Err(error) = given_up {
        tracing::error!(%error, "the claim could not be taken back; the runtime's DEL will do so");
    }
}

fn claim(
    session: &Session,
    attachment: Attachment,
    request: Request,
    deadline: Instant,
) -> Result<Reply<Granted>, Fault> {
    let claim = Claim {
        attachment,
        machine_id: session.identity.machine_id.clone(),
        boot_id: Some(session.identity.boot_id.clone()),
        issued: Some(session.identity.issued),
        pod: request.pod,
        owner: None,
        entries: session.config.entries.clone(),
        wanted: request.wanted,
        deadline_ms: None,
    };
    let body = |left: Duration| {
        let claim = Claim {
            deadline_ms: Some(u64::try_from(left.as_millis()).unwrap_or(u64::MAX)),
            ..claim.clone()
        };
        serde_json::to_vec(&claim).expect("a claim holds only texts and numbers")
    };
    let reply = session
        .client
        .post("/v1/leases", &body, Patience::until(deadline))?;
    session.note_server(&reply);
    Ok(reply)
}

/// Makes the result of an answer, and remembers whom it came from.
fn deliver(session: &Session, conf: &NetConf, reply: Reply<Granted>) -> Result<CniResult, Error> {
    if conf.cni_version < Version::V0_3_0 && reply.body.repeats_a_family() {
        return Err(too_many_addresses(conf));
    }
    let servers = session.client.access().servers.as_slice();
    if !session.state.knows(&reply.service_id, servers) {
        State::learn(
            session.state_dir(),
            &session.node,
            &reply.service_id,
            servers,
        )?;
    }
    reply.body.into_result(&session.config)
}

/// Releases of this attachment that wait in the spool are older than the claim and would free nothing after it.
fn settle(session: &Session, attachment: &Attachment) {
    // A server that hangs must leave the claim a chance at another.
    let deadline = Instant::now() + session.config.timeout / 2;
    let settled = replay::settle(
        &session.client,
        &session.state,
        &session.spool_dir(),
        attachment,
        &session.identity.boot_id,
        deadline,
    );
    match settled.map(|delivery| delivery.fault) {
        Ok(None) => {}
        Ok(Some(fault)) => tracing::warn!(%fault, "an earlier release of {attachment} stays"),
        Err(error) => tracing::warn!(%error, "cannot read the spool"),
    }
}

/// Before 0.3.0 a result holds one address per family. Which families the pools have is not known before the claim, but
/// three addresses are too many in any case.
fn refuse_early_versions(
    session: &Session,
    conf: &NetConf,
    request: &Request,
) -> Result<(), Error> {
    let of_a_family = |v4| request.wanted.iter().filter(|a| a.is_ipv4() == v4).count();
    let too_many =
        session.config.entries.len() > 2 || of_a_family(true) > 1 || of_a_family(false) > 1;
    if conf.cni_version < Version::V0_3_0 && too_many {
        return Err(too_many_addresses(conf));
    }
    Ok(())
}

/// In upstream's words.
fn too_many_addresses(conf: &NetConf) -> Error {
    Error::invalid_config(format!(
        "CNI version {} does not support more than 1 address per family",
        conf.cni_version
    ))
}
