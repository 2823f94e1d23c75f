//! ipam-server as others see it: the store on both databases.
#![expect(missing_docs, reason = "the names of tests are sentences")]

mod flat;
mod model;
mod race;
mod store;
