//! The plugins' programs in namespaces of the tests' own, with upstream's IPAM plugins.
#![expect(clippy::unwrap_used, reason = "a test may fail by panicking")]

mod bad_input;
mod bad_ipam;
mod bridge_gateway;
mod bridge_keys;
mod bridge_masquerade;
mod bridge_verbs;
mod call;
mod chained;
mod checks;
mod concurrency;
mod dhcp;
mod failure;
mod families;
mod handed_over;
mod killed;
mod macvlan;
mod order;
mod rootless;
mod routed;
mod routed_check;
mod routed_uplink;
mod settling;
mod swapped;
mod tried_again;
mod versions;
mod vlans;
mod world;
