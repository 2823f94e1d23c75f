//! Upstream's ipvlan with `cluster-ipam`. A kernel without ipvlan runs the test in User-Mode Linux.

use std::process::Stdio;

use harness::namespaces::Namespace;
use harness::{binaries, uml};
use serde_json::json;

use crate::mix::debians_attaches;
use crate::pods::ready;

/// What the test needs of the kernel.
const MODULES: [&str; 9] = [
    "lib/crc-ccitt",
    "net/ipv6/ipv6",
    "net/llc/llc",
    "net/802/stp",
    "net/bridge/bridge",
    "drivers/net/veth",
    "net/netfilter/nfnetlink",
    "net/netfilter/nf_tables",
    "drivers/net/ipvlan/ipvlan",
];

#[test]
fn debians_ipvlan_attaches_containers_with_cluster_ipam() {
    if !ready() {
        return;
    }
    if uml::is_inside() || has_ipvlan() {
        debians_attaches(json!({ "type": "ipvlan", "master": "up0" }));
        return;
    }
    let folder = binaries::folder().expect("the binaries build");
    let folder = folder.display().to_string();
    let variables = [
        (binaries::FOLDER, folder.as_str()),
        ("IPAM_TEST_REQUIRE", "root,busybox,ipvlan"),
    ];
    let run = uml::run_tests("ipvlan::", &MODULES, &variables).expect("a boot");
    if let Some(tests) = run {
        assert!(tests.contains("test result: ok. 1 passed"), "{tests}");
    }
}

fn has_ipvlan() -> bool {
    let node = Namespace::new("probe").expect("a namespace");
    node.run("ip link add up0 type veth peer name up1")
        .expect("a link");
    let mut ip = node.command("ip");
    ip.args(["link", "add", "probe", "link", "up0", "type", "ipvlan"]);
    let status = ip.stderr(Stdio::null()).status();
    status.expect("runs").success()
}
