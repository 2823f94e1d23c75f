//! The machines: two nodes, a switch, and the cables between them.

use anyhow::Result;
use harness::namespaces::Namespace;
use serde_json::json;

use crate::page::Page;
use crate::service::URL;

/// Where the main plugins are: Debian's.
pub(crate) const MAIN_PLUGINS: &str = "/usr/lib/cni";

/// The containers' network: its configuration, the same on every node.
pub(crate) const NETWORK: &str = r#"{
  "cniVersion": "1.0.0",
  "name": "pods",
  "type": "bridge",
  "bridge": "br0",
  "ipam": { "type": "cluster-ipam", "pools": ["pods-v4", "pods-v6"] }
}"#;

/// The machines of the tour. The tour's own network namespace is one more: the admin's, 10.0.0.2.
pub(crate) struct Wiring {
    pub(crate) nodes: [Namespace; 2],
    pub(crate) switch: Namespace,
}

impl Wiring {
    /// Makes the machines and lays the cables.
    pub(crate) fn lay(page: &mut Page) -> Result<Self> {
        page.step("Two nodes and a switch");
        page.say(
            "Each machine is a network, a mount and a UTS namespace: it has its own links, hostname, machine id, \
             /etc/cni and /var/lib/cni. The switch's bridge is the wire; it also holds the containers' gateway \
             addresses and the service.",
        );
        page.block(
            " node-a  10.0.0.11            switch  10.0.0.5           node-b  10.0.0.12\n\
             ┌──────────────────┐       ┌───────────────────┐       ┌──────────────────┐\n\
             │ web-1 ─┐         │       │    ipam-server    │       │         ┌─ web-3 │\n\
             │ web-2 ─┴─ br0 ───┼───────┼─────── br0 ───────┼───────┼─── br0 ─┘        │\n\
             └──────────────────┘       └───────────────────┘       └──────────────────┘",
        );
        let switch = Namespace::new("switch")?;
        switch.run("ip link add br0 type bridge")?;
        switch.run("ip link set br0 up")?;
        for address in ["10.0.0.5/24", "10.1.0.1/24", "fd00:10:1::1/64"] {
            add_address(&switch, "br0", address)?;
        }
        let nodes = [
            node("node-a", "10.0.0.11/24", &switch)?,
            node("node-b", "10.0.0.12/24", &switch)?,
        ];
        admin(&switch)?;
        for node in &nodes {
            let hostname = node.run("hostname")?;
            let machine = node.run("cat /etc/machine-id")?;
            page.promise(&format!(
                "{} is up, machine id {}…",
                hostname.trim(),
                &machine[..8.min(machine.len())]
            ));
        }
        Ok(Self { nodes, switch })
    }

    /// Sets a node up as its admin would: the token, the node file, the network's configuration.
    pub(crate) fn install(node: &Namespace, token: &str) -> Result<()> {
        let node_file = json!({
            "server": URL,
            "tokenFile": "/etc/cni/cluster-ipam.token"
        });
        node.run("mkdir /etc/cni/net.d")?;
        write(node, "/etc/cni/cluster-ipam.token", token)?;
        node.run("chmod 600 /etc/cni/cluster-ipam.token")?;
        write(
            node,
            "/etc/cni/cluster-ipam.json",
            &format!("{node_file:#}"),
        )?;
        write(node, "/etc/cni/net.d/10-pods.conf", NETWORK)
    }
}

/// A node: its uplink is a port of its bridge, so that containers on it are neighbours of those on the other.
fn node(name: &str, address: &str, switch: &Namespace) -> Result<Namespace> {
    let node = Namespace::new(name)?;
    node.connect("eth0", switch, name)?;
    switch.run(&format!("ip link set {name} master br0"))?;
    node.run("ip link add br0 type bridge")?;
    node.run("ip link set eth0 master br0")?;
    node.run("ip link set br0 up")?;
    add_address(&node, "br0", address)?;
    Ok(node)
}

/// Connects the tour's own namespace, from where the admin calls the API.
fn admin(switch: &Namespace) -> Result<()> {
    let own = |line: String| -> Result<()> {
        let output = std::process::Command::new("ip")
            .args(line.split(' '))
            .output()?;
        harness::namespaces::printed(output).map(drop)
    };
    own(format!(
        "link add admin type veth peer name admin netns {}",
        switch.pid()
    ))?;
    own("link set admin up".to_owned())?;
    own("addr add 10.0.0.2/24 dev admin".to_owned())?;
    switch.run("ip link set admin up master br0")?;
    Ok(())
}

/// Gives a link an address that can be used at once: nobody else is on this wire to ask about duplicates.
fn add_address(namespace: &Namespace, link: &str, address: &str) -> Result<()> {
    let nodad = if address.contains(':') { " nodad" } else { "" };
    namespace.run(&format!("ip addr add {address} dev {link}{nodad}"))?;
    Ok(())
}

fn write(node: &Namespace, path: &str, text: &str) -> Result<()> {
    use std::io::Write;
    let mut child = node
        .command("tee")
        .arg(path)
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::null())
        .spawn()?;
    if let Some(mut stdin) = child.stdin.take() {
        writeln!(stdin, "{text}")?;
    }
    anyhow::ensure!(child.wait()?.success(), "{path} cannot be written");
    Ok(())
}
