//! The routed plugin on an uplink, where the host answers for its containers.

use serde_json::json;

use crate::routed::conf;
use crate::world::{Host, Namespace, ready, with};

/// Connects two namespaces by links of the same name.
fn cable(a: &Namespace, b: &Namespace, name: &str) {
    let path = b.path();
    let other = path.rsplit('/').next().unwrap();
    a.ip(&format!(
        "link add {name} type veth peer name {name} netns {other}"
    ));
    a.ip(&format!("link set {name} up"));
    b.ip(&format!("link set {name} up"));
}

#[test]
fn one_pool_spans_hosts_that_answer_for_their_containers_on_the_uplink() {
    if !ready() {
        return;
    }
    let (one, two) = (Host::new(), Host::new());
    cable(&one.net, &two.net, "up0");
    for (host, number) in [(&one, 251), (&two, 252)] {
        host.net.ip(&format!("addr add 10.9.0.{number}/24 dev up0"));
        host.net
            .ip(&format!("addr add fd00:9::{number}/64 dev up0 nodad"));
        // A router has some more addresses.
        host.net.write_sysctl("ipv6/conf/all/forwarding", "1");
    }
    // 10.9.0.1 is a router of the uplink, which a host must not take for itself.
    two.net.ip("addr add 10.9.0.1/24 dev up0");
    let of = |number: u8| {
        with(
            &conf(json!({"type": "static", "addresses": [
                {"address": format!("10.9.0.{number}/24"), "gateway": "10.9.0.1"},
                {"address": format!("fd00:9::{number}/64"), "gateway": "fd00:9::ffff"},
            ], "routes": [{"dst": "0.0.0.0/0", "gw": "10.9.0.1"}]})),
            json!({"uplink": "up0"}),
        )
    };
    let (first, second) = (one.container(), two.container());
    let before = one.snapshot();
    let (call, other) = (one.call("routed", &first), two.call("routed", &second));
    let result = call.add(&of(5));
    other.add(&of(6));
    assert_eq!(result["ips"][0]["gateway"], "10.9.0.1");
    assert_eq!(result["routes"][0]["gw"], "169.254.1.1");
    for address in [
        "10.9.0.6",
        "fd00:9::6",
        "10.9.0.252",
        "10.9.0.1",
        "fd00:9::252",
    ] {
        assert!(first.reaches(address), "{address}");
    }
    assert!(second.reaches("10.9.0.5"));
    assert!(one.net.reaches("10.9.0.1"));
    call.check(&of(5), &result);
    one.net.ip("neigh del proxy 10.9.0.5 dev up0");
    assert!(
        call.check_fails(&of(5), &result)
            .starts_with("the host does not answer for 10.9.0.5 on up0")
    );
    call.del(&of(5));
    // What all containers share stays: others may rely on it.
    one.net.write_sysctl("ipv4/ip_forward", "0");
    one.net.write_sysctl("ipv6/conf/up0/proxy_ndp", "0");
    for family in ["ipv4", "ipv6"] {
        let key = format!("{family}/neigh/up0/proxy_delay");
        one.net.write_sysctl(&key, "80");
    }
    one.assert_like(&before, "after DEL");
    let told = call.fail("ADD", &with(&of(5), json!({"uplink": "nobody"})));
    assert!(told.1.starts_with("Link not found"), "{}", told.1);
}

#[test]
fn neighbours_of_the_uplink_are_told_that_an_address_has_moved_to_another_host() {
    if !ready() {
        return;
    }
    let host = Host::new();
    let (pod, outside) = (host.container(), host.container());
    cable(&host.net, &outside, "up0");
    for (namespace, number) in [(&host.net, 251), (&outside, 252)] {
        namespace.ip(&format!("addr add 10.9.0.{number}/24 dev up0"));
        namespace.ip(&format!("addr add fd00:9::{number}/64 dev up0 nodad"));
    }
    let addresses = ["10.9.0.5", "fd00:9::5"];
    // As they were on a host that is silent now.
    for address in addresses {
        outside.ip(&format!(
            "neigh add {address} lladdr 02:00:00:00:00:77 dev up0 nud reachable"
        ));
    }
    let conf = with(
        &conf(json!({"type": "static", "addresses": [
            {"address": "10.9.0.5/24"}, {"address": "fd00:9::5/64"}
        ]})),
        json!({"uplink": "up0"}),
    );
    host.call("routed", &pod).add(&conf);
    let mac = host.net.link("up0")["address"].as_str().unwrap().to_owned();
    std::thread::sleep(std::time::Duration::from_millis(100));
    for address in addresses {
        let known = outside.ip(&format!("neigh show {address}"));
        assert!(known.contains(&mac), "{address}: {known}");
        assert!(outside.reaches(address), "{address}");
    }
}

#[test]
fn a_late_del_leaves_the_next_holder_of_the_address_reachable() {
    if !ready() {
        return;
    }
    let host = Host::new();
    let outside = host.container();
    cable(&host.net, &outside, "up0");
    host.net.ip("addr add 10.9.0.251/24 dev up0");
    outside.ip("addr add 10.9.0.252/24 dev up0");
    let ipam = json!({"type": "static", "addresses": [{"address": "10.9.0.5/24"}]});
    let conf = with(&conf(ipam), json!({"uplink": "up0"}));
    let (old, new) = (host.container(), host.container());
    let result = host.call("routed", &old).add(&conf);
    old.ip("link del eth0");
    host.call("routed", &new).id("c2").add(&conf);
    assert!(outside.reaches("10.9.0.5"));
    host.call("routed", &old)
        .del(&with(&conf, json!({"prevResult": result})));
    assert!(outside.reaches("10.9.0.5"));
    host.call("routed", &new).id("c2").del(&conf);
    assert_eq!(host.net.ip("neigh show proxy"), "");
}
