//! The peer of a claim: pgbench(1) inserting one row per commit.

use std::fs;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};
use harness::namespaces::printed;

use crate::lab::{self, Lab};

/// A database with one plain table, and the statement that adds a row to it.
pub(crate) struct RowPerCommit {
    url: String,
    script: std::path::PathBuf,
}

impl RowPerCommit {
    pub(crate) fn prepare(lab: &Lab) -> Result<Self> {
        let url = lab.postgres.database();
        let table = "create table held (id bigint generated always as identity primary key, address inet not null,
            container text not null, since timestamptz not null default now())";
        lab::ask(&url, table)?;
        let script = lab.folder.path().join("row-per-commit.sql");
        let insert = "\\set n random(0, 16777215)\n\
            insert into held (address, container) values ('10.0.0.0'::inet + :n, 'container');\n";
        fs::write(&script, insert)?;
        Ok(Self { url, script })
    }

    /// Rows per second, by `clients` for `time`, with prepared statements.
    pub(crate) fn run(&self, clients: usize, time: Duration) -> Result<f64> {
        let output = Command::new("pgbench")
            .args(["--no-vacuum", "--protocol=prepared"])
            .args(["--client", &clients.to_string()])
            .args(["--jobs", &clients.min(2).to_string()])
            .args(["--time", &time.as_secs().max(1).to_string()])
            .arg("--file")
            .arg(&self.script)
            .arg(&self.url)
            .output()?;
        let text = printed(output).context("pgbench")?;
        let line = text.lines().find_map(|line| line.strip_prefix("tps = "));
        let number = line.and_then(|line| line.split(' ').next());
        Ok(number
            .with_context(|| format!("pgbench said {text}"))?
            .parse()?)
    }
}
