//! What the table's figures look like as other things grow: a picture for README.md, and its numbers.

use std::fs;
use std::io::{self, Write};
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::json;

use crate::concurrent::{self, Percentiles};
use crate::held::Ladder;
use crate::lab::Lab;
use crate::load::{self, Plan};
use crate::pgbench::RowPerCommit;
use crate::service::Service;
use crate::svg::{self, Axis, Diagram, Line};

/// host-local is not asked beyond: each of its ADDs takes about a second there.
const PEER_UNTIL: u64 = 50_000;
const OURS: &str = "#0b6e4f";
const PEER: &str = "#b5482a";

/// Measures, writes the picture, and prints its numbers.
pub(crate) fn run(lab: &Lab, file: &Path) -> Result<()> {
    let held = held(lab)?;
    let clients = clients(lab)?;
    let concurrent = concurrent::measure(lab)?;
    let diagrams = [
        held,
        clients,
        percentiles([concurrent.burst, concurrent.paced]),
    ];
    // Cargo runs a benchmark in the package's folder, which is where the path is meant to begin.
    fs::write(file, svg::draw(&diagrams)).with_context(|| file.display().to_string())?;
    let mut out = io::stdout();
    for diagram in &diagrams {
        writeln!(
            out,
            "{} ({}, {})",
            diagram.title, diagram.x.title, diagram.y.title
        )?;
        for line in &diagram.lines {
            let points = line.points.iter().map(|(x, y)| format!("{x}: {y:.1}"));
            writeln!(
                out,
                "  {:<12}{}",
                line.name,
                points.collect::<Vec<_>>().join("  ")
            )?;
        }
    }
    Ok(())
}

fn held(lab: &Lab) -> Result<Diagram> {
    let rungs: &[u64] = lab.amount(
        &[0, 1_000, 5_000, 20_000],
        &[0, 1_000, 5_000, 20_000, 50_000, 200_000, 1_000_000],
    );
    let mut ladder = Ladder::new(lab)?;
    let [mut ours, mut peer] = [Vec::new(), Vec::new()];
    for held in rungs {
        let rung = ladder.climb(*held, *held <= PEER_UNTIL)?;
        let x = number(*held);
        ours.push((x, rung.ours));
        peer.extend(rung.peer.map(|y| (x, y)));
    }
    ladder.close()?;
    Ok(Diagram {
        title: "One ADD of the IPAM plugin",
        x: Axis {
            title: "leases held",
            ticks: &[0.0, 1e3, 1e4, 1e5, 1e6],
        },
        y: Axis {
            title: "ms",
            ticks: &[1.0, 10.0, 100.0, 1e3],
        },
        lines: vec![
            Line {
                name: "cluster-ipam",
                colour: OURS,
                points: ours,
            },
            Line {
                name: "host-local",
                colour: PEER,
                points: peer,
            },
        ],
    })
}

fn clients(lab: &Lab) -> Result<Diagram> {
    let time = Duration::from_secs(lab.amount(2, 3));
    let service = Service::start(lab)?;
    service.create_pool("hot", "10.0.0.0/8", &json!({}))?;
    let peer = RowPerCommit::prepare(lab)?;
    let [mut ours, mut theirs] = [Vec::new(), Vec::new()];
    for clients in [1_u16, 4, 16, 64, 256] {
        eprintln!("leases per second by {clients} clients");
        let claims = load::claims(service.address, "hot", clients.into(), Plan::Time(time))?;
        ours.push((clients.into(), claims.per_second()));
        theirs.push((clients.into(), peer.run(clients.into(), time)?));
    }
    service.check_books()?;
    Ok(Diagram {
        title: "Leases per second, fsync on",
        x: Axis {
            title: "clients",
            ticks: &[1.0, 4.0, 16.0, 64.0, 256.0],
        },
        y: Axis {
            title: "per second",
            ticks: &[100.0, 1e3, 1e4, 1e5],
        },
        lines: vec![
            Line {
                name: "cluster-ipam",
                colour: OURS,
                points: ours,
            },
            Line {
                name: "pgbench",
                colour: PEER,
                points: theirs,
            },
        ],
    })
}

fn percentiles([burst, paced]: [Percentiles; 2]) -> Diagram {
    let points = |it: Percentiles| vec![(50.0, it.p50), (95.0, it.p95), (99.0, it.p99)];
    Diagram {
        title: "A claim among 1,500 clients'",
        x: Axis {
            title: "percentile",
            ticks: &[50.0, 95.0, 99.0],
        },
        y: Axis {
            title: "ms",
            ticks: &[1.0, 10.0, 100.0, 1e3],
        },
        lines: vec![
            Line {
                name: "at once",
                colour: OURS,
                points: points(burst),
            },
            Line {
                name: "one a second each",
                colour: "#3b6fb6",
                points: points(paced),
            },
            Line {
                name: "goal",
                colour: "#999",
                points: vec![(50.0, concurrent::BAR), (99.0, concurrent::BAR)],
            },
        ],
    }
}

fn number(count: u64) -> f64 {
    u32::try_from(count).map_or(f64::INFINITY, f64::from)
}
