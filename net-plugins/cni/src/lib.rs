//! The CNI protocol, specification 0.1.0 to 1.1.0, from the plugin's side.
//!
//! A program implements [`plugin::Plugin`] and hands it to [`plugin::main`]; everything that the specification asks of
//! every plugin alike (environment, stdin, version negotiation, result formats, error objects, delegation) is here, so
//! that a plugin holds only its own work. Synchronous on purpose: a plugin lives for milliseconds.

pub mod args;
pub mod conf;
pub mod delegate;
pub mod error;
pub mod invocation;
pub mod json;
pub mod plugin;
pub mod result;
pub mod version;

pub use conf::{NetConf, ValidAttachment};
pub use error::Error;
pub use invocation::{Command, Invocation};
pub use plugin::Plugin;
pub use result::{CniResult, Dns, Interface, Ip, Route};
pub use version::Version;
