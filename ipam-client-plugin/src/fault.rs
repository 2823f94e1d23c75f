//! What can go wrong between plugin and service, and the CNI code that each becomes. The only place that names them.

use std::path::Path;

use cni::Error;
use cni::error::{INTERNAL, INVALID_CONFIG, TRY_AGAIN};
use ipam_api::{Code, Problem};

use crate::state;

/// No pool of an entry has an address left.
pub const POOL_EXHAUSTED: u32 = 100;
/// A wanted address is held by another.
pub const ADDRESS_TAKEN: u32 = 101;
/// The attachment holds leases that do not satisfy the claim.
pub const ATTACHMENT_DIFFERS: u32 = 102;
/// The ADD is older than a DEL that was served.
pub const SUPERSEDED: u32 = 103;
/// Another service answered than the one that the node leases from.
pub const WRONG_SERVICE: u32 = 104;
/// Two machines use one node name.
pub const NODE_NAME_CONFLICT: u32 = 105;
/// The service does not let this node in.
pub const NOT_ALLOWED: u32 = 106;
/// CHECK: the lease is missing, or is not what `prevResult` says.
pub const LEASE_DIFFERS: u32 = 107;

/// Why a call of the service has no useful answer.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// A server refused, and another would too.
    #[error("{server}: {detail}")]
    Refused {
        /// Who.
        server: String,
        /// The HTTP status.
        status: u16,
        /// The stable code, when the answer was the service's own.
        code: Option<Code>,
        /// In words.
        detail: String,
        /// The request's id in the server's log.
        request_id: Option<String>,
        /// Seconds after which it may go better.
        retry_after_s: Option<u64>,
        /// Whether an earlier try of the same call may have been carried out.
        in_doubt: bool,
    },
    /// An answer of another service than the pinned one.
    #[error("{server} answers for service {answered}, not for {pinned}")]
    WrongService {
        /// Who.
        server: String,
        /// The service that this node is pinned to.
        pinned: String,
        /// The service that answered.
        answered: String,
        /// Whether an earlier try of the same call may have been carried out.
        in_doubt: bool,
    },
    /// No server gave a useful answer in time.
    #[error("{tries}")]
    Unanswered {
        /// What came of each server, in words.
        tries: String,
        /// Whether another time may do: nobody was reached, or a server was busy. Else they answered, but nonsense.
        passing: bool,
        /// Whether the call may have been carried out all the same.
        in_doubt: bool,
    },
    /// The call could not even be made: a token or a certificate that cannot be read.
    #[error("{0}")]
    Local(String),
}

impl Fault {
    /// Whether the call may have been carried out although nobody said so.
    pub fn in_doubt(&self) -> bool {
        match self {
            Self::Refused { in_doubt, .. }
            | Self::WrongService { in_doubt, .. }
            | Self::Unanswered { in_doubt, .. } => *in_doubt,
            Self::Local(_) => false,
        }
    }

    /// Notes that an earlier try of the same call may have been carried out.
    pub(crate) fn note_doubt(&mut self, doubt: bool) {
        match self {
            Self::Refused { in_doubt, .. }
            | Self::WrongService { in_doubt, .. }
            | Self::Unanswered { in_doubt, .. } => *in_doubt |= doubt,
            Self::Local(_) => {}
        }
    }

    /// Whether a server said that the request itself is wrong, so that it need not be repeated.
    pub fn is_malformed(&self) -> bool {
        matches!(
            self,
            Self::Refused {
                code: Some(Code::InvalidRequest),
                ..
            }
        )
    }

    /// The error object for the runtime.
    pub fn into_cni(self, state_dir: &Path) -> Error {
        match self {
            Self::Refused {
                server,
                status,
                code,
                detail,
                request_id,
                retry_after_s,
                ..
            } => {
                let mut details = format!("{server} answered {status}");
                if let Some(id) = request_id {
                    details.push_str(&format!(", request {id}"));
                }
                if let Some(seconds) = retry_after_s {
                    details.push_str(&format!("; try again after {seconds} s"));
                }
                if code == Some(Code::WrongService) {
                    details.push_str(&format!("; {}", advice(state_dir)));
                }
                Error::new(cni_code(code, status), detail).with_details(details)
            }
            Self::WrongService {
                ref server,
                ref pinned,
                ref answered,
                ..
            } => {
                let error = wrong_service(pinned, answered, state_dir);
                let details = format!("{server} answered; {}", error.details);
                error.with_details(details)
            }
            Self::Unanswered { tries, passing, .. } => {
                let code = if passing { TRY_AGAIN } else { INTERNAL };
                Error::new(code, format!("no useful answer from ipam-server: {tries}"))
            }
            Self::Local(why) => Error::io(why),
        }
    }
}

