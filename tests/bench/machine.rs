//! Where and with what the figures were measured.

use std::fs;
use std::process::Command;

use anyhow::Result;

use crate::lab::Lab;

/// What stands above the table.
pub(crate) fn describe(lab: &Lab) -> Result<Vec<(&'static str, String)>> {
    let cpuinfo = fs::read_to_string("/proc/cpuinfo")?;
    let field = |key: &str| {
        let line = cpuinfo.lines().find(|line| line.starts_with(key));
        line.and_then(|line| line.split(": ").nth(1))
    };
    let cores = std::thread::available_parallelism()?;
    Ok(vec![
        (
            "version",
            concat!("cluster-ipam ", env!("CARGO_PKG_VERSION")).to_owned(),
        ),
        (
            "processor",
            format!(
                "{}, {cores} cores",
                field("model name").unwrap_or("unknown")
            ),
        ),
        ("memory", memory()?),
        (
            "kernel",
            fs::read_to_string("/proc/sys/kernel/osrelease")?
                .trim()
                .to_owned(),
        ),
        ("database", database(lab)?),
        (
            "peers",
            format!("containernetworking-plugins {}", plugins()),
        ),
    ])
}

fn memory() -> Result<String> {
    let text = fs::read_to_string("/proc/meminfo")?;
    let total = text
        .lines()
        .next()
        .and_then(|line| line.split_whitespace().nth(1));
    let total: u64 = total.and_then(|kib| kib.parse().ok()).unwrap_or_default();
    Ok(format!("{} GiB", (total + (1 << 19)) >> 20))
}

fn database(lab: &Lab) -> Result<String> {
    let settings = [
        "fsync",
        "synchronous_commit",
        "wal_sync_method",
        "shared_buffers",
        "max_connections",
    ];
    let mut text = format!("PostgreSQL {}", lab.ask("postgres", "show server_version")?);
    for setting in settings {
        let value = lab.ask("postgres", &format!("show {setting}"))?;
        text += &format!(", {setting} {value}");
    }
    Ok(text)
}

/// The version of Debian's package; upstream's binaries do not know theirs.
fn plugins() -> String {
    let asked = Command::new("dpkg-query")
        .args(["-W", "-f", "${Version}", "containernetworking-plugins"])
        .output();
    let version = asked.map(|output| String::from_utf8_lossy(&output.stdout).into_owned());
    version
        .ok()
        .filter(|text| !text.is_empty())
        .unwrap_or_else(|| "of unknown version".to_owned())
}
