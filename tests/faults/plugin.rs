//! A node with real `cluster-ipam` processes, as a runtime runs them.

use std::cell::RefCell;
use std::io::Write;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use harness::binaries;
use history::{Claim, Collect, Event, Grant, Issued, Outcome, Release, Verb};
use ipam_api::Attachment;
use nix::time::{ClockId, clock_gettime};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::dice::Dice;
use crate::node::IFNAME;
use crate::postgres::pause;
use crate::record::Record;

const NETWORK: &str = "pods";
const WRONG_SERVICE: u64 = 104;
const ENTRIES: [&[&str]; 2] = [&["v4", "more-v4"], &["v6"]];

pub(crate) struct PluginNode {
    name: String,
    folder: TempDir,
    config: Value,
    record: Arc<Record>,
    dice: Dice,
    /// Containers, with the result of their ADD.
    live: Vec<(String, Value)>,
    serial: usize,
    /// Says when a process stops in the middle for a while; none does when all is well.
    pauses: Option<RefCell<Dice>>,
    /// Releases whose DEL has succeeded: by a server's word, or by way of the spool.
    promised: Mutex<Vec<Event>>,
}

impl PluginNode {
    pub(crate) fn new(name: &str, servers: &[String], dice: Dice, record: &Arc<Record>) -> Self {
        let folder = TempDir::with_prefix("ipam-faults-").expect("a folder");
        let node_file = folder.path().join("node.json");
        let file = json!({ "server": servers, "node": name });
        std::fs::write(&node_file, file.to_string()).expect("the node file");
        let config = json!({
            "cniVersion": "1.1.0", "name": NETWORK, "type": "bridge",
            "ipam": {
                "type": "cluster-ipam", "server": servers, "pools": ENTRIES, "node": name, "timeout": "3s",
                "nodeFile": node_file, "stateDir": folder.path().join("state"),
            },
        });
        Self {
            name: name.to_owned(),
            folder,
            config,
            record: Arc::clone(record),
            pauses: None,
            dice,
            live: Vec::new(),
            serial: 0,
            promised: Mutex::default(),
        }
    }

    /// A first ADD while all is well, which pins the service.
    pub(crate) fn pin(&mut self) {
        self.start();
        assert_eq!(self.live.len(), 1, "{}: the first ADD fails", self.name);
        self.pauses = Some(RefCell::new(self.dice.clone()));
    }

    pub(crate) fn step(&mut self) {
        match self.dice.below(10) {
            0..=3 if self.live.len() < 3 => self.start(),
            0..=6 => self.stop(),
            7 => self.start_again(),
            8 => self.check(),
            _ => self.collect(),
        }
    }

    /// Delivers the spool; what DEL promised is done then.
    pub(crate) fn settle(&mut self) {
        self.pauses = None;
        let flushed = flush(self.folder.path());
        let now = self.record.now();
        for mut event in self.promised.get_mut().expect("no panic").drain(..) {
            event.completed = now;
            if flushed.is_err() {
                event.outcome = Outcome::Unknown;
            }
            self.record.note(event);
        }
        if let Err(said) = flushed {
            let complaint = format!("{}: the spool stays: {said}", self.name);
            self.record.complain(complaint);
        }
        for (id, _) in &self.live {
            self.add(id);
        }
    }

    fn key(&self, id: &str) -> Attachment {
        Attachment {
            cluster: "default".to_owned(),
            node: self.name.clone(),
            network: NETWORK.to_owned(),
            container_id: id.to_owned(),
            ifname: IFNAME.to_owned(),
        }
    }

    fn start(&mut self) {
        self.serial += 1;
        let id = format!("{}-{}", self.name, self.serial);
        match self.add(&id) {
            Some(result) => self.live.push((id, result)),
            // As runtimes do.
            None => self.del(&id),
        }
    }

    fn start_again(&mut self) {
        if let Some((id, _)) = self.dice.pick(&self.live).cloned() {
            self.add(&id);
        }
    }

