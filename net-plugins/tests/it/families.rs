//! Addresses of a family that the kernel lacks: User-Mode Linux has IPv6 as a module that can be told to do nothing.

use std::path::Path;

use harness::uml;
use serde_json::{Value, json};

use crate::world::{Host, ready, with};

#[test]
fn the_tests_here_pass_in_a_kernel_without_ipv6() {
    if !ready() || uml::is_inside() {
        return;
    }
    let modules = [
        "lib/crc-ccitt",
        "net/ipv6/ipv6 disable=1",
        "net/llc/llc",
        "net/802/stp",
        "net/bridge/bridge",
        "net/netfilter/nfnetlink",
        "net/netfilter/nf_tables",
        "drivers/net/veth",
        "drivers/net/macvlan",
    ];
    if let Some(tests) = uml::run_tests("families::", &modules, &[]).unwrap() {
        assert!(tests.contains("test result: ok. 3 passed"), "{tests}");
    }
}

#[test]
fn an_address_of_a_family_that_the_kernel_lacks_is_named_and_given_back() {
    if !uml::is_inside() {
        return;
    }
    assert!(!Path::new("/proc/sys/net/ipv6").exists());
    let host = Host::new();
    host.net.ip("link add up0 type veth peer name up1");
    host.net.ip("link set up0 up");
    let pod = host.container();
    let before = host.snapshot();
    for plugin in ["bridge", "macvlan", "routed"] {
        let conf = json!({
            "cniVersion": "1.0.0", "name": "net", "type": plugin, "master": "up0", "isDefaultGateway": true,
            "ipam": host.host_local(&["10.9.0.0/24", "fd00:9::/64"]),
        });
        let (_, told) = host.call(plugin, &pod).fail("ADD", &conf);
        assert!(told.contains("fd00:9::"), "{plugin}: {told}");
        host.assert_like(&before, plugin);
        assert_eq!(pod.link("eth0"), Value::Null, "{plugin}");
    }
}

#[test]
fn the_other_family_is_served_all_the_same() {
    if !uml::is_inside() {
        return;
    }
    let host = Host::new();
    host.net.ip("link add up0 type veth peer name up1");
    host.net.ip("link set up0 up");
    // Stays on once it is needed.
    host.net.write_sysctl("ipv4/ip_forward", "1");
    let before = host.snapshot();
    for plugin in ["bridge", "macvlan", "routed"] {
        let pod = host.container();
        let ipam = host.host_local(&["10.9.0.0/24"]);
        let conf = json!({ "cniVersion": "1.0.0", "name": "net", "type": plugin, "ipam": ipam });
        let conf = with(&conf, json!({ "master": "up0", "bridge": "br0" }));
        let call = host.call(plugin, &pod);
        let result = call.add(&conf);
        call.check(&conf, &result);
        call.del(&conf);
    }
    host.net.ip("link del br0");
    host.assert_like(&before, "after DEL");
}
