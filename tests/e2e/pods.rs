//! Containers on two nodes, through a real main plugin that delegates to `cluster-ipam`.

use harness::runtime::Runtime;
use harness::{binaries, require};
use serde_json::json;

use crate::cluster::{Cluster, addresses, bridge, cni_path, create_pool, runtimes, runtimes_of};

#[test]
fn containers_on_two_nodes_draw_from_one_pool_and_reach_each_other() {
    if !ready() {
        return;
    }
    let cluster = Cluster::new();
    let [a, b] = runtimes(&cluster.nodes, &cluster.ipam(&["v4", "v6"]));
    come_and_go(&cluster, a, b);
}

#[test]
fn they_do_so_with_the_bridge_plugin_of_this_workspace() {
    if !ready() {
        return;
    }
    let cluster = Cluster::new();
    let network = bridge("1.1.0", &cluster.ipam(&["v4", "v6"]));
    let ours = binaries::folder().expect("the binaries build");
    let [mut a, mut b] = runtimes_of(&cluster.nodes, &network, &ours.display().to_string());
    a.status().expect("STATUS");
    for runtime in [&mut a, &mut b] {
        runtime.start("lost").expect("ADD");
    }
    b.gc(&[]).expect("GC");
    let holders: Vec<_> = cluster.leases().into_values().collect();
    assert_eq!(holders, ["node-a/lost"; 2], "bridge hands GC on");
    for runtime in [&mut a, &mut b] {
        runtime.stop("lost").expect("DEL");
    }
    come_and_go(&cluster, a, b);
}

/// A container on each node gets an address of each family, reaches the other, and gives back what it got.
fn come_and_go(cluster: &Cluster, mut a: Runtime<'_>, mut b: Runtime<'_>) {
    let one = addresses(&a.start("one").expect("ADD"));
    let two = addresses(&b.start("two").expect("ADD"));
    assert_eq!((one.len(), two.len()), (2, 2), "one address of each family");
    let leases = cluster.leases();
    assert_eq!(leases.len(), 4, "no address twice: {leases:?}");
    for (address, holder) in [(one[0], "node-a/one"), (two[1], "node-b/two")] {
        assert_eq!(leases[&address], holder);
    }
    for address in &two {
        let ping = format!("busybox ping -c 1 -W 5 {address}");
        a.node().run_in("one", &ping).expect("two answers");
    }
    a.check("one").expect("CHECK");
    b.check("two").expect("CHECK");

    a.stop("one").expect("DEL");
    assert_eq!(cluster.leases().len(), 2, "one's are released, two's not");
    b.stop("two").expect("DEL");
    cluster.assert_empty();
}

#[test]
fn the_same_container_id_on_two_nodes_is_two_attachments() {
    if !ready() {
        return;
    }
    let cluster = Cluster::new();
    let [mut a, mut b] = runtimes(&cluster.nodes, &cluster.ipam(&["v4"]));

    let on_a = addresses(&a.start("twin").expect("ADD"));
    let on_b = addresses(&b.start("twin").expect("ADD"));
    assert_ne!(on_a, on_b);
    b.stop("twin").expect("DEL");
    assert_eq!(
        cluster.leases().into_values().collect::<Vec<_>>(),
        ["node-a/twin"]
    );
    a.check("twin").expect("the other node's twin is untouched");
    a.stop("twin").expect("DEL");
    cluster.assert_empty();
}

#[test]
fn an_exhausted_pool_fails_the_add_and_leaves_nothing_behind() {
    if !ready() {
        return;
    }
    let cluster = Cluster::new();
    let tight = json!({
        "name": "tight", "subnet": "10.2.0.0/24",
        "ranges": [{ "first": "10.2.0.7", "last": "10.2.0.7" }]
    });
    create_pool(cluster.server.rest(), &tight);
    let [mut a, mut b] = runtimes(&cluster.nodes, &cluster.ipam(&["v6", "tight"]));

    a.start("one").expect("ADD");
    let error = format!("{:#}", b.start("two").expect_err("no address is left"));
    assert!(
        error.contains("tight") && error.contains("(code 100)"),
        "{error}"
    );
    let leases = cluster.leases();
    assert_eq!(
        leases.len(),
        2,
        "no IPv6 address is held for two: {leases:?}"
    );
    a.stop("one").expect("DEL");
    cluster.assert_empty();
}

#[test]
fn gc_on_one_node_frees_what_is_not_listed_there_and_nothing_elsewhere() {
    if !ready() {
        return;
    }
    let cluster = Cluster::new();
    // Debian's bridge knows no GC, so the IPAM plugin is called as a main plugin that knows it would.
    let network = json!({
        "cniVersion": "1.1.0", "name": "pods", "type": "cluster-ipam", "ipam": cluster.ipam(&["v4"])
    });
    let [mut a, mut b] = runtimes_of(&cluster.nodes, &network, &cni_path());
    for container in ["kept", "lost"] {
        a.start(container).expect("ADD");
        b.start(container).expect("ADD");
    }

    a.status().expect("STATUS");
    a.gc(&["kept"]).expect("GC");
    let mut holders: Vec<_> = cluster.leases().into_values().collect();
    holders.sort();
    assert_eq!(holders, ["node-a/kept", "node-b/kept", "node-b/lost"]);

    for runtime in [&mut a, &mut b] {
        for container in ["kept", "lost"] {
            runtime.stop(container).expect("DEL, also of what GC freed");
        }
    }
    cluster.assert_empty();
}

/// Whether the machine has what these tests need.
pub(crate) fn ready() -> bool {
    require::namespaces()
        && require::program("bridge").is_some()
        && require::program("busybox").is_some()
}
