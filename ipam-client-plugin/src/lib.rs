//! cluster-ipam: the CNI IPAM plugin that leases addresses from ipam-server.
//!
//! One call, top down: [`plugin`] receives the verb, [`session`] reads the settings ([`config`]) and the node's memory
//! ([`state`]), a file of [`verbs`] does the work through [`client`], [`fault`] says what a failure is in CNI's terms. What
//! cannot be delivered now waits in the [`spool`] for [`replay`] or [`flush`].

pub mod client;
pub mod config;
pub mod fault;
mod files;
pub mod flush;
pub mod granted;
mod hash;
pub mod identity;
pub mod log;
pub mod plugin;
pub mod replay;
pub mod request;
pub mod server;
pub mod session;
pub mod spool;
pub mod state;
pub mod verbs;
