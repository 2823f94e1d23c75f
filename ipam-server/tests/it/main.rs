//! ipam-server as others see it.

mod store;
