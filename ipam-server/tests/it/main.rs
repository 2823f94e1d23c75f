//! ipam-server as others see it, in one binary: linking one is quicker than linking many.

mod failover;
mod flat;
mod http;
mod model;
mod race;
mod store;
