//! What the other tests stand on: namespaces that look like machines and leave nothing behind.

use std::fs;
use std::path::Path;
use std::process::Stdio;
use std::thread;
use std::time::{Duration, Instant};

use harness::namespaces::Namespace;
use harness::require;

use crate::pods::ready;

#[test]
fn a_node_has_a_name_an_id_and_folders_of_its_own() {
    if !require::namespaces() {
        return;
    }
    let one = Namespace::new("one").expect("a namespace");
    let two = Namespace::new("two").expect("a namespace");

    assert_eq!(one.run("hostname").expect("runs"), "one\n");
    assert_eq!(two.run("cat /etc/hostname").expect("runs"), "two\n");
    let id = |node: &Namespace| node.run("cat /etc/machine-id").expect("runs");
    assert_ne!(id(&one), id(&two));
    one.run("mkdir /etc/cni/net.d /var/lib/cni/results")
        .expect("runs");
    assert_eq!(
        two.run("ls /etc/cni /var/lib/cni").expect("runs"),
        "/etc/cni:\n\n/var/lib/cni:\n"
    );
    // The rest of the machine is still there.
    one.run("test -e /etc/passwd")
        .expect("the machine's own files are visible");
}

#[test]
fn cables_connect_nodes_and_containers_are_networks_of_their_own() {
    if !ready() {
        return;
    }
    let one = Namespace::new("one").expect("a namespace");
    let two = Namespace::new("two").expect("a namespace");
    one.connect("eth0", &two, "eth0").expect("a cable");
    one.run("ip addr add 10.9.0.1/24 dev eth0")
        .expect("an address");
    two.run("ip addr add 10.9.0.2/24 dev eth0")
        .expect("an address");
    one.run("busybox ping -c 1 -W 5 10.9.0.2")
        .expect("two answers one");

    let netns = one.add_container("web").expect("a container");
    one.run(&format!("test -e {netns}"))
        .expect("its path is there");
    assert!(!Path::new(&netns).exists(), "nothing shows outside");
    one.run_in("web", "ip link show eth0")
        .expect_err("the node's uplink is not the container's");
    one.remove_container("web").expect("removed");
    one.run(&format!("test -e {netns}"))
        .expect_err("it is gone");
}

#[test]
fn nothing_outlives_a_node() {
    if !require::namespaces() {
        return;
    }
    let node = Namespace::new("one").expect("a namespace");
    node.add_container("web").expect("a container");
    let mut sleeps = [
        node.command("sleep")
            .arg("600")
            .stdout(Stdio::null())
            .spawn()
            .expect("starts"),
        node.command_in("web", "sleep")
            .arg("600")
            .spawn()
            .expect("starts"),
    ];
    let folder = node.folder().to_path_buf();
    // nsenter becomes a process of the node some time after its start.
    let end = Instant::now() + Duration::from_secs(20);
    while node.processes().expect("listed").len() < 2 {
        assert!(Instant::now() < end, "the processes do not enter the node");
        thread::sleep(Duration::from_millis(5));
    }
    drop(node);
    for sleep in &mut sleeps {
        assert!(!sleep.wait().expect("ended").success());
    }
    assert!(!folder.exists());
    let mounts = fs::read_to_string("/proc/self/mounts").expect("mounts");
    assert!(!mounts.contains(&folder.display().to_string()));
}
