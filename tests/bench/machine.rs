//! Where and with what the figures were measured.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};

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
    let version = lab.ask("postgres", "show server_version")?;
    let folder = lab.ask("postgres", "show data_directory")?;
    let mut text = format!("PostgreSQL {version} on {}", file_system(&folder)?);
    for setting in settings {
        let value = lab.ask("postgres", &format!("show {setting}"))?;
        text += &format!(", {setting} {value}");
    }
    Ok(text)
}

/// What a flush means depends on it.
fn file_system(folder: &str) -> Result<String> {
    let mounts = fs::read_to_string("/proc/self/mounts")?;
    let mounts = mounts.lines().filter_map(|line| {
        let mut words = line.split(' ').skip(1);
        Some((words.next()?, words.next()?))
    });
    // Of two on one place the later one counts.
    let here = mounts.filter(|(place, _)| Path::new(folder).starts_with(place));
    let (_, kind) =
        (here.max_by_key(|(place, _)| place.len())).context("it is mounted somewhere")?;
    Ok(kind.to_owned())
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
