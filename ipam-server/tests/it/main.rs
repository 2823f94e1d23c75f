//! ipam-server as others see it, in one binary: linking one is quicker than linking many.
#![expect(missing_docs, reason = "the names of tests are sentences")]

mod http;
mod store;
