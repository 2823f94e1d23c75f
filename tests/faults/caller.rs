//! A client of the REST API that writes down what it asks and what it is told. It never tries again by itself.

use std::sync::Arc;
use std::time::Duration;

use harness::rest::{Answer, Rest};
use history::{Claim, Collect, Event, Grant, Outcome, Release, Verb};
use ipam_api::{Code, Entry, GcRequest, Leases, Problem, ReleaseRequest, SERVICE_ID_HEADER};
use reqwest::Method;
use serde::Serialize;
use serde_json::Value;

use crate::dice::Dice;
use crate::node::{Gc, Node, Stamp};
use crate::record::Record;
use crate::wire::{HEADER, Mishap};

/// Longer than the server tries a transaction.
const PATIENCE: Duration = Duration::from_secs(10);

/// What a claim asks for.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Ask {
    pub(crate) entries: Vec<Vec<String>>,
    pub(crate) wanted: Vec<std::net::IpAddr>,
    pub(crate) deadline: Option<Duration>,
    pub(crate) poisoned: bool,
}

pub(crate) struct Caller {
    pub(crate) name: String,
    pub(crate) dice: Dice,
    /// How long the next call waits for its answer.
    pub(crate) patience: Duration,
    servers: Vec<Rest>,
    service: String,
    record: Arc<Record>,
    calm: bool,
}

impl Caller {
    /// Of these servers of one service.
    pub(crate) fn new(
        name: &str,
        urls: &[String],
        service: &str,
        dice: Dice,
        record: &Arc<Record>,
    ) -> Self {
        Self {
            name: name.to_owned(),
            dice,
            patience: PATIENCE,
            servers: (urls.iter())
                .map(|url| Rest::new(url).expect("a client"))
                .collect(),
            service: service.to_owned(),
            record: Arc::clone(record),
            calm: false,
        }
    }

    /// No more mishaps on the way.
    pub(crate) fn calm(&mut self) {
        self.calm = true;
        self.patience = PATIENCE;
    }

    /// A first claim of the node, so that its name is taken.
    pub(crate) fn introduce(&mut self, node: &Node) {
        let calm = std::mem::replace(&mut self.calm, true);
        let ask = Ask {
            entries: vec![vec!["slow".to_owned()]],
            ..Ask::default()
        };
        let id = format!("first-of-{}", self.name);
        let stamp = node.stamp();
        let outcome = self.claim(node, &id, &ask, &stamp);
        assert!(matches!(outcome, Outcome::Granted(_)), "{id}: {outcome}");
        assert_eq!(
            self.release(node, &[&id], &node.stamp(), None),
            Outcome::Done
        );
        self.calm = calm;
    }

    pub(crate) fn record(&self) -> &Arc<Record> {
        &self.record
    }

    /// Claims once, at a server that chance picks.
    pub(crate) fn claim(&mut self, node: &Node, id: &str, ask: &Ask, stamp: &Stamp) -> Outcome {
        let server = self.dice.below(self.servers.len());
        self.claim_at(server, node, id, ask, stamp, |_| None)
    }

    /// Claims at one server. `overdue` is asked after the answer; see [`history::Claim::overdue`].
    pub(crate) fn claim_at(
        &mut self,
        server: usize,
        node: &Node,
        id: &str,
        ask: &Ask,
        stamp: &Stamp,
        overdue: impl FnOnce(&Outcome) -> Option<(Duration, Duration)>,
    ) -> Outcome {
        let body = ipam_api::Claim {
            attachment: node.key(id),
            machine_id: Some(node.machine.clone()),
            boot_id: Some(stamp.boot_id.clone()),
            issued: Some(stamp.issued),
            pod: None,
            owner: None,
            entries: (ask.entries.iter())
                .map(|pools| Entry {
                    pools: pools.clone(),
                })
                .collect(),
            wanted: ask.wanted.clone(),
            deadline_ms: (ask.deadline)
                .map(|deadline| u64::try_from(deadline.as_millis()).unwrap_or(u64::MAX)),
        };
        let mut call = self.call(server, "/v1/leases", &body, granted);
        if matches!(call.outcome, Outcome::Granted(_)) {
            node.note_served(stamp);
        }
        let overdue = overdue(&call.outcome);
        call.verb = Some(Verb::Claim(Claim {
            attachment: node.key(id),
            machine: Some(node.machine.clone()),
            boot: Some(stamp.boot),
            issued: Some(stamp.time()),
            entries: ask.entries.clone(),
            wanted: ask.wanted.clone(),
            overdue,
            poisoned: ask.poisoned,
        }));
        self.note(call)
    }

