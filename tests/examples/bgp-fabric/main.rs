//! A fabric of two nodes and a router on one machine, in which BGP finds the containers, shown and checked step by step:
//!
//! ```sh
//! cargo run --release --example bgp-fabric    # wants BIRD 2 (Debian: bird2)
//! ```
//!
//! The nodes share no wire. `routed` gives each container a route on its node, marked with a protocol number; BIRD there
//! exports what is so marked, and the router's BIRD hands it on. Nobody else configures a route. Every line with a check
//! mark was checked when it was printed; the exit code tells whether all of them held. Nothing is left on the machine,
//! also after Ctrl-C.

mod bird;
mod routes;
mod tour;
mod wiring;

use std::process::ExitCode;

use harness::tour::Example;

fn main() -> ExitCode {
    Example {
        about: "cluster-ipam: a routed fabric on one machine. Containers on two nodes get addresses from one pool, and \
                BGP tells the network where each of them is. Each ✓ is checked when it is printed.",
        kinds: &[],
        programs: &[("bird", "bird2"), ("birdc", "bird2")],
        tour: tour::run,
    }
    .main()
}
