//! The real `cluster-ipam` binary: against the real server, and against servers that misbehave on purpose.
#![expect(clippy::unwrap_used, reason = "a test may fail by panicking")]

mod bad_input;
mod faults;
mod life;
mod node;
mod people;
mod pinning;
mod responder;
mod services;
mod spool;
mod status;
mod tls;
mod tokens;
mod versions;
