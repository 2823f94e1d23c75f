//! The service over HTTP: status and body of every route and every error code, on real servers over real databases.

mod audit;
mod auth;
mod bad_claims;
mod bad_input;
mod check;
mod crowd;
mod gather;
mod health;
mod history;
mod leases;
mod nodes;
mod pools;
mod process;
mod program;
mod reboots;
mod release;
mod rest;
mod server;
mod settings;
mod sockets;
mod vrfs;
mod writer;

use serde_json::{Value, json};

/// The attachment of a container on a node.
fn attachment(node: &str, container: &str) -> Value {
    json!({ "node": node, "network": "mynet", "container_id": container, "ifname": "eth0" })
}

/// A claim for one address of one pool.
fn claim(container: &str, pool: &str) -> Value {
    json!({ "attachment": attachment("node-1", container), "entries": [{ "pools": [pool] }] })
}

/// A release of what [`claim`] claimed.
fn release(container: &str) -> Value {
    json!({ "attachments": [attachment("node-1", container)] })
}

/// A pool of a subnet.
fn pool(name: &str, subnet: &str) -> Value {
    json!({ "name": name, "subnet": subnet })
}

/// Changes one part of a body.
fn with(mut body: Value, pointer: &str, value: Value) -> Value {
    let (parent, key) = pointer.rsplit_once('/').expect("a pointer");
    let parent = body.pointer_mut(parent).expect("the parent is there");
    match (parent.as_array_mut(), key.parse::<usize>()) {
        (Some(list), Ok(index)) => list[index] = value,
        _ => parent[key] = value,
    }
    body
}
