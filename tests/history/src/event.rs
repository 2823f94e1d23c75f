//! What a client asked, what it was told, and when: one event per call and attachment.

use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use ipam_api::{Attachment, Code};

/// One call. Times are since the beginning of the history, by one clock that never steps.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    /// Who called.
    pub client: String,
    /// Just before the request was sent.
    pub invoked: Duration,
    /// When the answer was there, or the client gave up.
    pub completed: Duration,
    /// Whether copies of the request may be carried out even after `completed`: it was sent more than once.
    pub lingers: bool,
    /// What was asked.
    pub verb: Verb,
    /// What came of it.
    pub outcome: Outcome,
}

/// What was asked.
#[derive(Clone, Debug, PartialEq)]
pub enum Verb {
    /// An ADD.
    Claim(Claim),
    /// A DEL, or what an ADD does that gives up.
    Release(Release),
    /// A GC.
    Collect(Collect),
}

/// What came of a call.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// The claim was answered with these, one per entry.
    Granted(Vec<Grant>),
    /// The release or GC was confirmed.
    Done,
    /// It was refused for good: nothing was done.
    Refused(Code),
    /// No answer, or one that leaves open whether it was carried out.
    Unknown,
}

/// Between which times a verb was issued, by its node's clock: a caller that is not the verb's own process sees no more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Issued {
    /// The earliest.
    pub earliest: i64,
    /// The latest.
    pub latest: i64,
}

impl Issued {
    /// Issued at this very time.
    pub fn at(time: i64) -> Self {
        Self {
            earliest: time,
            latest: time,
        }
    }
}

/// A claim as it was sent.
#[derive(Clone, Debug, PartialEq)]
pub struct Claim {
    /// For whom.
    pub attachment: Attachment,
    /// The machine that asks.
    pub machine: Option<String>,
    /// The how many-th boot of the node it was issued in.
    pub boot: Option<u32>,
    /// When it was issued.
    pub issued: Option<Issued>,
    /// The pools of each entry.
    pub entries: Vec<Vec<String>>,
    /// Addresses asked for by name.
    pub wanted: Vec<IpAddr>,
    /// How long after `invoked` no transaction may begin for it any more, and until when none can have begun, because the
    /// test held up the queue before it.
    pub overdue: Option<(Duration, Duration)>,
    /// Whether the test made the database refuse it.
    pub poisoned: bool,
}

/// A release as it was sent.
#[derive(Clone, Debug, PartialEq)]
pub struct Release {
    /// Whose leases.
    pub attachment: Attachment,
    /// The how many-th boot of the node it was issued in.
    pub boot: Option<u32>,
    /// When it was issued.
    pub issued: Option<Issued>,
    /// It takes back only what the claim of this time created.
    pub claim_issued: Option<Issued>,
}

/// A GC as it was sent.
#[derive(Clone, Debug, PartialEq)]
pub struct Collect {
    /// The cluster.
    pub cluster: String,
    /// The node.
    pub node: String,
    /// The network.
    pub network: String,
    /// The machine that asks.
    pub machine: Option<String>,
    /// The how many-th boot of the node it was issued in.
    pub boot: Option<u32>,
    /// When it was issued.
    pub issued: Option<Issued>,
    /// The container ids and interfaces that stay.
    pub valid: Vec<(String, String)>,
}

/// An address that a claim was answered with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    /// The lease's id; a plugin's caller does not see it.
    pub lease: Option<String>,
    /// The pool; a plugin's caller does not see it.
    pub pool: Option<String>,
    /// The address space.
    pub vrf: String,
    /// The address.
    pub address: IpAddr,
}

impl Event {
    /// After this it has surely had all the effect that it will ever have; none when that is never sure.
    pub(crate) fn settled(&self) -> Option<Duration> {
        let open = self.lingers || self.outcome == Outcome::Unknown;
        (!open).then_some(self.completed)
    }
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            client,
            invoked,
            completed,
            lingers,
            verb,
            outcome,
        } = self;
        let copies = if *lingers { " (sent repeatedly)" } else { "" };
        write!(f, "{client} [{invoked:?} to {completed:?}]{copies} ")?;
        match verb {
            Verb::Claim(claim) => write!(
                f,
                "claims for {} (boot {:?}, issued {:?}, entries {:?}, wanted {:?})",
                claim.attachment, claim.boot, claim.issued, claim.entries, claim.wanted
            ),
            Verb::Release(release) => write!(
                f,
                "releases {} (boot {:?}, issued {:?}, claim issued {:?})",
                release.attachment, release.boot, release.issued, release.claim_issued
            ),
            Verb::Collect(gc) => write!(
                f,
                "collects on {}/{}/{} (boot {:?}, issued {:?}, {} valid)",
                gc.cluster,
                gc.node,
                gc.network,
                gc.boot,
                gc.issued,
                gc.valid.len()
            ),
        }?;
        write!(f, ": {outcome}")
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Granted(grants) => {
                f.write_str("granted")?;
                for grant in grants {
                    let lease = grant.lease.as_deref().unwrap_or("of unknown id");
                    write!(f, " {} (lease {lease})", grant.address)?;
                }
                Ok(())
            }
            Self::Done => f.write_str("done"),
            Self::Refused(code) => write!(f, "refused as {code:?}"),
            Self::Unknown => f.write_str("no answer"),
        }
    }
}
