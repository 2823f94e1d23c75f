//! The main CNI plugins on rtnetlink.
//!
//! A plugin (`bridge`, `macvlan`, `routed`) reads its keys, checks everything that can be checked, and then works in
//! steps, each of which notes in [`undo`] how it is taken back. What touches the kernel is in a file per noun: [`link`],
//! [`veth`], [`addr`], [`route`], [`sysctl`], [`nft`], all on the connections of [`netlink`].

pub mod addr;
pub mod announce;
pub mod bridge;
pub mod detach;
pub mod expect;
mod fault;
mod frame;
pub mod garbage;
pub mod ipam;
pub mod keys;
pub mod link;
pub mod mac;
pub mod macvlan;
pub mod masquerade;
pub mod neighbour;
pub mod netlink;
pub mod netns;
pub mod nft;
pub mod owner;
pub mod route;
pub mod routed;
pub mod spoofcheck;
pub mod sysctl;
pub mod undo;
pub mod veth;
