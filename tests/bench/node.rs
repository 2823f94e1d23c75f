//! What runs inside a node's namespaces: this program again, told what to do in a line of JSON and answering in another,
//! so that a plugin is started by the one who takes its time, with no nsenter(1) in between.

use std::io::{self, BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitCode, Stdio};

use anyhow::{Context, Result, bail, ensure};
use harness::namespaces::{Namespace, printed};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::plugin::Container;
use crate::{bridge, drain};

/// The first argument of a program that is to work inside.
const INSIDE: &str = "inside-a-node";

/// Work for a node.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Order {
    /// See [`bridge::Turn`].
    Bridge(bridge::Turn),
    /// See [`drain::Share`].
    Drain(drain::Share),
}

/// A node: namespaces, and the program that works in them.
pub(crate) struct Node {
    worker: Child,
    orders: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
    /// Dropped last: it ends what is left inside.
    _namespace: Namespace,
}

impl Node {
    /// Makes a node of this name.
    pub(crate) fn new(name: &str) -> Result<Self> {
        let namespace = Namespace::new(name)?;
        let mut worker = namespace
            .command(std::env::current_exe()?)
            .arg(INSIDE)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        Ok(Self {
            orders: worker.stdin.take(),
            answers: BufReader::new(worker.stdout.take().context("stdout is a pipe")?),
            worker,
            _namespace: namespace,
        })
    }

    /// Gives it work to do.
    pub(crate) fn order(&mut self, order: &Order) -> Result<()> {
        let orders = self.orders.as_mut().context("the node takes orders")?;
        writeln!(orders, "{}", serde_json::to_string(order)?)?;
        Ok(())
    }

    /// Waits until the work is done.
    pub(crate) fn answer<T: DeserializeOwned>(&mut self) -> Result<T> {
        let mut line = String::new();
        self.answers.read_line(&mut line)?;
        let mut answer: Value = serde_json::from_str(&line).context("the node ended")?;
        if let Some(error) = answer["error"].as_str() {
            bail!("{error}");
        }
        Ok(serde_json::from_value(answer["done"].take())?)
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.orders = None;
        let _ = self.worker.wait();
    }
}

/// Works inside a node when the arguments say so.
pub(crate) fn run_if_asked() -> Result<Option<ExitCode>> {
    if std::env::args().nth(1).as_deref() != Some(INSIDE) {
        return Ok(None);
    }
    for line in io::stdin().lines() {
        let answer = match obey(serde_json::from_str(&line?)?) {
            Ok(done) => json!({ "done": done }),
            Err(error) => json!({ "error": format!("{error:#}") }),
        };
        writeln!(io::stdout(), "{answer}")?;
    }
    Ok(Some(ExitCode::SUCCESS))
}

fn obey(order: Order) -> Result<Value> {
    Ok(match order {
        Order::Bridge(turn) => serde_json::to_value(turn.take()?)?,
        Order::Drain(share) => serde_json::to_value(share.take()?)?,
    })
}

/// A container's network namespace on this node, removed when it is dropped.
pub(crate) struct Sandbox {
    pub(crate) name: String,
    pub(crate) path: String,
}

impl Sandbox {
    pub(crate) fn new(name: &str) -> Result<Self> {
        Ok(Self {
            name: name.to_owned(),
            path: add_netns(name)?,
        })
    }

    /// The container, for verbs without the result of an earlier one.
    pub(crate) fn container(&self) -> Container<'_> {
        Container {
            id: &self.name,
            netns: &self.path,
            result: None,
        }
    }

    /// Fails when the container still has its interface.
    pub(crate) fn ensure_bare(&self) -> Result<()> {
        let links = ip(&[
            "-netns", &self.name, "-brief", "link", "show", "type", "veth",
        ])?;
        ensure!(links.is_empty(), "DEL left {links} in the container");
        Ok(())
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        if Path::new(&self.path).exists() {
            let _ = ip(&["netns", "delete", &self.name]);
        }
    }
}

/// Makes a network namespace that stays as long as the node does, and answers its path.
pub(crate) fn add_netns(name: &str) -> Result<String> {
    ip(&["netns", "add", name])?;
    Ok(netns(name))
}

/// The path of a network namespace of this node.
pub(crate) fn netns(name: &str) -> String {
    format!("/run/netns/{name}")
}

/// Runs ip(8) on this node.
pub(crate) fn ip(args: &[&str]) -> Result<String> {
    let output = Command::new("ip").args(args).output()?;
    printed(output).with_context(|| format!("ip {}", args.join(" ")))
}
