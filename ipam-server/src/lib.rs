//! ipam-server: leases IP addresses to containers on every node of a cluster, out of SQL.
//!
//! Reading order: `http` (the route table) → `http/leases` → `allocator` (gathers concurrent claims) → `store`.

mod allocator;
pub mod config;
pub mod error;
mod gather;
pub mod http;
pub mod listen;
mod pool;
mod serve;
pub mod signals;
pub mod store;
pub mod tokens;

pub use error::{Error, Result, causes};
pub use serve::{Settings, serve};