    fn stop(&mut self) {
        if !self.live.is_empty() {
            let index = self.dice.below(self.live.len());
            let (id, _) = self.live.swap_remove(index);
            self.del(&id);
        }
    }

    fn add(&self, id: &str) -> Option<Value> {
        let ran = self.run("ADD", id, &self.config);
        let outcome = match &ran.answer {
            Ok(result) => Outcome::Granted(grants(result)),
            // Whatever it says: a try before the last may have been carried out.
            Err(_) => Outcome::Unknown,
        };
        let gives_up = ran.event(Verb::Release(Release {
            attachment: self.key(id),
            boot: Some(1),
            issued: Some(ran.issued),
            claim_issued: Some(ran.issued),
        }));
        let claim = ran.event(Verb::Claim(Claim {
            attachment: self.key(id),
            machine: None,
            boot: Some(1),
            issued: Some(ran.issued),
            entries: (ENTRIES.iter())
                .map(|pools| pools.iter().map(|name| (*name).to_owned()).collect())
                .collect(),
            wanted: Vec::new(),
            overdue: None,
            poisoned: false,
        }));
        self.note(Event { outcome, ..claim });
        if ran.answer.is_err() {
            self.note(gives_up);
        }
        ran.answer.ok()
    }

    fn del(&self, id: &str) {
        let ran = self.run("DEL", id, &self.config);
        if let Err(error) = &ran.answer {
            let complaint = format!("{}: DEL {id} fails: {error}", self.name);
            self.record.complain(complaint);
        }
        let event = ran.event(Verb::Release(Release {
            attachment: self.key(id),
            boot: Some(1),
            issued: Some(ran.issued),
            claim_issued: None,
        }));
        self.record.count("outcome: plugin: DEL");
        let promised = Event {
            outcome: Outcome::Done,
            ..event
        };
        self.promised.lock().expect("no panic").push(promised);
    }

    /// What was added is there. When no server answers, CHECK says so by succeeding; only another service's answer fails.
    fn check(&mut self) {
        let Some((id, result)) = self.dice.pick(&self.live).cloned() else {
            return;
        };
        let mut config = self.config.clone();
        config["prevResult"] = result;
        let ran = self.run("CHECK", &id, &config);
        self.record.count("outcome: plugin: CHECK");
        let is_sound = ran.answer.is_ok() || code(&ran.answer) == WRONG_SERVICE;
        if !is_sound {
            let complaint = format!("{}: CHECK {id} fails: {:?}", self.name, ran.answer);
            self.record.complain(complaint);
        }
    }

    fn collect(&self) {
        let mut config = self.config.clone();
        config["cni.dev/valid-attachments"] = (self.live.iter())
            .map(|(id, _)| json!({ "containerID": id, "ifname": IFNAME }))
            .collect();
        let ran = self.run("GC", "", &config);
        let event = ran.event(Verb::Collect(Collect {
            cluster: "default".to_owned(),
            node: self.name.clone(),
            network: NETWORK.to_owned(),
            machine: None,
            boot: Some(1),
            issued: Some(ran.issued),
            valid: (self.live.iter())
                .map(|(id, _)| (id.clone(), IFNAME.to_owned()))
                .collect(),
        }));
        let outcome = match ran.answer {
            Ok(_) => Outcome::Done,
            Err(_) => Outcome::Unknown,
        };
        self.note(Event { outcome, ..event });
    }

    fn note(&self, event: Event) {
        self.record.count("outcome: plugin: ADD and GC");
        self.record.note(event);
    }

    /// Stops the process in the middle, perhaps for longer than its deadline.
    fn pause_perhaps(&self, child: &Child) {
        let Some(mut dice) = self.pauses.as_ref().map(RefCell::borrow_mut) else {
            return;
        };
        if dice.once_in(10) {
            thread::sleep(dice.millis(0..20));
            // Until it is waited for the process is there, be it over or not.
            pause(child.id(), dice.millis(50..4_000));
            self.record.count("fault: plugin: SIGSTOP and SIGCONT");
        }
    }

