//! Containers on two nodes, through a real main plugin that delegates to `cluster-ipam`.

use harness::require;
use harness::runtime::Runtime;
use serde_json::json;

use crate::cluster::{Cluster, addresses, cni_path, create_pool, runtimes};

#[test]
fn containers_on_two_nodes_draw_from_one_pool_and_reach_each_other() {
    if !ready() {
        return;
    }
    let cluster = Cluster::new();
    let [mut a, mut b] = runtimes(&cluster.nodes, &cluster.ipam(&["v4", "v6"]));

    let one = addresses(&a.start("one").expect("ADD"));
    let two = addresses(&b.start("two").expect("ADD"));
    assert_eq!((one.len(), two.len()), (2, 2), "one address of each family");
    let leases = cluster.leases();
    assert_eq!(leases.len(), 4, "no address twice: {leases:?}");
    for (address, holder) in [(one[0], "node-a/one"), (two[1], "node-b/two")] {
        assert_eq!(leases[&address], holder);
    }
    for address in &two {
        a.node()
            .run_in("one", &format!("busybox ping -c 1 -W 5 {address}"))
            .expect("two answers");
    }
    a.check("one").expect("CHECK");
    b.check("two").expect("CHECK");

    a.stop("one").expect("DEL");
    assert_eq!(
        cluster.leases().len(),
        2,
        "one's are released, two's are not"
    );
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
    let cni_path = cni_path();
    let [mut a, mut b] = cluster
        .nodes
        .each_ref()
        .map(|node| Runtime::new(node, network.clone(), &cni_path));
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
    require::root() && require::program("bridge").is_some() && require::program("busybox").is_some()
}
