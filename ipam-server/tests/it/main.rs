//! ipam-server as others see it.

mod model;
mod race;
mod store;
