//! End to end: real binaries, real namespaces, real databases, real runtimes.

mod attachments;
mod cluster;
mod containerd;
mod crowd;
mod example;
mod ipvlan;
mod mix;
mod nodes;
mod outages;
mod podman;
mod pods;
mod reboots;
mod undone;
mod work;