/// Code 104.
pub fn wrong_service(pinned: &str, answered: &str, state_dir: &Path) -> Error {
    Error::new(
        WRONG_SERVICE,
        format!(
            "the answer comes from service {answered}, but this node leases from service {pinned}"
        ),
    )
    .with_details(advice(state_dir))
}

fn advice(state_dir: &Path) -> String {
    let file = state::file(state_dir);
    format!(
        "name the right servers; or, when the service was replaced on purpose, remove {}",
        file.display()
    )
}

/// DESIGN's table of codes. A status decides only where the answer has no code that is known here.
fn cni_code(code: Option<Code>, status: u16) -> u32 {
    match code {
        Some(Code::PoolExhausted) => POOL_EXHAUSTED,
        Some(Code::AddressTaken) => ADDRESS_TAKEN,
        Some(Code::AttachmentDiffers) => ATTACHMENT_DIFFERS,
        Some(Code::Superseded) => SUPERSEDED,
        Some(Code::WrongService) => WRONG_SERVICE,
        Some(Code::NodeNameConflict) => NODE_NAME_CONFLICT,
        Some(Code::Unauthenticated | Code::Forbidden) => NOT_ALLOWED,
        Some(Code::Unavailable) => TRY_AGAIN,
        Some(
            Code::InvalidRequest
            | Code::VrfNotFound
            | Code::PoolNotFound
            | Code::LeaseNotFound
            | Code::NodeNotFound
            | Code::NotFound,
        ) => INVALID_CONFIG,
        Some(
            Code::PoolInUse
            | Code::RangesOverlap
            | Code::Stale
            | Code::AlreadyExists
            | Code::Internal,
        )
        | None => match status {
            400 | 404 => INVALID_CONFIG,
            401 | 403 => NOT_ALLOWED,
            503 => TRY_AGAIN,
            507 => POOL_EXHAUSTED,
            _ => INTERNAL,
        },
    }
}

/// The problem in a body, when it holds one.
pub(crate) fn problem(body: &[u8]) -> Option<Problem> {
    serde_json::from_slice(body).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(code: Option<Code>, status: u16) -> Error {
        Fault::Refused {
            server: "http://a".into(),
            status,
            code,
            detail: "pool \"p\" is full".into(),
            request_id: Some("r-1".into()),
            retry_after_s: Some(7),
            in_doubt: false,
        }
        .into_cni(Path::new("/state"))
    }

    #[test]
    fn each_situation_has_its_code() {
        for (code, status, cni) in [
            (Code::InvalidRequest, 400, 7),
            (Code::VrfNotFound, 404, 7),
            (Code::PoolNotFound, 404, 7),
            (Code::NotFound, 404, 7),
            (Code::PoolExhausted, 507, 100),
            (Code::AddressTaken, 409, 101),
            (Code::AttachmentDiffers, 409, 102),
            (Code::Superseded, 409, 103),
            (Code::WrongService, 409, 104),
            (Code::NodeNameConflict, 409, 105),
            (Code::Unauthenticated, 401, 106),
            (Code::Forbidden, 403, 106),
            (Code::Unavailable, 503, 11),
            (Code::Internal, 500, 999),
            (Code::Stale, 412, 999),
        ] {
            assert_eq!(refused(Some(code), status).code, cni, "{code:?}");
        }
    }

    #[test]
    fn a_status_decides_where_no_code_does() {
        for (status, cni) in [
            (400, 7),
            (404, 7),
            (401, 106),
            (403, 106),
            (507, 100),
            (409, 999),
        ] {
            assert_eq!(refused(None, status).code, cni);
            // A code that a newer server invented.
            assert_eq!(refused(Some(Code::Internal), status).code, cni);
        }
    }

    #[test]
    fn a_refusal_names_server_and_request() {
        let error = refused(Some(Code::PoolExhausted), 507);
        assert_eq!(error.msg, "pool \"p\" is full");
        assert_eq!(
            error.details,
            "http://a answered 507, request r-1; try again after 7 s"
        );
        let error = refused(Some(Code::WrongService), 409);
        assert!(error.details.contains("remove /state/state.json"));
    }

    #[test]
    fn silence_is_for_another_time_and_nonsense_is_not() {
        let unanswered = |passing| Fault::Unanswered {
            tries: "http://a: refused".into(),
            passing,
            in_doubt: false,
        };
        assert_eq!(unanswered(true).into_cni(Path::new("/s")).code, 11);
        assert_eq!(unanswered(false).into_cni(Path::new("/s")).code, 999);
    }
}
