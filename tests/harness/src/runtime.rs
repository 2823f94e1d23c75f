//! What a container runtime does with CNI: it makes a network namespace, runs the main plugin with the verb, keeps the
//! result, and hands it back with later verbs.

use std::collections::BTreeMap;
use std::io::Write;
use std::process::Stdio;

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use crate::namespaces::Namespace;

/// The interface that every container gets.
pub const IFNAME: &str = "eth0";

/// One network on one node, as a runtime on that node sees it.
#[derive(Debug)]
pub struct Runtime<'a> {
    node: &'a Namespace,
    network: Value,
    cni_path: String,
    results: BTreeMap<String, Value>,
}

impl<'a> Runtime<'a> {
    /// A runtime on `node` whose `network` is a plugin's configuration with `name` and `cniVersion`, and whose plugins
    /// are looked for in the folders of `cni_path`.
    pub fn new(node: &'a Namespace, network: Value, cni_path: &str) -> Self {
        Self {
            node,
            network,
            cni_path: cni_path.to_owned(),
            results: BTreeMap::new(),
        }
    }

    /// The node that it runs on.
    pub fn node(&self) -> &'a Namespace {
        self.node
    }

    /// The containers that it runs.
    pub fn containers(&self) -> Vec<String> {
        self.results.keys().cloned().collect()
    }

    /// Makes a container's network namespace and adds it to the network. A failed ADD is followed by a DEL, and leaves
    /// no namespace.
    ///
    /// # Errors
    /// The plugin's error.
    pub fn start(&mut self, container: &str) -> Result<Value> {
        self.node.add_container(container)?;
        let added = self.verb("ADD", container);
        match added {
            Ok(result) => {
                self.results.insert(container.to_owned(), result.clone());
                Ok(result)
            }
            Err(error) => {
                let _ = self.verb("DEL", container);
                self.node.remove_container(container)?;
                Err(error)
            }
        }
    }

    /// Takes a container off the network and removes its network namespace. The namespace goes also when DEL fails.
    ///
    /// # Errors
    /// The plugin's error.
    pub fn stop(&mut self, container: &str) -> Result<()> {
        let deleted = self.verb("DEL", container);
        self.node.remove_container(container)?;
        deleted?;
        self.results.remove(container);
        Ok(())
    }

    /// Asks whether a container's network is still as ADD left it.
    ///
    /// # Errors
    /// The plugin's error.
    pub fn check(&self, container: &str) -> Result<()> {
        self.verb("CHECK", container).map(drop)
    }

    /// Runs the main plugin with a verb about one container, and answers its result (null when it printed none).
    ///
    /// # Errors
    /// The plugin's error.
    pub fn verb(&self, verb: &str, container: &str) -> Result<Value> {
        let mut config = self.network.clone();
        if let Some(result) = self.results.get(container) {
            config["prevResult"] = result.clone();
        }
        let args = format!("IgnoreUnknown=1;K8S_POD_NAMESPACE=default;K8S_POD_NAME={container}");
        let variables = [
            ("CNI_CONTAINERID", container),
            ("CNI_NETNS", &format!("/run/netns/{container}")),
            ("CNI_IFNAME", IFNAME),
            ("CNI_ARGS", &args),
        ];
        self.run(verb, &config, &variables)
    }

    /// Tells the plugins which containers are still valid, so that they free what belongs to no other.
    ///
    /// # Errors
    /// The plugin's error.
    pub fn gc(&self, valid: &[&str]) -> Result<()> {
        let mut config = self.network.clone();
        config["cni.dev/valid-attachments"] = valid
            .iter()
            .map(|container| json!({"containerID": container, "ifname": IFNAME}))
            .collect();
        self.run("GC", &config, &[]).map(drop)
    }

    /// Asks whether an ADD could be served.
    ///
    /// # Errors
    /// The plugin's error.
    pub fn status(&self) -> Result<()> {
        self.run("STATUS", &self.network, &[]).map(drop)
    }

    /// Runs the plugin that `config` names with a verb and these variables, and answers its result (null when it printed
    /// none): for plugins that are chained and interfaces of other names.
    ///
    /// # Errors
    /// The plugin's error.
    pub fn run(&self, verb: &str, config: &Value, variables: &[(&str, &str)]) -> Result<Value> {
        let kind = config["type"].as_str().context("a network has a type")?;
        let program = self
            .cni_path
            .split(':')
            .map(|folder| format!("{folder}/{kind}"))
            .find(|program| std::path::Path::new(program).exists())
            .with_context(|| format!("no plugin {kind} in {}", self.cni_path))?;
        let mut child = self
            .node
            .command(program)
            .env("CNI_COMMAND", verb)
            .env("CNI_PATH", &self.cni_path)
            .envs(variables.iter().copied())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        if let Some(mut stdin) = child.stdin.take() {
            // A plugin that fails early may not read all of it; what it says is what counts.
            let _ = stdin.write_all(config.to_string().as_bytes());
        }
        let output = child.wait_with_output()?;
        let stdout = String::from_utf8_lossy(&output.stdout);
        if output.status.success() {
            return Ok(serde_json::from_str(&stdout).unwrap_or(Value::Null));
        }
        bail!(
            "{verb} on {}: {kind}: {}",
            self.node.name(),
            complaint(&stdout, &output.stderr)
        )
    }
}

/// A plugin's error as libcni words it, or whatever it said instead.
fn complaint(stdout: &str, stderr: &[u8]) -> String {
    match serde_json::from_str::<Value>(stdout) {
        Ok(error) => format!(
            "{} (code {}) {}",
            error["msg"].as_str().unwrap_or("no message"),
            error["code"],
            error["details"].as_str().unwrap_or("")
        ),
        Err(_) => format!("{stdout}{}", String::from_utf8_lossy(stderr)),
    }
}
