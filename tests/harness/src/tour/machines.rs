//! What an admin does on machines before anything of a cluster runs: cables, addresses, files.

use std::io::Write;
use std::process::{Command, Stdio};

use anyhow::{Result, ensure};
use serde_json::json;

use super::page::Page;
use super::service::{NODE_TOKEN, URL};
use crate::namespaces::{Namespace, printed};

/// Promises that a machine runs, and is one of its own.
///
/// # Errors
/// When it has no hostname or machine id.
pub fn introduce(page: &mut Page, machine: &Namespace) -> Result<()> {
    let hostname = machine.run("hostname")?;
    let id = machine.run("cat /etc/machine-id")?;
    ensure!(id.trim().len() == 32, "{id:?} is no machine id");
    page.promise(&format!(
        "{} is up, machine id {}…",
        hostname.trim(),
        &id[..8]
    ));
    Ok(())
}

/// Connects the tour's own network namespace, from where the admin (10.0.0.2) calls the API, to a machine's link `admin`.
///
/// # Errors
/// When ip(8) refuses.
pub fn connect_admin(machine: &Namespace) -> Result<()> {
    let peer = machine.pid();
    for line in [
        &format!("link add admin type veth peer name admin netns {peer}"),
        "link set admin up",
        "addr add 10.0.0.2/24 dev admin",
    ] {
        printed(Command::new("ip").args(line.split(' ')).output()?)?;
    }
    machine.run("ip link set admin up").map(drop)
}

/// Gives a link an address that can be used at once: nobody else is on these wires to ask about duplicates.
///
/// # Errors
/// When ip(8) refuses.
pub fn add_address(machine: &Namespace, link: &str, address: &str) -> Result<()> {
    let nodad = if address.contains(':') { " nodad" } else { "" };
    let line = format!("ip addr add {address} dev {link}{nodad}");
    machine.run(&line).map(drop)
}

/// Sets a node up for the service and a network: the token, the node file, the network's configuration.
///
/// # Errors
/// When a file cannot be written.
pub fn install(node: &Namespace, network: &str) -> Result<()> {
    let token = "/etc/cni/cluster-ipam.token";
    let node_file = json!({ "server": URL, "tokenFile": token });
    node.run("mkdir /etc/cni/net.d")?;
    write(node, token, NODE_TOKEN)?;
    node.run(&format!("chmod 600 {token}"))?;
    let node_file = format!("{node_file:#}");
    write(node, "/etc/cni/cluster-ipam.json", &node_file)?;
    write(node, "/etc/cni/net.d/10-pods.conf", network)
}

/// Writes a file, or a setting of the kernel, on a machine.
///
/// # Errors
/// When it cannot be written.
pub fn write(machine: &Namespace, path: &str, text: &str) -> Result<()> {
    let mut child = machine
        .command("tee")
        .arg(path)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()?;
    if let Some(mut stdin) = child.stdin.take() {
        writeln!(stdin, "{text}")?;
    }
    ensure!(child.wait()?.success(), "{path} cannot be written");
    Ok(())
}
