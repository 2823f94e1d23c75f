//! `cargo bench`: every row of the speed table, ours beside the peer, alternating in the same run.
//!
//! `cargo bench -- --help` tells the options. Everything runs on this machine alone: PostgreSQL, the server, the nodes
//! (as namespaces) and the load are started here and gone at the end. After each benchmark the accounting is checked.

mod bridge;
mod concurrent;
mod cpu;
mod curves;
mod drain;
mod held;
mod host_local;
mod lab;
mod load;
mod machine;
mod node;
mod options;
mod pgbench;
mod plugin;
mod report;
mod returned;
mod row;
mod samples;
mod servers;
mod service;
mod soak;
mod svg;
mod throughput;

use std::io::Write;
use std::process::ExitCode;

use anyhow::Result;

use lab::Lab;
use options::Options;
use row::Row;

/// A benchmark: the rows that it measures, and how.
struct Benchmark {
    /// It takes many minutes, and is run only when it is asked for.
    is_long: bool,
    rows: &'static [&'static str],
    run: fn(&Lab) -> Result<Vec<Row>>,
}

const BENCHMARKS: [Benchmark; 8] = [
    Benchmark {
        is_long: false,
        rows: throughput::ROWS,
        run: throughput::run,
    },
    Benchmark {
        is_long: false,
        rows: concurrent::ROWS,
        run: concurrent::run,
    },
    Benchmark {
        is_long: false,
        rows: held::ROWS,
        run: held::run,
    },
    Benchmark {
        is_long: false,
        rows: bridge::ROWS,
        run: bridge::run,
    },
    Benchmark {
        is_long: false,
        rows: drain::ROWS,
        run: drain::run,
    },
    Benchmark {
        is_long: true,
        rows: servers::ROWS,
        run: servers::run,
    },
    Benchmark {
        is_long: true,
        rows: returned::ROWS,
        run: returned::run,
    },
    Benchmark {
        is_long: true,
        rows: soak::ROWS,
        run: soak::run,
    },
];

fn main() -> Result<ExitCode> {
    if let Some(ended) = node::run_if_asked()? {
        return Ok(ended);
    }
    let options = match Options::read(std::env::args().skip(1)) {
        Ok(options) => options,
        Err(said) => {
            writeln!(std::io::stdout(), "{said}")?;
            return Ok(ExitCode::from(2));
        }
    };
    let lab = Lab::open(&options)?;
    if let Some(file) = &options.curves {
        curves::run(&lab, file)?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut rows = Vec::new();
    for benchmark in &BENCHMARKS {
        let is_asked_for = !benchmark.is_long || options.long || !options.only.is_empty();
        if is_asked_for && benchmark.rows.iter().any(|row| options.wants(row)) {
            let measured = (benchmark.run)(&lab)?;
            rows.extend(measured.into_iter().filter(|row| options.wants(row.id)));
        }
    }
    report::print(options.form, &machine::describe(&lab)?, &rows)?;
    Ok(ExitCode::SUCCESS)
}
