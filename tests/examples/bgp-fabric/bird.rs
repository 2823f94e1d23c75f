//! BIRD, the routing daemon of each machine.

use std::path::PathBuf;
use std::process::Child;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use harness::namespaces::Namespace;
use harness::require;
use harness::tour::machines;

use crate::wiring::Node;

const SOCKET: &str = "/run/bird.ctl";

/// How long the sessions may take to come up. BIRD waits for a random part of some seconds before it tries.
const ESTABLISHED_WITHIN: Duration = Duration::from_secs(60);

/// A running daemon.
pub(crate) struct Bird {
    process: Child,
}

impl Bird {
    /// Starts it on a machine.
    pub(crate) fn start(machine: &Namespace, configuration: &str) -> Result<Self> {
        machines::write(machine, "/run/bird.conf", configuration)?;
        let process = machine
            .command(program("bird")?)
            .args(["-f", "-c", "/run/bird.conf", "-s", SOCKET])
            .spawn()?;
        Ok(Self { process })
    }

    /// Ends it.
    pub(crate) fn stop(mut self) -> Result<()> {
        self.process.kill()?;
        self.process.wait()?;
        Ok(())
    }
}

/// The configuration of a node's: it exports the routes that carry our protocol number, and takes those of the fabric.
pub(crate) fn of_node(node: &Node) -> String {
    let Node { v4, v6, asn, .. } = node;
    format!(
        r#"router id {v4}.2;
log "/run/bird.log" all;
protocol device {{ }}
protocol kernel {{ learn; ipv4 {{ import where krt_source = 77; export where source = RTS_BGP; }}; }}
protocol kernel {{ learn; ipv6 {{ import where krt_source = 77; export where source = RTS_BGP; }}; }}
protocol bgp router4 {{
  local {v4}.2 as {asn}; neighbor {v4}.1 as 65000; connect delay time 1;
  ipv4 {{ import all; export where source = RTS_INHERIT; }};
}}
protocol bgp router6 {{
  local {v6}::2 as {asn}; neighbor {v6}::1 as 65000; connect delay time 1;
  ipv6 {{ import all; export where source = RTS_INHERIT; }};
}}"#
    )
}

/// The configuration of the router's: it hands on what the nodes tell, and tells where the service is.
pub(crate) fn of_router(nodes: &[Node]) -> String {
    let mut text = r#"router id 10.0.0.5;
log "/run/bird.log" all;
protocol device { }
protocol direct { ipv4; interface "admin"; }
protocol kernel { ipv4 { export where source = RTS_BGP; }; }
protocol kernel { ipv6 { export where source = RTS_BGP; }; }
"#
    .to_owned();
    for Node { v4, v6, asn, .. } in nodes {
        text += &format!(
            r#"protocol bgp {{
  local {v4}.1 as 65000; neighbor {v4}.2 as {asn}; connect delay time 1;
  ipv4 {{ import all; export all; }};
}}
protocol bgp {{
  local {v6}::1 as 65000; neighbor {v6}::2 as {asn}; connect delay time 1;
  ipv6 {{ import all; export all; }};
}}
"#
        );
    }
    text
}

/// Waits until this many BGP sessions of a machine are established.
pub(crate) fn wait_for_sessions(machine: &Namespace, wanted: usize) -> Result<()> {
    let end = Instant::now() + ESTABLISHED_WITHIN;
    loop {
        let shown = control(machine, "show protocols");
        if let Ok(shown) = &shown
            && shown.matches("Established").count() == wanted
        {
            return Ok(());
        }
        let name = machine.name();
        ensure!(
            Instant::now() < end,
            "{name} has not {wanted} sessions after {ESTABLISHED_WITHIN:?}: {shown:?}"
        );
        thread::sleep(Duration::from_millis(50));
    }
}

/// What birdc answers to a command line.
pub(crate) fn control(machine: &Namespace, line: &str) -> Result<String> {
    let birdc = program("birdc")?;
    machine.run(&format!("{} -s {SOCKET} {line}", birdc.display()))
}

fn program(name: &str) -> Result<PathBuf> {
    require::find(name).with_context(|| format!("{name} is missing: apt-get install bird2"))
}
