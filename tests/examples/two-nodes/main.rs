//! A cluster of two nodes on one machine, shown and checked step by step:
//!
//! ```sh
//! cargo run --release --example two-nodes
//! ```
//!
//! Two nodes and a switch are made of namespaces, the service runs in SQLite, Debian's bridge plugin connects containers
//! and `cluster-ipam` gives them their addresses. Every line with a check mark was checked when it was printed; the exit
//! code tells whether all of them held. Nothing is left on the machine, also after Ctrl-C.

mod outage;
mod page;
mod pod;
mod sandbox;
mod service;
mod tour;
mod web;
mod wiring;

use std::env;
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Result, bail};

fn main() -> ExitCode {
    let args: Vec<String> = env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let outcome = match args[..] {
        [] => sandbox::run(),
        // The rest is this program starting itself inside the sandbox, and inside its containers.
        ["tour", binaries] => tour::run(Path::new(binaries)).map(|()| ExitCode::SUCCESS),
        ["serve", name] => web::serve(name).map(|()| ExitCode::SUCCESS),
        ["fetch", address] => web::fetch(address).map(|()| ExitCode::SUCCESS),
        _ => refuse(&args),
    };
    outcome.unwrap_or_else(|error| {
        eprintln!("\n\x20 not as promised: {error:#}");
        ExitCode::FAILURE
    })
}

fn refuse(args: &[&str]) -> Result<ExitCode> {
    bail!("the example takes no arguments, and was given {args:?}")
}
