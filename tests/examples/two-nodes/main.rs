//! A cluster of two nodes on one machine, shown and checked step by step:
//!
//! ```sh
//! cargo run --release --example two-nodes             # bridge: the nodes' uplinks are ports of their bridges
//! cargo run --release --example two-nodes -- routed   # routed: the nodes answer for their containers on the uplink
//! ```
//!
//! Two nodes and a switch are made of namespaces, the service runs in SQLite, `bridge` or `routed` connects containers
//! and `cluster-ipam` gives them their addresses. Every line with a check mark was checked when it was printed; the exit
//! code tells whether all of them held. Nothing is left on the machine, also after Ctrl-C.

mod answers;
mod outage;
mod tour;
mod wiring;

use std::process::ExitCode;

use harness::tour::Example;

fn main() -> ExitCode {
    Example {
        about: "cluster-ipam: a cluster on one machine. Containers on two nodes get addresses from one pool, talk to \
                each other, and give them back. Each ✓ is checked when it is printed.",
        kinds: &["bridge", "routed"],
        programs: &[],
        tour: tour::run,
    }
    .main()
}
