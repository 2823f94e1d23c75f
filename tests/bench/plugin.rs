//! One call of a CNI plugin, from its start to its end.

use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::Value;

/// A plugin with its configuration.
pub(crate) struct Plugin {
    program: PathBuf,
    config: PathBuf,
    cni_path: String,
}

impl Plugin {
    /// A plugin, whose configuration is kept as `NAME.json` in `folder`.
    pub(crate) fn new(
        program: PathBuf,
        folder: &Path,
        name: &str,
        config: &Value,
        cni_path: &str,
    ) -> Result<Self> {
        let file = folder.join(format!("{name}.json"));
        fs::write(&file, config.to_string())?;
        Ok(Self {
            program,
            config: file,
            cni_path: cni_path.to_owned(),
        })
    }

    /// Runs a verb, and answers how long the process lived, and its result.
    pub(crate) fn call(
        &self,
        verb: &str,
        container: &str,
        netns: &str,
    ) -> Result<(Duration, Value)> {
        // A file and not a pipe, so that nobody has to write while the clock runs.
        let mut command = Command::new(&self.program);
        command
            .env_clear()
            .env("CNI_COMMAND", verb)
            .env("CNI_CONTAINERID", container)
            .env("CNI_NETNS", netns)
            .env("CNI_IFNAME", "eth0")
            .env("CNI_PATH", &self.cni_path)
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
            .stdin(File::open(&self.config)?)
            .stdout(Stdio::piped())
            .stderr(Stdio::null());
        let begin = Instant::now();
        let mut child = command.spawn()?;
        let status = child.wait()?;
        let took = begin.elapsed();
        let mut text = String::new();
        let mut stdout = child.stdout.take().context("stdout is a pipe")?;
        stdout.read_to_string(&mut text)?;
        if !status.success() {
            bail!("{verb} by {}: {status}: {text}", self.program.display());
        }
        Ok((took, serde_json::from_str(&text).unwrap_or(Value::Null)))
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
