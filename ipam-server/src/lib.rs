//! ipam-server: leases IP addresses to containers on every node of a cluster, out of SQL.
//!
//! Reading order: `http` (the route table) → `http/leases` → `allocator` (gathers concurrent claims) → `store`.

pub mod error;
mod pool;
pub mod store;

pub use error::{Error, Result};
