//! CHECK: do the attachment's leases stand, and are they what the runtime was told?

use std::net::IpAddr;
use std::path::Path;
use std::time::Duration;

use cni::{Error, Invocation, NetConf};
use ipam_api::{Attachment, CheckRequest};
use ipnetwork::IpNetwork;
use serde::Deserialize;

use crate::client::Patience;
use crate::fault::{Fault, LEASE_DIFFERS};
use crate::request::Request;
use crate::session::Session;

/// How long a server may take. An outage of ours must not kill running pods.
const BUDGET: Duration = Duration::from_secs(1);

/// The answer, as far as the plugin cares.
#[derive(Debug, Deserialize)]
struct Answer {
    leases: Vec<Held>,
}

#[derive(Debug, Deserialize)]
struct Held {
    address: IpNetwork,
}

/// Compares. True when a server has answered, false when nobody did and the attachment passes for that reason.
///
/// Every lease must be in `prevResult`. Other addresses in it are a chained plugin's, unless fewer leases are held than
/// the configuration has entries: then one of ours is gone (clauses 17 to 19 of the specification's CHECK).
pub fn check(session: &Session, invocation: &Invocation, conf: &NetConf) -> Result<bool, Error> {
    Request::read(invocation, conf)?;
    require_netns(&invocation.netns)?;
    let told = conf
        .read_prev_result()?
        .ok_or_else(|| Error::invalid_config("required prevResult missing"))?;
    let told: Vec<_> = told.ips.iter().map(|ip| ip.address.ip()).collect();
    let attachment = session.attachment(invocation, conf);
    // The leases come in any case. To ask for addresses would say nothing more, since some may be a chained plugin's.
    let request = CheckRequest {
        attachment: attachment.clone(),
        addresses: Vec::new(),
    };
    let body = serde_json::to_vec(&request)
        .map_err(|e| Error::internal(format!("cannot encode the check: {e}")))?;
    let patience = Patience::once_within(BUDGET.min(session.config.timeout));
    let answer = session
        .client
        .post("/v1/check", &|_| body.clone(), patience);
    match answer {
        Ok(reply) => {
            session.note_server(&reply);
            let Answer { leases } = reply.body;
            let held: Vec<_> = leases.iter().map(|held| held.address.ip()).collect();
            compare(&attachment, session.config.entries.len(), &held, &told).map(|()| true)
        }
        Err(fault @ Fault::Unanswered { .. }) => {
            tracing::warn!(%fault, "nobody can tell whether the lease stands; CHECK passes");
            Ok(false)
        }
        Err(fault) => Err(session.explain(fault)),
    }
}

/// A container whose namespace is gone is dead, whatever the service knows. It is not even asked: to the service a CHECK
/// is a sign of life, and would end the quarantine of a dead container's addresses. The words are the main plugins'.
fn require_netns(path: &str) -> Result<(), Error> {
    // What cannot be looked at may be there.
    let is_gone = Path::new(path).try_exists().is_ok_and(|exists| !exists);
    if !path.is_empty() && is_gone {
        return Err(Error::internal(format!(
            "failed to open netns {path:?}: failed to Statfs {path:?}: no such file or directory"
        )));
    }
    Ok(())
}

fn compare(
    attachment: &Attachment,
    entries: usize,
    held: &[IpAddr],
    told: &[IpAddr],
) -> Result<(), Error> {
    let differs = |what: String| Err(Error::new(LEASE_DIFFERS, what));
    if held.is_empty() {
        return differs(format!("attachment {attachment} holds no lease"));
    }
    if let Some(address) = held.iter().find(|address| !told.contains(address)) {
        return differs(format!(
            "attachment {attachment} holds {address}, which prevResult does not name"
        ));
    }
    let missing = told.iter().find(|address| !held.contains(address));
    match missing {
        Some(address) if held.len() < entries => differs(format!(
            "attachment {attachment} does not hold {address}, which prevResult names"
        )),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test may fail by panicking")]
    use super::*;

    fn compared(entries: usize, held: &[&str], told: &[&str]) -> Result<(), String> {
        let addresses =
            |list: &[&str]| -> Vec<IpAddr> { list.iter().map(|a| a.parse().unwrap()).collect() };
        let attachment = Attachment {
            cluster: "default".into(),
            node: "n".into(),
            network: "net".into(),
            container_id: "c".into(),
            ifname: "eth0".into(),
        };
        compare(&attachment, entries, &addresses(held), &addresses(told)).map_err(|error| {
            assert_eq!(error.code, LEASE_DIFFERS);
            error.msg
        })
    }

    #[test]
    fn leases_and_prev_result_must_agree_but_for_a_chained_plugins_addresses() {
        let (a, b, other) = ("10.0.0.5", "fd00::5", "192.0.2.1");
        assert_eq!(compared(1, &[a], &[a]), Ok(()));
        assert_eq!(compared(2, &[a, b], &[b, a, other]), Ok(()));
        assert_eq!(compared(1, &[a], &[a, other]), Ok(()));
        // The network has got a second entry since.
        assert_eq!(compared(2, &[a], &[a]), Ok(()));
        for (entries, held, told, words) in [
            (1, &[][..], &[a][..], "holds no lease"),
            (1, &[], &[], "holds no lease"),
            (
                1,
                &[a],
                &[other],
                "holds 10.0.0.5, which prevResult does not name",
            ),
            (1, &[a], &[], "holds 10.0.0.5, which"),
            (
                2,
                &[a],
                &[a, b],
                "does not hold fd00::5, which prevResult names",
            ),
        ] {
            let msg = compared(entries, held, told).unwrap_err();
            assert!(msg.contains(words), "{msg}");
        }
    }
}
