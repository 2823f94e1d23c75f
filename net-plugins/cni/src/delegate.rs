//! Running another plugin on behalf of this one: a main plugin its IPAM plugin.

use std::io::{ErrorKind, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command as Process, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::conf::NetConf;
use crate::error::Error;
use crate::invocation::{Command, Invocation};
use crate::result::CniResult;

/// The most that is read of a delegate's output, in bytes.
const MAX_STDOUT: u64 = 4 << 20;

/// What every pipe takes without a reader, in bytes, also of a user who has used up the share of pipes.
const PIPE: usize = 4096;

/// The plugin's program: the first regular file named `kind` in the folders of `path`.
pub fn find(kind: &str, path: &[PathBuf]) -> Result<PathBuf, Error> {
    if kind.is_empty() {
        return Err(Error::internal("no plugin name provided"));
    }
    if kind.contains('/') {
        return Err(Error::internal(format!("invalid plugin name: {kind}")));
    }
    // An empty entry would mean the working directory, which is whatever the runtime's happens to be.
    (path.iter().filter(|folder| !folder.as_os_str().is_empty()))
        .map(|folder| folder.join(kind))
        .find(|file| file.is_file())
        .ok_or_else(|| {
            let folders: Vec<_> = path.iter().map(|p| p.to_string_lossy()).collect();
            let folders = folders.join(" ");
            Error::internal(format!(
                "failed to find plugin {kind:?} in path [{folders}]"
            ))
        })
}

/// Runs ADD of the plugin `kind` and reads its result. After a failure the caller should run its DEL (clause 34).
pub fn add(
    kind: &str,
    invocation: &Invocation,
    conf: &NetConf,
    deadline: Instant,
) -> Result<CniResult, Error> {
    start(kind, Command::Add, invocation, deadline)?.result(conf)
}

/// Runs any other command of the plugin `kind`.
pub fn call(
    kind: &str,
    command: Command,
    invocation: &Invocation,
    deadline: Instant,
) -> Result<(), Error> {
    start(kind, command, invocation, deadline)?
        .output()
        .map(drop)
}

/// Starts a command of the plugin `kind`, so that the caller may do something else meanwhile.
pub fn start(
    kind: &str,
    command: Command,
    invocation: &Invocation,
    deadline: Instant,
) -> Result<Running, Error> {
    let program = find(kind, &invocation.path)?;
    let mut child = spawn(&program, command, invocation, deadline)?;
    let answer = converse(&mut child, &invocation.stdin);
    Ok(Running {
        what: format!("plugin {kind:?}"),
        command,
        child,
        answer,
        deadline,
    })
}

/// A plugin that is at work. Dropped, it is killed if it does not end within half a second.
#[derive(Debug)]
pub struct Running {
    what: String,
    command: Command,
    child: Child,
    answer: Receiver<std::io::Result<Vec<u8>>>,
    deadline: Instant,
}

impl Running {
    /// Waits for the result of an ADD. After a failure the caller should run its DEL (clause 34).
    pub fn result(self, conf: &NetConf) -> Result<CniResult, Error> {
        let what = self.what.clone();
        let output = self.output()?;
        let value: Value = serde_json::from_slice(&output).map_err(|e| {
            let output = String::from_utf8_lossy(&output);
            Error::decode(format!("{what} printed no result but {output:?}: {e}"))
        })?;
        CniResult::from_json(&value, conf.cni_version)
    }

    /// Waits for the plugin's end and returns what it printed. Its error object becomes ours unchanged.
    fn output(mut self) -> Result<Vec<u8>, Error> {
        let answer = self.answer.recv_timeout(left(self.deadline)).ok();
        let Some((output, status)) =
            answer.and_then(|output| Some((output, wait(&mut self.child, self.deadline)?)))
        else {
            let (what, command) = (&self.what, self.command);
            return Err(Error::try_again(format!(
                "{what} did not finish {command} in time and was killed"
            )));
        };
        let what = &self.what;
        let output =
            output.map_err(|e| Error::io(format!("cannot read the output of {what}: {e}")))?;
        if output.len() as u64 > MAX_STDOUT {
            return Err(Error::decode(format!(
                "{what} printed more than {MAX_STDOUT} bytes"
            )));
        }
        if status.success() {
            return Ok(output);
        }
        Err(error_of(&output, status))
    }
}

/// How long a plugin whose result nobody wants any more may go on.
const GRACE: Duration = Duration::from_millis(500);

impl Drop for Running {
    fn drop(&mut self) {
        // One that is killed halfway may leave what its DEL does not find: host-local writes an empty file first.
        let _ = self.answer.recv_timeout(left(self.deadline).min(GRACE));
        // Already gone, or killed now; either way it is reaped.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Starts the program with this process's environment, the command replaced. A program that is being written just now
/// (an installer at work) cannot be started for a moment; that is waited for.
fn spawn(
    program: &Path,
    command: Command,
    invocation: &Invocation,
    deadline: Instant,
) -> Result<Child, Error> {
    let mut process = Process::new(program);
    process
        .env("CNI_COMMAND", command.as_str())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit());
    for (name, value) in [
        ("CNI_CONTAINERID", &invocation.container_id),
        ("CNI_NETNS", &invocation.netns),
        ("CNI_IFNAME", &invocation.ifname),
        ("CNI_ARGS", &invocation.args),
    ] {
        if !value.is_empty() {
            process.env(name, value);
        }
    }
    if let Ok(path) = std::env::join_paths(&invocation.path) {
        process.env("CNI_PATH", path);
    }
    loop {
        match process.spawn() {
            Err(e) if e.kind() == ErrorKind::ExecutableFileBusy && Instant::now() < deadline => {
                thread::sleep(Duration::from_millis(10));
            }
            other => {
                return other
                    .map_err(|e| Error::io(format!("cannot start {}: {e}", program.display())));
            }
        }
    }
}

/// Feeds the child and reads what it says, until it says no more.
///
/// The threads are left alone when that takes too long: a grandchild may hold the pipes open for longer than anybody
/// wants to wait.
fn converse(child: &mut Child, input: &[u8]) -> Receiver<std::io::Result<Vec<u8>>> {
    let (sender, receiver) = mpsc::channel();
    let (Some(mut stdin), Some(stdout)) = (child.stdin.take(), child.stdout.take()) else {
        return receiver;
    };
    // A plugin may answer without reading its input.
    if input.len() <= PIPE {
        let _ = stdin.write_all(input);
        drop(stdin);
    } else {
        let input = input.to_vec();
        thread::spawn(move || drop(stdin.write_all(&input)));
    }
    thread::spawn(move || {
        let mut output = Vec::new();
        let read = stdout.take(MAX_STDOUT + 1).read_to_end(&mut output);
        drop(sender.send(read.map(|_| output)));
    });
    receiver
}

/// A plugin ends right after it closes its output, so that short naps cost next to nothing.
fn wait(child: &mut Child, deadline: Instant) -> Option<ExitStatus> {
    let mut nap = Duration::from_micros(50);
    loop {
        if let Some(status) = child.try_wait().ok()? {
            return Some(status);
        }
        if left(deadline).is_zero() {
            return None;
        }
        thread::sleep(nap);
        nap = (nap * 2).min(Duration::from_millis(10));
    }
}

fn left(deadline: Instant) -> Duration {
    deadline.saturating_duration_since(Instant::now())
}

fn error_of(output: &[u8], status: ExitStatus) -> Error {
    if output.trim_ascii().is_empty() {
        return Error::internal(format!("netplugin failed with no error message: {status}"));
    }
    let parsed = serde_json::from_slice(output).and_then(|value: Value| Error::from_json(&value));
    parsed.unwrap_or_else(|e| {
        let output = String::from_utf8_lossy(output);
        Error::internal(format!(
            "netplugin failed but error parsing its diagnostic message {output:?}: {e}"
        ))
    })
}

#[cfg(test)]
mod tests;
