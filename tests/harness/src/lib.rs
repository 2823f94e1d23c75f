//! What tests and examples share: databases, servers, namespaces, binaries.

pub mod binaries;
pub mod namespaces;
pub mod postgres;
pub mod require;
pub mod rest;
pub mod runtime;
pub mod server;
pub mod tour;
pub mod uml;
mod unshared;
