//! Counted work: what a plugin's call costs in instructions, system calls and netlink messages. Unlike times, these do not
//! depend on the machine's mood, so that a test can hold them.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use harness::namespaces::Namespace;
use harness::require;
use harness::runtime::Runtime;
use harness::server::Server;
use serde_json::json;

use crate::cluster::{bridge, create_pool, our_cni_path};

/// Instructions of one ADD of the IPAM plugin's debug build: 2.74 million when this was written, and a quarter more.
const IPAM_ADD_INSTRUCTIONS: u64 = 3_400_000;
/// Messages that bridge sends over netlink for an ADD on a bridge that is there, with `isGateway` and `ipMasq`.
const BRIDGE_ADD_MESSAGES: u64 = 14;
/// Messages for its DEL.
const BRIDGE_DEL_MESSAGES: u64 = 15;
/// All system calls of either, of the debug build: 500 when this was written.
const BRIDGE_CALLS: u64 = 560;

#[test]
fn an_add_of_the_ipam_plugin_takes_a_bounded_number_of_instructions() {
    if !require::namespaces() || require::program("valgrind").is_none() {
        return;
    }
    let scene = Scene::new("cluster-ipam");
    let count = scene.file("instructions");
    let cni_path = scene.wrap(&format!(
        "valgrind --tool=callgrind --callgrind-out-file=/dev/null --log-file={count}"
    ));
    let network = json!({
        "cniVersion": "1.0.0", "name": "pods", "type": "cluster-ipam", "ipam": scene.ipam()
    });
    let mut runtime = Runtime::new(&scene.node, network, &cni_path);
    // The first call on a node also writes down who the node is.
    runtime.start("first").expect("ADD");
    runtime.start("second").expect("ADD");
    let log = fs::read_to_string(&count).expect("valgrind's log");
    let collected = log.lines().find_map(|line| line.split_once("Collected : "));
    let instructions: u64 = (collected.expect("a count").1.trim().parse()).expect("a number");
    eprintln!("ADD of cluster-ipam: {instructions} instructions");
    assert!(instructions < IPAM_ADD_INSTRUCTIONS, "{instructions}");
    assert!(instructions > IPAM_ADD_INSTRUCTIONS / 10, "counted: {log}");
    scene.end(runtime, &["first", "second"]);
}

#[test]
fn bridge_asks_the_kernel_a_bounded_number_of_times() {
    if !require::namespaces() || require::program("strace").is_none() {
        return;
    }
    let scene = Scene::new("bridge");
    let count = scene.file("calls");
    // Only bridge itself and its threads are counted, but not what it starts: that has a file of its own.
    let cni_path = scene.wrap(&format!("strace -ff -qq -o {count}"));
    let mut network = bridge("1.0.0", &scene.ipam());
    network["isGateway"] = json!(true);
    network["ipMasq"] = json!(true);
    let mut runtime = Runtime::new(&scene.node, network, &cni_path);
    runtime.start("first").expect("ADD");

    scene.forget_calls();
    runtime.start("second").expect("ADD");
    let add = scene.calls();
    scene.forget_calls();
    runtime.verb("DEL", "second").expect("DEL");
    let del = scene.calls();
    eprintln!("ADD of bridge: {add:?}; DEL: {del:?}");
    assert!((5..=BRIDGE_ADD_MESSAGES).contains(&add.messages), "{add:?}");
    assert!((4..=BRIDGE_DEL_MESSAGES).contains(&del.messages), "{del:?}");
    assert!(add.all.max(del.all) <= BRIDGE_CALLS, "{add:?}, {del:?}");
    scene.end(runtime, &["first", "second"]);
}

/// A server, a node, and a folder with a plugin whose work is counted.
struct Scene {
    server: Server,
    node: Namespace,
    plugin: &'static str,
}

/// What a plugin asked of the kernel.
#[derive(Debug, Default)]
struct Calls {
    all: u64,
    /// Sent over netlink.
    messages: u64,
}

impl Scene {
    fn new(plugin: &'static str) -> Self {
        let server = Server::sqlite().expect("the server starts");
        create_pool(
            server.rest(),
            &json!({ "name": "v4", "subnet": "10.1.0.0/24" }),
        );
        let node = Namespace::new("counted").expect("a namespace");
        fs::create_dir(node.folder().join("calls")).expect("a folder");
        fs::create_dir(node.folder().join("plugins")).expect("a folder");
        Self {
            server,
            node,
            plugin,
        }
    }

    fn ipam(&self) -> serde_json::Value {
        json!({ "type": "cluster-ipam", "server": self.server.socket_url(), "pools": ["v4"] })
    }

    fn file(&self, name: &str) -> String {
        self.node
            .folder()
            .join("calls")
            .join(name)
            .display()
            .to_string()
    }

    /// Puts the plugin behind a program that counts, and answers where plugins are looked for.
    fn wrap(&self, counter: &str) -> String {
        let program = harness::binaries::path(self.plugin);
        let folder = self.node.folder().join("plugins");
        let wrapper = folder.join(self.plugin);
        let text = format!("#!/bin/sh\nexec {counter} {}\n", program.display());
        fs::write(&wrapper, text).expect("a wrapper");
        fs::set_permissions(&wrapper, fs::Permissions::from_mode(0o755)).expect("executable");
        format!("{}:{}", folder.display(), our_cni_path())
    }

    fn forget_calls(&self) {
        for file in self.traces() {
            fs::remove_file(file).expect("a trace");
        }
    }

    fn traces(&self) -> Vec<std::path::PathBuf> {
        let entries = fs::read_dir(self.node.folder().join("calls")).expect("a folder");
        entries
            .map(|entry| entry.expect("an entry").path())
            .collect()
    }

    /// Counts in the traces of the plugin's own threads.
    fn calls(&self) -> Calls {
        let mut calls = Calls::default();
        for file in self.traces() {
            count(&file, &mut calls);
        }
        calls
    }

    fn end(&self, mut runtime: Runtime<'_>, containers: &[&str]) {
        for container in containers {
            runtime.stop(container).expect("DEL");
        }
        drop(runtime);
    }
}

/// Adds what one thread did; nothing when it became another program.
fn count(file: &Path, calls: &mut Calls) {
    let text = fs::read_to_string(file).expect("a trace");
    let became = text
        .lines()
        .find(|line| line.starts_with("execve(") && line.ends_with("= 0"));
    if became.is_some_and(|line| line.contains("cluster-ipam")) {
        return;
    }
    calls.all += text.lines().count() as u64;
    let sent = |line: &&str| line.starts_with("sendto(") || line.starts_with("sendmsg(");
    calls.messages += text
        .lines()
        .filter(sent)
        .filter(|line| line.contains("nlmsg_"))
        .count() as u64;
}
