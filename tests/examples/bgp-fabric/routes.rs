//! The kernel's routes, as ip(8) shows them.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use harness::namespaces::Namespace;
use serde::Deserialize;

/// Who made a route that BIRD put into the kernel.
pub(crate) const BIRD: &str = "bird";

/// How long the fabric may take to learn of a container's coming or going.
const TOLD_WITHIN: Duration = Duration::from_secs(20);

/// A route of the main table.
#[derive(Debug, Deserialize)]
pub(crate) struct Route {
    pub(crate) dst: String,
    #[serde(default)]
    pub(crate) gateway: String,
    #[serde(default)]
    pub(crate) dev: String,
    /// Who made it: `kernel` for a link's own, else a name or a number.
    pub(crate) protocol: String,
}

/// The routes of both families.
pub(crate) fn list(machine: &Namespace) -> Result<Vec<Route>> {
    let mut routes = Vec::new();
    for line in ["ip -json route show", "ip -json -6 route show"] {
        let shown = machine.run(line)?;
        routes.extend(serde_json::from_str::<Vec<Route>>(&shown)?);
    }
    Ok(routes)
}

/// Waits until the routes to these destinations that BIRD made on a machine are all there, or all gone.
pub(crate) fn wait(machine: &Namespace, destinations: &[String], present: bool) -> Result<()> {
    let end = Instant::now() + TOLD_WITHIN;
    loop {
        let routes = list(machine)?;
        let has = |dst: &String| {
            routes
                .iter()
                .any(|route| route.dst == *dst && route.protocol == BIRD)
        };
        if destinations.iter().all(|dst| has(dst) == present) {
            return Ok(());
        }
        let name = machine.name();
        ensure!(
            Instant::now() < end,
            "{name}: BIRD has not {} the routes to {destinations:?} within {TOLD_WITHIN:?}: {routes:?}",
            if present { "made" } else { "removed" }
        );
        thread::sleep(Duration::from_millis(5));
    }
}