    fn run(&self, verb: &str, id: &str, config: &Value) -> Ran {
        let (invoked, earliest) = (self.record.now(), boottime());
        let plugin = Command::new(binaries::path("cluster-ipam"));
        let child = start(plugin, verb, id, config);
        self.pause_perhaps(&child);
        let answer = answer(child);
        Ran {
            client: self.name.clone(),
            invoked,
            completed: self.record.now(),
            issued: Issued {
                earliest,
                latest: boottime(),
            },
            answer,
        }
    }
}

/// `cluster-ipam flush` for a node's folder with `node.json` and `state`; the error is what it said.
pub(crate) fn flush(folder: &Path) -> Result<String, String> {
    let output = flushing(folder).output().expect("cluster-ipam starts");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    match output.status.success() {
        true => Ok(said),
        false => Err(said),
    }
}

/// The same, to be run.
pub(crate) fn flushing(folder: &Path) -> Command {
    let mut command = Command::new(binaries::path("cluster-ipam"));
    command.arg("flush");
    command.arg("--node-file").arg(folder.join("node.json"));
    command.arg("--state-dir").arg(folder.join("state"));
    command
}

/// Runs the plugin as libcni does: its result, or what it printed when it failed.
pub(crate) fn call(plugin: Command, verb: &str, id: &str, config: &Value) -> Result<Value, String> {
    answer(start(plugin, verb, id, config))
}

fn start(mut plugin: Command, verb: &str, id: &str, config: &Value) -> Child {
    let mut child = plugin
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .env("CNI_COMMAND", verb)
        .env("CNI_CONTAINERID", id)
        // One that exists: else CHECK fails.
        .env("CNI_NETNS", "/proc/self/ns/net")
        .env("CNI_IFNAME", IFNAME)
        .env("CNI_PATH", "/opt/cni/bin")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("cluster-ipam starts");
    let mut stdin = child.stdin.take().expect("it is piped");
    let written = stdin.write_all(config.to_string().as_bytes());
    written.expect("it reads its configuration");
    drop(stdin);
    child
}

fn answer(child: Child) -> Result<Value, String> {
    let output = child.wait_with_output().expect("it ends");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    match output.status.success() {
        true => Ok(serde_json::from_str(&text).unwrap_or(Value::Null)),
        false => Err(text),
    }
}

/// One run of the plugin.
struct Ran {
    client: String,
    invoked: Duration,
    completed: Duration,
    issued: Issued,
    answer: Result<Value, String>,
}

impl Ran {
    fn event(&self, verb: Verb) -> Event {
        Event {
            client: self.client.clone(),
            invoked: self.invoked,
            completed: self.completed,
            // It tries several servers.
            lingers: true,
            verb,
            outcome: Outcome::Unknown,
        }
    }
}

/// A plugin's error code.
fn code(answer: &Result<Value, String>) -> u64 {
    let text = answer.as_ref().err().map_or("", String::as_str);
    let error: Value = serde_json::from_str(text).unwrap_or_default();
    error["code"].as_u64().unwrap_or_default()
}

fn grants(result: &Value) -> Vec<Grant> {
    let ips = result["ips"].as_array().into_iter().flatten();
    ips.map(|ip| {
        let text = ip["address"].as_str().unwrap_or_default();
        let (address, _) = text.split_once('/').expect("an address with its prefix");
        Grant {
            lease: None,
            pool: None,
            vrf: "default".to_owned(),
            address: address.parse().expect("an address"),
        }
    })
    .collect()
}

/// The clock that plugins stamp their verbs with.
fn boottime() -> i64 {
    let now = clock_gettime(ClockId::CLOCK_BOOTTIME).expect("a clock");
    now.tv_sec() * 1_000_000_000 + now.tv_nsec()
}