    /// Releases once. `claim_issued`: only what that claim made.
    pub(crate) fn release(
        &mut self,
        node: &Node,
        ids: &[&str],
        stamp: &Stamp,
        claim_issued: Option<&Stamp>,
    ) -> Outcome {
        let release = |id: &&str| {
            let key = node.key(id);
            ipam_api::Release {
                cluster: key.cluster,
                node: key.node,
                network: key.network,
                container_id: key.container_id,
                ifname: key.ifname,
                boot_id: Some(stamp.boot_id.clone()),
                issued: Some(stamp.issued),
                claim_issued: claim_issued.map(|claim| claim.issued),
            }
        };
        let body = ReleaseRequest {
            attachments: ids.iter().map(release).collect(),
            boot_id: Some(stamp.boot_id.clone()),
        };
        let server = self.dice.below(self.servers.len());
        let call = self.call(server, "/v1/release", &body, |_| Some(Outcome::Done));
        for id in ids {
            let verb = Verb::Release(Release {
                attachment: node.key(id),
                boot: Some(stamp.boot),
                issued: Some(stamp.time()),
                claim_issued: claim_issued.map(Stamp::time),
            });
            self.note(Call {
                verb: Some(verb),
                ..call.clone()
            });
        }
        call.outcome
    }

    /// Collects once.
    pub(crate) fn collect(&mut self, node: &Node, gc: &Gc) -> Outcome {
        let Gc {
            network,
            valid,
            stamp,
        } = gc;
        let body = GcRequest {
            cluster: node.cluster.clone(),
            node: node.name.clone(),
            network: (*network).to_owned(),
            machine_id: Some(node.machine.clone()),
            boot_id: Some(stamp.boot_id.clone()),
            issued: Some(stamp.issued),
            valid: valid.clone(),
        };
        let server = self.dice.below(self.servers.len());
        let mut call = self.call(server, "/v1/gc", &body, |_| Some(Outcome::Done));
        call.verb = Some(Verb::Collect(Collect {
            cluster: node.cluster.clone(),
            node: node.name.clone(),
            network: (*network).to_owned(),
            machine: Some(node.machine.clone()),
            boot: Some(stamp.boot),
            issued: Some(stamp.time()),
            valid: (valid.iter())
                .map(|one| (one.container_id.clone(), one.ifname.clone()))
                .collect(),
        }));
        self.note(call)
    }

    fn call(
        &mut self,
        server: usize,
        path: &str,
        body: &impl Serialize,
        done: impl FnOnce(&Value) -> Option<Outcome>,
    ) -> Call {
        let mishap = match self.calm {
            true => Mishap::None,
            false => Mishap::draw(&mut self.dice),
        };
        let rest = &self.servers[server];
        let request = (rest.request(Method::POST, path))
            .header(HEADER, mishap.header())
            .header(SERVICE_ID_HEADER, &self.service)
            .timeout(self.patience)
            .json(body);
        let invoked = self.record.now();
        let answer = rest.send(request);
        let outcome = match answer {
            Ok(answer) => self.outcome(&answer, done),
            Err(_) => Outcome::Unknown,
        };
        let completed = self.record.now();
        if outcome == Outcome::Unknown {
            // A server that is away refuses faster than anybody would ask.
            std::thread::sleep(self.dice.millis(10..60));
        }
        Call {
            invoked,
            completed,
            lingers: mishap.lingers(),
            outcome,
            verb: None,
        }
    }

    fn outcome(&self, answer: &Answer, done: impl FnOnce(&Value) -> Option<Outcome>) -> Outcome {
        let is_ours = answer.header(SERVICE_ID_HEADER) == Some(&self.service);
        match answer.status {
            // As a plugin does: another service's answer is none of ours, and nothing was done here.
            _ if !is_ours => Outcome::Refused(Code::WrongService),
            200 | 201 => done(&answer.body).unwrap_or(Outcome::Unknown),
            // It may have been carried out.
            503 => Outcome::Unknown,
            _ => match serde_json::from_value::<Problem>(answer.body.clone()) {
                Ok(problem) => Outcome::Refused(problem.code),
                Err(_) => Outcome::Unknown,
            },
        }
    }

    fn note(&self, call: Call) -> Outcome {
        let outcome = call.outcome.clone();
        self.record.note(Event {
            client: self.name.clone(),
            invoked: call.invoked,
            completed: call.completed,
            lingers: call.lingers,
            verb: call.verb.expect("every call has one by now"),
            outcome: call.outcome,
        });
        outcome
    }
}

#[derive(Clone)]
struct Call {
    invoked: Duration,
    completed: Duration,
    lingers: bool,
    outcome: Outcome,
    verb: Option<Verb>,
}

fn granted(body: &Value) -> Option<Outcome> {
    let leases: Leases = serde_json::from_value(body.clone()).ok()?;
    let grants = leases.leases.into_iter().map(|lease| Grant {
        lease: Some(lease.id),
        pool: Some(lease.pool),
        vrf: lease.vrf,
        address: lease.address.ip(),
    });
    Some(Outcome::Granted(grants.collect()))
}
