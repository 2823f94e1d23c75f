//! STATUS: could an ADD be served? Runtimes ask every five seconds on every node, so that an answer is kept for ten.

use std::fs;
use std::path::Path;
use std::time::Duration;

use cni::error::NOT_AVAILABLE;
use cni::{Error, NetConf};
use ipam_api::StatusRequest;
use serde::{Deserialize, Serialize};

use crate::client::Patience;
use crate::fault::Fault;
use crate::identity::boottime_ns;
use crate::session::Session;
use crate::{files, hash};

/// How long a server may take.
const BUDGET: Duration = Duration::from_secs(2);
/// How long a result is reused, but for a fifth of it either way: the nodes of a cluster must not ask in step.
const REUSE_NS: i64 = 10_000_000_000;

/// The answer, as far as the plugin cares.
#[derive(Debug, Deserialize)]
struct Answer {
    entries: Vec<Entry>,
}

#[derive(Debug, Deserialize)]
struct Entry {
    ready: bool,
    #[serde(default)]
    exhausted: bool,
    #[serde(default)]
    pools: Vec<Pool>,
}

#[derive(Debug, Deserialize)]
struct Pool {
    pool: String,
    /// Absent when there is no such pool. A text, so that a state that a newer server knows is no error.
    #[serde(default)]
    state: Option<String>,
}

/// What the node remembers of the last STATUS with the same settings.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Memory {
    /// The boot that the times are of.
    boot_id: String,
    /// The settings that the result is of: one for other pools or other servers says nothing.
    settings: u64,
    /// Until when the result is reused, on the boot's clock.
    fresh_until_ns: i64,
    /// When a server last answered.
    answered_ns: Option<i64>,
    /// The result: why not, or nothing.
    refusal: Option<String>,
}

/// Code 50 when an ADD could not be served.
pub fn status(session: &Session, conf: &NetConf) -> Result<(), Error> {
    if let Err(error) = session.admit() {
        return Err(Error::not_available(error.msg).with_details(error.details));
    }
    let settings = hash::stable(&[&format!("{:?}", session.config)]);
    let network = hash::stable(&[&conf.name]);
    let path = session
        .state_dir()
        .join(format!("status-{network:016x}.json"));
    let mut memory = recall(&path, &session.identity.boot_id, settings);
    if session.identity.issued >= memory.fresh_until_ns {
        ask(session, &mut memory);
        memory.fresh_until_ns = boottime_ns() + jittered(REUSE_NS);
        memory.boot_id.clone_from(&session.identity.boot_id);
        memory.settings = settings;
        remember(&path, &memory);
    }
    match memory.refusal {
        Some(refusal) => Err(Error::new(NOT_AVAILABLE, refusal)),
        None => Ok(()),
    }
}

fn ask(session: &Session, memory: &mut Memory) {
    let request = StatusRequest {
        entries: session.config.entries.clone(),
    };
    let body = serde_json::to_vec(&request).expect("it holds only texts");
    let patience = Patience::once_within(BUDGET.min(session.config.timeout));
    let answer = session
        .client
        .post("/v1/status", &|_| body.clone(), patience);
    match answer {
        Ok(reply) => {
            session.note_server(&reply);
            memory.answered_ns = Some(boottime_ns());
            let Answer { entries } = reply.body;
            memory.refusal = refusal(&entries, session.config.status_on_exhausted);
        }
        Err(fault @ Fault::Unanswered { .. }) => {
            let grace = i64::try_from(session.config.status_grace.as_nanos()).unwrap_or(i64::MAX);
            let silence = memory
                .answered_ns
                .map(|at| boottime_ns().saturating_sub(at));
            let within_grace = silence.is_some_and(|silence| silence < grace);
            memory.refusal =
                (!within_grace).then(|| format!("no useful answer from ipam-server: {fault}"));
        }
        Err(fault) => {
            let error = session.explain(fault);
            memory.refusal = Some(error.to_string());
        }
    }
}

