//! A plugin's life from its first instruction to its exit code: the part that is the same for all plugins.

use std::any::Any;
use std::cell::Cell;
use std::io::{self, Read, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;

use serde::Serialize;
use serde_json::Value;
use serde_json::ser::{PrettyFormatter, Serializer};

use crate::conf::NetConf;
use crate::error::Error;
use crate::invocation::{Command, Env, Invocation};
use crate::result::CniResult;
use crate::version::{self, SUPPORTED, Version};

/// What a plugin does. Each method is called at most once per process, with a command that the configuration's version
/// knows.
pub trait Plugin {
    /// One line for a person who starts the program without `CNI_COMMAND`.
    fn about(&self) -> &str;
    /// Makes the attachment.
    fn add(&self, invocation: &Invocation, conf: &NetConf) -> Result<CniResult, Error>;
    /// Removes it; succeeds when there is nothing to remove. Keys of `conf` that were of the wrong type are absent.
    fn del(&self, invocation: &Invocation, conf: &NetConf) -> Result<(), Error>;
    /// Fails when the attachment is not as `prevResult` says.
    fn check(&self, invocation: &Invocation, conf: &NetConf) -> Result<(), Error>;
    /// Fails when an ADD could not be served.
    fn status(&self, invocation: &Invocation, conf: &NetConf) -> Result<(), Error>;
    /// Removes what belongs to no entry of [`NetConf::valid_attachments`].
    fn gc(&self, invocation: &Invocation, conf: &NetConf) -> Result<(), Error>;
    /// Takes an `add` back whose result cannot be told to the runtime.
    fn undo(&self, invocation: &Invocation, conf: &NetConf) -> Result<(), Error> {
        self.del(invocation, conf)
    }
    /// Work that may wait until the answer has been told. Called after each command but VERSION that succeeded; what
    /// goes wrong in it is the plugin's own to log.
    fn after(&self, _invocation: &Invocation, _conf: &NetConf) {}
}

/// Runs the plugin over the process's own environment and streams.
pub fn main(plugin: &impl Plugin) -> ExitCode {
    let env = |name: &str| std::env::var_os(name);
    ExitCode::from(run(
        plugin,
        &env,
        &mut io::stdin(),
        &mut io::stdout(),
        &mut io::stderr(),
    ))
}

/// Runs the plugin over the given environment and streams and returns the exit code. On `stdout` appears the result or
/// the error object and nothing else; a panic is reported as code 999.
pub fn run(
    plugin: &impl Plugin,
    env: Env<'_>,
    stdin: &mut dyn Read,
    stdout: &mut dyn Write,
    stderr: &mut dyn Write,
) -> u8 {
    if env("CNI_COMMAND").is_none_or(|command| command.is_empty()) {
        let versions = SUPPORTED.map(Version::as_str).join(", ");
        let about = plugin.about();
        // Nobody is left to tell when stderr is closed.
        let _ = writeln!(
            stderr,
            "{about}\nCNI protocol versions supported: {versions}"
        );
        return 0;
    }
    let spoken = Cell::new(Version::LATEST);
    let work = AssertUnwindSafe(|| serve(plugin, env, stdin, stdout, &spoken));
    let error = match catch_unwind(work) {
        Ok(Ok(())) => return 0,
        Ok(Err(error)) => error,
        Err(panic) => Error::internal(format!("the plugin panicked: {}", message_of(&*panic))),
    };
    if let Err(unwritten) = print(stdout, &error.to_json(spoken.get())) {
        let _ = writeln!(
            stderr,
            "cannot write to stdout: {unwritten}; the error was: {error}"
        );
    }
    1
}

/// One command. Notes the version in which to answer as soon as it is known.
fn serve(
    plugin: &impl Plugin,
    env: Env<'_>,
    stdin: &mut dyn Read,
    stdout: &mut dyn Write,
    spoken: &Cell<Version>,
) -> Result<(), Error> {
    let invocation = Invocation::read(env, stdin)?;
    if invocation.command == Command::Version {
        return print(stdout, &version::answer(&invocation.stdin)?).map_err(unwritten);
    }
    let conf = NetConf::parse(&invocation.stdin, invocation.command)?;
    spoken.set(conf.cni_version);
    conf.cni_version.allows(invocation.command)?;
    match invocation.command {
        Command::Add => add(plugin, &invocation, &conf, stdout),
        Command::Del => plugin.del(&invocation, &conf),
        Command::Check => plugin.check(&invocation, &conf),
        Command::Status => plugin.status(&invocation, &conf),
        Command::Gc => plugin.gc(&invocation, &conf),
        Command::Version => Ok(()),
    }?;
    // The answer is out: a panic must not print a second object. The panic hook has told stderr.
    let _ = catch_unwind(AssertUnwindSafe(|| plugin.after(&invocation, &conf)));
    Ok(())
}

/// An attachment of which the runtime never hears would leak: it is undone.
fn add(
    plugin: &impl Plugin,
    invocation: &Invocation,
    conf: &NetConf,
    stdout: &mut dyn Write,
) -> Result<(), Error> {
    let result = plugin.add(invocation, conf)?;
    let told = (result.to_json(conf.cni_version))
        .and_then(|object| print(stdout, &object).map_err(unwritten));
    told.map_err(|mut error| {
        let undo = Invocation {
            command: Command::Del,
            ..invocation.clone()
        };
        if let Err(e) = plugin.undo(&undo, conf) {
            error.details = format!("undoing the ADD failed too: {e}");
        }
        error
    })
}

fn print(stdout: &mut dyn Write, object: &Value) -> io::Result<()> {
    let mut text = Vec::new();
    let mut serializer =
        Serializer::with_formatter(&mut text, PrettyFormatter::with_indent(b"    "));
    object.serialize(&mut serializer)?;
    text.push(b'\n');
    stdout.write_all(&text)?;
    stdout.flush()
}

fn unwritten(error: io::Error) -> Error {
    Error::io(format!("cannot write to stdout: {error}"))
}

fn message_of(panic: &(dyn Any + Send)) -> &str {
    (panic.downcast_ref::<&str>().copied())
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no message")
}

#[cfg(test)]
mod tests;
