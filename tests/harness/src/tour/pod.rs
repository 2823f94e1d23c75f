//! The containers: started and stopped through CNI, each with a web server in it.

use std::env;
use std::net::IpAddr;
use std::process::Child;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use harness::namespaces::printed;
use harness::runtime::Runtime;
use serde_json::Value;

/// A running container.
pub(crate) struct Pod {
    pub(crate) name: String,
    pub(crate) node: String,
    pub(crate) addresses: Vec<IpAddr>,
    /// From the runtime's call of the plugin to its end.
    pub(crate) took: Duration,
    web: Child,
}

impl Pod {
    /// Starts a container: its network, then the web server in it.
    pub(crate) fn start(runtime: &mut Runtime<'_>, name: &str) -> Result<Self> {
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
    pub(crate) fn stop(mut self, runtime: &mut Runtime<'_>) -> Result<Duration> {
        self.web.kill()?;
        self.web.wait()?;
        let begin = Instant::now();
        runtime.stop(&self.name)?;
        Ok(begin.elapsed())
    }

    /// Fetches the page at an address, from inside this container.
    pub(crate) fn fetch(&self, runtime: &Runtime<'_>, address: IpAddr) -> Result<String> {
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