/// Why some entry could not be served.
fn refusal(entries: &[Entry], on_exhausted: bool) -> Option<String> {
    let describe = |(number, entry): (usize, &Entry)| {
        let pools: Vec<_> = (entry.pools.iter())
            .map(|pool| match &pool.state {
                Some(state) => format!("{:?} is {state}", pool.pool),
                None => format!("{:?} does not exist", pool.pool),
            })
            .collect();
        let pools = pools.join(", ");
        if !entry.ready {
            Some(format!(
                "no pool of entry {number} leases addresses: {pools}"
            ))
        } else if on_exhausted && entry.exhausted {
            Some(format!(
                "no pool of entry {number} has an address left: {pools}"
            ))
        } else {
            None
        }
    };
    entries.iter().enumerate().find_map(describe)
}

/// Times of another boot say nothing.
fn recall(path: &Path, boot_id: &str, settings: u64) -> Memory {
    fs::read(path)
        .ok()
        .and_then(|bytes| serde_json::from_slice(&bytes).ok())
        .filter(|memory: &Memory| memory.boot_id == boot_id && memory.settings == settings)
        .unwrap_or_default()
}

/// A node that cannot remember asks more often.
fn remember(path: &Path, memory: &Memory) {
    let (Some(dir), Some(name)) = (path.parent(), path.file_name().and_then(|n| n.to_str())) else {
        return;
    };
    let written = serde_json::to_vec(memory)
        .map_err(std::io::Error::from)
        .and_then(|text| files::make_private(dir).map(|()| text))
        .and_then(|text| files::write_at_once(dir, name, &text));
    if let Err(error) = written {
        tracing::warn!(%error, path = %path.display(), "cannot remember the status");
    }
}

fn jittered(time_ns: i64) -> i64 {
    let seed = format!("{}-{}", std::process::id(), boottime_ns());
    let random = (hash::stable(&[&seed]) % 1000) as i64;
    time_ns * 4 / 5 + time_ns * 2 / 5 * random / 1000
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test may fail by panicking")]
    use serde_json::json;

    use super::*;

    fn judged(answer: serde_json::Value, on_exhausted: bool) -> Option<String> {
        let Answer { entries } = serde_json::from_value(answer).unwrap();
        refusal(&entries, on_exhausted)
    }

    #[test]
    fn an_entry_without_a_pool_that_leases_is_named() {
        let answer = json!({"entries": [
            {"ready": true, "exhausted": false, "pools": [{"pool": "a", "state": "ready", "free": 1}]},
            {"ready": false, "exhausted": true, "pools": [
                {"pool": "b", "state": "draining", "free": 0}, {"pool": "c", "state": null, "free": 0}]},
        ]});
        assert_eq!(
            judged(answer, false).unwrap(),
            "no pool of entry 1 leases addresses: \"b\" is draining, \"c\" does not exist"
        );
    }

    #[test]
    fn exhaustion_counts_only_when_asked() {
        let answer = json!({"entries": [
            {"ready": true, "exhausted": true, "pools": [{"pool": "a", "state": "ready", "free": 0}]},
        ]});
        assert_eq!(judged(answer.clone(), false), None);
        assert!(
            judged(answer, true)
                .unwrap()
                .contains("has an address left")
        );
    }

    #[test]
    fn a_result_is_reused_for_eight_to_twelve_seconds() {
        for _ in 0..100 {
            let time = jittered(REUSE_NS);
            assert!((8_000_000_000..=12_000_000_000).contains(&time), "{time}");
        }
    }

    #[test]
    fn a_memory_of_another_boot_or_of_other_settings_is_none() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("new/status-1.json");
        let memory = Memory {
            boot_id: "a".into(),
            settings: 1,
            answered_ns: Some(7),
            ..Memory::default()
        };
        remember(&path, &memory);
        assert_eq!(recall(&path, "a", 1).answered_ns, Some(7));
        assert_eq!(recall(&path, "b", 1).answered_ns, None);
        assert_eq!(recall(&path, "a", 2).answered_ns, None);
        fs::write(&path, "{").unwrap();
        assert_eq!(recall(&path, "a", 1).answered_ns, None);
    }
}
