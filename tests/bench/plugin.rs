//! One call of a CNI plugin, from its start to its end.

use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::Value;

/// A plugin with its configuration.
pub(crate) struct Plugin {
    program: PathBuf,
    config: Value,
    cni_path: String,
    /// Where configurations are kept for plugins to read. Files and not pipes, so that nobody has to write while the
    /// clock runs.
    folder: PathBuf,
}

/// What a verb is about.
pub(crate) struct Container<'a> {
    pub(crate) id: &'a str,
    /// The path of its network namespace.
    pub(crate) netns: &'a str,
    /// The result of its ADD, for the verbs after it.
    pub(crate) result: Option<&'a Value>,
}

/// A plugin that was started.
pub(crate) struct Call {
    what: String,
    begin: Instant,
    child: Child,
}

impl Plugin {
    /// The plugin that the configuration's `type` names, in one of the folders of `cni_path`.
    pub(crate) fn new(config: Value, cni_path: &str, folder: &Path) -> Result<Self> {
        let kind = config["type"].as_str().context("a network has a type")?;
        let program = cni_path
            .split(':')
            .map(|part| Path::new(part).join(kind))
            .find(|program| program.is_file())
            .with_context(|| format!("no {kind} in {cni_path}"))?;
        fs::create_dir_all(folder)?;
        Ok(Self {
            program,
            config,
            cni_path: cni_path.to_owned(),
            folder: folder.to_owned(),
        })
    }

    /// Runs a verb, and answers how long the process lived, and its result (null when it printed none).
    pub(crate) fn call(&self, verb: &str, container: &Container<'_>) -> Result<(Duration, Value)> {
        self.start(verb, container)?.finish()
    }

    /// Starts a verb.
    pub(crate) fn start(&self, verb: &str, container: &Container<'_>) -> Result<Call> {
        let mut config = self.config.clone();
        if let Some(result) = container.result {
            config["prevResult"] = result.clone();
        }
        let file = self.folder.join(format!("{}.json", container.id));
        fs::write(&file, config.to_string())?;
        let mut command = Command::new(&self.program);
        command
            .env_clear()
            .env("CNI_COMMAND", verb)
            .env("CNI_CONTAINERID", container.id)
            .env("CNI_NETNS", container.netns)
            .env("CNI_IFNAME", "eth0")
            .env("CNI_PATH", &self.cni_path)
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
            .stdin(File::open(&file)?)
            .stdout(Stdio::piped())
            .stderr(Stdio::null());
        fs::remove_file(&file)?;
        let begin = Instant::now();
        let child = command.spawn()?;
        Ok(Call {
            what: format!("{verb} by {}", self.program.display()),
            begin,
            child,
        })
    }
}

impl Call {
    /// Waits for its end.
    pub(crate) fn finish(mut self) -> Result<(Duration, Value)> {
        let status = self.child.wait()?;
        let took = self.begin.elapsed();
        let mut text = String::new();
        let mut stdout = self.child.stdout.take().context("stdout is a pipe")?;
        stdout.read_to_string(&mut text)?;
        if !status.success() {
            bail!("{}: {status}: {text}", self.what);
        }
        Ok((took, serde_json::from_str(&text).unwrap_or(Value::Null)))
    }
}

/// A container for verbs of an IPAM plugin, which never looks at the namespace.
pub(crate) fn nowhere(id: &str) -> Container<'_> {
    Container {
        id,
        netns: "/proc/self/ns/net",
        result: None,
    }
}

/// The one address in an ADD's result, without its prefix length.
pub(crate) fn address(result: &Value) -> Result<&str> {
    let address = result["ips"][0]["address"].as_str();
    let (address, _) = address
        .and_then(|text| text.split_once('/'))
        .context("an address")?;
    Ok(address)
}
