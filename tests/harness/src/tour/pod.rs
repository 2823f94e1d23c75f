//! The containers: started and stopped through CNI, each with a web server in it.

use std::env;
use std::net::IpAddr;
use std::process::Child;
use std::time::{Duration, Instant};

use crate::namespaces::printed;
use crate::runtime::Runtime;
use anyhow::{Context, Result};
use serde_json::Value;

/// A running container.
#[derive(Debug)]
pub struct Pod {
    /// The container id.
    pub name: String,
    /// The node that it runs on.
    pub node: String,
    /// In the order of ADD's result.
    pub addresses: Vec<IpAddr>,
    /// From the runtime's call of the plugin to its end.
    pub took: Duration,
    web: Child,
}

impl Pod {
    /// Starts a container: its network, then the web server in it.
    ///
    /// # Errors
    /// The plugin's, or why the web server does not start.
    pub fn start(runtime: &mut Runtime<'_>, name: &str) -> Result<Self> {
        let begin = Instant::now();
        let result = runtime.start(name)?;
        let took = begin.elapsed();
        let node = runtime.node();
        let web = node
            .command_in(name, env::current_exe()?)
            .args(["serve", name])
            .spawn()?;
        Ok(Self {
            name: name.to_owned(),
            node: node.name().to_owned(),
            addresses: addresses(&result)?,
            took,
            web,
        })
    }

    /// Stops a container as a runtime does: its processes, then its network. Answers how long the DEL took.
    ///
    /// # Errors
    /// The plugin's.
    pub fn stop(mut self, runtime: &mut Runtime<'_>) -> Result<Duration> {
        self.web.kill()?;
        self.web.wait()?;
        let begin = Instant::now();
        runtime.stop(&self.name)?;
        Ok(begin.elapsed())
    }

    /// Fetches the page at an address, from inside this container.
    ///
    /// # Errors
    /// When nobody answers there within ten seconds.
    pub fn fetch(&self, runtime: &Runtime<'_>, address: IpAddr) -> Result<String> {
        let output = runtime
            .node()
            .command_in(&self.name, env::current_exe()?)
            .args(["fetch", &address.to_string()])
            .output()?;
        let page = printed(output).with_context(|| format!("{} → {address}", self.name))?;
        Ok(page.trim().to_owned())
    }
}

/// The addresses in an ADD's result, in its order.
fn addresses(result: &Value) -> Result<Vec<IpAddr>> {
    let ips = result["ips"].as_array().context("ADD answers ips")?;
    ips.iter()
        .map(|ip| {
            let (address, _) = ip["address"]
                .as_str()
                .and_then(|address| address.split_once('/'))
                .with_context(|| format!("{ip} has no address with a prefix length"))?;
            Ok(address.parse()?)
        })
        .collect()
}
