//! Leases per second: a hot pool on PostgreSQL against one row per commit on the same PostgreSQL.

use std::time::Duration;

use anyhow::{Context, Result};

use crate::cpu;
use crate::lab::Lab;
use crate::load::{self, Plan};
use crate::pgbench::RowPerCommit;
use crate::row::{Goal, Peer, Row};
use crate::samples::Samples;
use crate::service::Service;

pub(crate) const ROWS: &[&str] = &["leases", "database-cpu"];

const CLIENTS: usize = 64;

pub(crate) fn run(lab: &Lab) -> Result<Vec<Row>> {
    let time = Duration::from_secs(lab.amount(2, 5));
    let service = Service::start(lab)?;
    service.create_pool("hot", "10.0.0.0/8", &serde_json::json!({}))?;
    let in_file = Service::start_on_file(lab)?;
    in_file.create_pool("hot", "10.0.0.0/8", &serde_json::json!({}))?;
    let peer = RowPerCommit::prepare(lab)?;
    let postmaster = postmaster(lab)?;
    let [mut ours, mut theirs, mut p99, mut files] = [const { Samples::EMPTY }; 4];
    let [mut database, mut server] = [const { Samples::EMPTY }; 2];
    let pid = service.server.pid().context("the server runs")?;
    let rounds = lab.amount(3, 5);
    for round in 1..=rounds {
        eprintln!("leases per second, round {round} of {rounds}");
        let before = (cpu::of_family(postmaster)?, cpu::of(pid)?);
        let claims = load::claims(service.address, "hot", CLIENTS, Plan::Time(time))?;
        ours.push(claims.per_second());
        let per_lease = |used: Duration| used.as_secs_f64() * 1e6 / claims.granted_f64();
        database.push(per_lease(cpu::of_family(postmaster)? - before.0));
        server.push(per_lease(cpu::of(pid)? - before.1));
        p99.push(claims.latencies.percentile(0.99));
        theirs.push(peer.run(CLIENTS, time)?);
        let claims = load::claims(in_file.address, "hot", CLIENTS, Plan::Time(time))?;
        files.push(claims.per_second());
    }
    service.check_books()?;
    in_file.stop_and_check_books()?;
    Ok(vec![
        Row {
            id: "leases",
            what: format!("leases over REST, {CLIENTS} clients"),
            unit: "/s",
            ours: ours.median(),
            peer: Some(Peer {
                name: "pgbench",
                value: theirs.median(),
            }),
            goal: Goal::TimesOrMore(1.5),
            note: format!(
                "p99 of a claim {:.1} ms; {:.0} /s out of an SQLite file",
                p99.median(),
                files.median()
            ),
        },
        Row {
            id: "database-cpu",
            what: "PostgreSQL's processor time per lease".to_owned(),
            unit: "µs",
            ours: database.median(),
            peer: None,
            goal: Goal::OrLess(25.0),
            note: format!("the server's own {:.1} µs", server.median()),
        },
    ])
}

/// The process id of the lab's PostgreSQL.
pub(crate) fn postmaster(lab: &Lab) -> Result<u32> {
    let file = lab.postgres.log().with_file_name("data/postmaster.pid");
    let text = std::fs::read_to_string(file)?;
    Ok(text
        .lines()
        .next()
        .context("an empty postmaster.pid")?
        .parse()?)
}
