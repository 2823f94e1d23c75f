//! What the benchmarks share: the shipped binaries, one PostgreSQL, and the peers.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use harness::namespaces::printed;
use harness::postgres::Cluster;
use harness::{binaries, require};
use tempfile::TempDir;

use crate::options::Options;

/// The workplace of one run. Dropping it stops PostgreSQL and removes all files.
pub(crate) struct Lab {
    pub(crate) quick: bool,
    /// Whether the run asks for the million leases.
    pub(crate) wants_memory: bool,
    /// The folder of our binaries.
    pub(crate) binaries: PathBuf,
    pub(crate) postgres: Cluster,
    pub(crate) folder: TempDir,
}

/// The folder of the peers' plugins: Debian's.
pub(crate) const PEERS: &str = "/usr/lib/cni";

impl Lab {
    /// Builds the binaries and starts PostgreSQL.
    pub(crate) fn open(options: &Options) -> Result<Self> {
        for (program, package) in [
            ("pgbench", "postgresql-contrib"),
            ("psql", "postgresql-client"),
            ("host-local", "containernetworking-plugins"),
        ] {
            ensure!(
                require::find(program).is_some(),
                "{program} is missing: apt-get install {package}"
            );
        }
        eprintln!("building the binaries as they are shipped");
        let binaries = binaries::shipped()?;
        Ok(Self {
            quick: options.quick,
            wants_memory: options.wants("memory"),
            binaries,
            postgres: Cluster::start()
                .context("no PostgreSQL server binaries, or no user postgres")?,
            folder: TempDir::with_prefix("ipam-bench-")?,
        })
    }

    /// The folder of our binaries, as text.
    pub(crate) fn binaries_path(&self) -> Result<&str> {
        self.binaries.to_str().context("a plain path")
    }

    /// One of two amounts: for a first look, or for the real thing.
    pub(crate) fn amount<T>(&self, quick: T, thorough: T) -> T {
        if self.quick { quick } else { thorough }
    }

    /// The answer of one statement in a database of the lab's PostgreSQL.
    pub(crate) fn ask(&self, database: &str, statement: &str) -> Result<String> {
        ask(&self.postgres.url(database), statement)
    }
}

/// The answer of one statement, through psql(1).
pub(crate) fn ask(url: &str, statement: &str) -> Result<String> {
    let output = Command::new("psql")
        .args(["-XAtq", "-c", statement, url])
        .output()?;
    Ok(printed(output).context("psql")?.trim().to_owned())
}
