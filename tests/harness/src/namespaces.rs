//! Network, mount and UTS namespaces of a test's own, removed at its end: one looks like a machine to what runs in it.
//!
//! A small process started through unshare(1) holds the namespaces, and others enter them through nsenter(1), so that no
//! thread of the test ever changes its own. Works for root, and for anybody inside `unshare -Urnm`. Nothing appears in
//! the machine's own `/run/netns`.

use std::ffi::OsStr;
use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;

/// The namespaces of one pretended machine, with its own hostname, `/etc/machine-id`, `/etc/cni`, `/var/lib/cni` and
/// `/run`; the rest of the file system is the machine's. Dropping it kills what runs inside and removes all of it.
#[derive(Debug)]
pub struct Namespace {
    name: String,
    holder: Child,
    /// Holds the namespace's own files. Removed after the holder is gone.
    folder: TempDir,
}

impl Namespace {
    /// Makes one with this hostname.
    ///
    /// # Errors
    /// When the kernel or the missing of unshare(1), mount(8), hostname(1) or ip(8) stands in the way.
    pub fn new(name: &str) -> Result<Self> {
        let folder = TempDir::with_prefix(format!("ipam-{name}-"))?;
        let mut holder = Command::new("unshare")
            .args(["--net", "--mount", "--uts", "--", "sh", "-c"])
            .arg(include_str!("namespace.sh"))
            .args(["namespace.sh".as_ref(), folder.path().as_os_str()])
            .arg(name)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .context("unshare (package util-linux) does not start")?;
        let mut line = String::new();
        if let Some(stdout) = holder.stdout.take() {
            BufReader::new(stdout).read_line(&mut line)?;
        }
        if line != "ready\n" {
            let mut said = String::new();
            if let Some(mut stderr) = holder.stderr.take() {
                stderr.read_to_string(&mut said)?;
            }
            holder.wait()?;
            bail!("no namespaces for {name}: {}", said.trim());
        }
        Ok(Self {
            name: name.to_owned(),
            holder,
            folder,
        })
    }

    /// The hostname.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// A folder that is visible inside and outside, for sockets, logs and databases.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The holder's process id, which names the namespaces (`/proc/PID/ns`).
    pub fn pid(&self) -> u32 {
        self.holder.id()
    }

    /// A command that will run inside, in `/`: paths have to be absolute.
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new("nsenter");
        command
            .arg(format!("--target={}", self.pid()))
            .args(["--net", "--mount", "--uts", "--"])
            .arg(program);
        command
    }

    /// A command that will run in the network of one of the containers.
    pub fn command_in(&self, container: &str, program: impl AsRef<OsStr>) -> Command {
        let mut command = self.command("nsenter");
        command
            .arg(format!("--net={}", netns(container)))
            .arg("--")
            .arg(program);
        command
    }

    /// Runs a command line (split at white space) inside and answers what it printed.
    ///
    /// # Errors
    /// With what it said, when it fails.
    pub fn run(&self, line: &str) -> Result<String> {
        let mut words = line.split_whitespace();
        let program = words.next().context("an empty command line")?;
        let output = self.command(program).args(words).output()?;
        printed(output).with_context(|| format!("{}: {line}", self.name))
    }

    /// Runs a command line in the network of one of the containers and answers what it printed.
    ///
    /// # Errors
    /// As [`Namespace::run`].
    pub fn run_in(&self, container: &str, line: &str) -> Result<String> {
        self.run(&format!("nsenter --net={} -- {line}", netns(container)))
            .with_context(|| format!("in {container}"))
    }

    /// Makes a network namespace for a container, as a runtime does before it calls CNI, and answers its path (valid
    /// inside only).
    ///
    /// # Errors
    /// When ip(8) refuses.
    pub fn add_container(&self, container: &str) -> Result<String> {
        self.run(&format!("ip netns add {container}"))?;
        self.run(&format!("ip -netns {container} link set lo up"))?;
        Ok(netns(container))
    }

    /// Removes a container's network namespace.
    ///
    /// # Errors
    /// When ip(8) refuses.
    pub fn remove_container(&self, container: &str) -> Result<()> {
        self.run(&format!("ip netns delete {container}")).map(drop)
    }

    /// Lays a cable: a veth pair from `port` here to `other_port` there, both ends up.
    ///
    /// # Errors
    /// When ip(8) refuses.
    pub fn connect(&self, port: &str, other: &Self, other_port: &str) -> Result<()> {
        self.run(&format!(
            "ip link add {port} type veth peer name {other_port} netns {}",
            other.pid()
        ))?;
        self.run(&format!("ip link set {port} up"))?;
        other.run(&format!("ip link set {other_port} up"))?;
        Ok(())
    }

    /// The processes that run inside, its containers' included, but for the one that holds the namespaces.
    ///
    /// # Errors
    /// When `/proc` cannot be read.
    pub fn processes(&self) -> Result<Vec<u32>> {
        let own = uts(self.pid()).context("the namespaces are gone")?;
        let mut found = Vec::new();
        for entry in fs::read_dir("/proc")? {
            let pid = entry?.file_name().to_str().and_then(|it| it.parse().ok());
            if let Some(pid) = pid
                && pid != self.pid()
                && uts(pid).is_some_and(|it| it == own)
            {
                found.push(pid);
            }
        }
        Ok(found)
    }

    /// Kills what runs inside until nothing does: a process may be forking while it is looked for.
    fn empty(&self) -> Result<()> {
        for _ in 0..200 {
            let processes = self.processes()?;
            if processes.is_empty() {
                return Ok(());
            }
            for pid in processes {
                // Gone already is as good.
                let _ = kill(Pid::from_raw(pid.cast_signed()), Signal::SIGKILL);
            }
            thread::sleep(Duration::from_millis(10));
        }
        bail!("{}: processes outlive their killing", self.name)
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        if let Err(error) = self.empty() {
            eprintln!("{}: {error:#}", self.name);
        }
        let _ = self.holder.kill();
        let _ = self.holder.wait();
    }
}

/// What a command printed.
///
/// # Errors
/// With what it said, when it failed.
pub fn printed(output: Output) -> Result<String> {
    ensure!(
        output.status.success(),
        "{}: {}{}",
        output.status,
        String::from_utf8_lossy(&output.stderr),
        String::from_utf8_lossy(&output.stdout)
    );
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

fn netns(container: &str) -> String {
    format!("/run/netns/{container}")
}

/// The UTS namespace of a process. It, and not the network, tells who belongs to a node: containers share it.
fn uts(pid: u32) -> Option<PathBuf> {
    fs::read_link(format!("/proc/{pid}/ns/uts")).ok()
}
