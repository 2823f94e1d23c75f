//! The routed plugin's keys and verbs.

use serde_json::{Value, json};

use crate::world::{Host, ready, with};

pub(crate) fn conf(ipam: Value) -> Value {
    json!({ "cniVersion": "1.0.0", "name": "net", "type": "routed", "ipam": ipam })
}

/// The name of the host's end.
pub(crate) fn end(result: &Value) -> String {
    result["interfaces"][0]["name"].as_str().unwrap().to_owned()
}

#[test]
fn what_upstreams_ptp_does_is_done() {
    if !ready() {
        return;
    }
    let host = Host::new();
    let (pod, neighbour) = (host.container(), host.container());
    let before = host.snapshot();
    let mut ipam = host.host_local(&["10.9.0.0/24", "fd00:9::/64"]);
    ipam["routes"] = json!([{"dst": "0.0.0.0/0"}, {"dst": "::/0"}]);
    let conf = with(&conf(ipam), json!({"dns": {"nameservers": ["10.0.0.53"]}}));
    let call = host.call("routed", &pod);
    let result = call.add(&conf);
    assert_eq!(result["interfaces"][1]["sandbox"], pod.path());
    assert_eq!(result["interfaces"][1]["mac"], pod.link("eth0")["address"]);
    assert_eq!(
        result["ips"][0],
        json!({"address": "10.9.0.2/24", "gateway": "10.9.0.1", "interface": 1})
    );
    assert_eq!(result["dns"], json!({"nameservers": ["10.0.0.53"]}));
    let end = end(&result);
    assert_eq!(host.net.addresses(&end), ["10.9.0.1/32", "fd00:9::1/128"]);
    assert_eq!(
        host.net.routes("route"),
        [format!("10.9.0.2 dev {end} scope link")]
    );
    assert_eq!(host.net.sysctl("ipv4/ip_forward"), "1");
    assert_eq!(host.net.sysctl("ipv6/conf/all/forwarding"), "1");
    assert_eq!(pod.addresses("eth0"), ["10.9.0.2/24", "fd00:9::2/64"]);
    assert_eq!(
        pod.routes("route"),
        [
            "default via 10.9.0.1 dev eth0",
            "10.9.0.0/24 via 10.9.0.1 dev eth0 src 10.9.0.2",
            "10.9.0.1 dev eth0 scope link src 10.9.0.2",
        ]
    );
    host.call("routed", &neighbour).id("c2").add(&conf);
    for address in ["10.9.0.1", "fd00:9::1", "10.9.0.3", "fd00:9::3"] {
        assert!(pod.reaches(address), "{address}");
    }
    call.check(&conf, &result);
    call.del(&conf);
    call.del(&conf);
    host.call("routed", &neighbour)
        .id("c2")
        .netns("")
        .del(&conf);
    // Forwarding stays on: others may rely on it.
    host.net.write_sysctl("ipv4/ip_forward", "0");
    host.net.write_sysctl("ipv6/conf/all/forwarding", "0");
    host.assert_like(&before, "after DEL");
}

#[test]
fn an_address_with_a_host_prefix_and_one_without_gateway_are_normal() {
    if !ready() {
        return;
    }
    let host = Host::new();
    for (ipam, prefix, next_hop) in [
        (
            json!({"type": "static", "addresses": [{"address": "10.9.0.5/32", "gateway": "10.9.0.1"}]}),
            32,
            "10.9.0.1",
        ),
        (
            json!({"type": "static", "addresses": [{"address": "10.9.0.5/24"}]}),
            24,
            "169.254.1.1",
        ),
        (
            json!({"type": "static", "addresses": [{"address": "10.9.0.5/32"}], "routes": [{"dst": "0.0.0.0/0"}]}),
            32,
            "169.254.1.1",
        ),
    ] {
        let pod = host.container();
        let conf = conf(ipam);
        let call = host.call("routed", &pod);
        let result = call.add(&conf);
        assert_eq!(pod.addresses("eth0"), [format!("10.9.0.5/{prefix}")]);
        assert_eq!(result["ips"][0]["gateway"], next_hop);
        assert!(pod.reaches(next_hop));
        assert!(host.net.reaches("10.9.0.5"));
        call.check(&conf, &result);
        call.del(&conf);
    }
    let pod = host.container();
    let ipam = json!({"type": "static", "addresses": [{"address": "fd00:9::5/64"}], "routes": [{"dst": "::/0"}]});
    let conf = conf(ipam);
    let result = host.call("routed", &pod).add(&conf);
    assert_eq!(result["ips"][0]["gateway"], "fe80::1");
    assert!(host.net.reaches("fd00:9::5"));
    host.call("routed", &pod).check(&conf, &result);
}

#[test]
fn host_prefix_makes_the_address_stand_alone() {
    if !ready() {
        return;
    }
    let host = Host::new();
    let (pod, neighbour) = (host.container(), host.container());
    let conf = with(
        &conf(host.host_local(&["10.9.0.0/24", "fd00:9::/64"])),
        json!({"hostPrefix": true}),
    );
    let result = host.call("routed", &pod).add(&conf);
    assert_eq!(result["ips"][0]["address"], "10.9.0.2/32");
    assert_eq!(pod.addresses("eth0"), ["10.9.0.2/32", "fd00:9::2/128"]);
    host.call("routed", &neighbour).id("c2").add(&conf);
    assert!(pod.reaches("10.9.0.3"));
    assert!(pod.reaches("fd00:9::3"));
    host.call("routed", &pod).check(&conf, &result);
}

#[test]
fn mtu_and_masquerading_are_as_with_bridge() {
    if !ready() {
        return;
    }
    let host = Host::new();
    let pod = host.container();
    let more = json!({"mtu": 1400, "ipMasq": true, "hostPrefix": true});
    let conf = with(&conf(host.host_local(&["10.9.0.0/24"])), more);
    let call = host.call("routed", &pod);
    let result = call.add(&conf);
    assert_eq!(pod.link("eth0")["mtu"], 1400);
    assert_eq!(host.net.link(&end(&result))["mtu"], 1400);
    // Neighbours in the pool see the container's own address, whatever prefix it has.
    assert!(
        host.net
            .ruleset()
            .contains("ip saddr 10.9.0.2 ip daddr != 10.9.0.0/24 masquerade")
    );
    call.check(&conf, &result);
    call.del(&conf);
    assert_eq!(host.net.ruleset(), "");
    let conf = with(&conf, json!({"ipMasqBackend": "iptables"}));
    let result = call.add(&conf);
    call.check(&conf, &result);
    call.del(&conf);
}

#[test]
fn the_hosts_routes_carry_protocol_table_and_metric() {
    if !ready() {
        return;
    }
    let host = Host::new();
    let pod = host.container();
    let more = json!({"routeProtocol": 77, "routeTable": 1000, "routeMetric": 5});
    let conf = with(
        &conf(host.host_local(&["10.9.0.0/24", "fd00:9::/64"])),
        more,
    );
    let call = host.call("routed", &pod);
    let result = call.add(&conf);
    let end = end(&result);
    assert_eq!(
        host.net.routes("route show table 1000"),
        [format!("10.9.0.2 dev {end} proto 77 scope link metric 5")]
    );
    assert_eq!(
        host.net.routes("-6 route show table 1000"),
        [format!("fd00:9::2 dev {end} proto 77 metric 5 pref medium")]
    );
    call.check(&conf, &result);
    for (key, value) in [
        ("routeProtocol", 256),
        ("routeTable", 0),
        ("routeMetric", -1),
    ] {
        let (code, told) = call.fail("ADD", &with(&conf, json!({key: value})));
        assert_eq!(code, 7);
        assert!(
            told.starts_with(&format!("{key} is {value}, must be from 1 to ")),
            "{told}"
        );
    }
}

#[test]
fn a_network_needs_ipam() {
    if !ready() {
        return;
    }
    let host = Host::new();
    let pod = host.container();
    let conf = with(&conf(json!({})), json!({"cniVersion": "1.1.0"}));
    for command in ["ADD", "CHECK", "STATUS"] {
        let told = host.call("routed", &pod).fail(command, &conf);
        assert_eq!(told, (999, "no plugin name provided; ".into()), "{command}");
    }
}

#[test]
fn status_and_gc_are_ipams_and_see_to_the_host_too() {
    if !ready() {
        return;
    }
    let host = Host::new();
    let pod = host.container();
    host.net.ip("link add up0 type veth peer name up1");
    let body = r#"[ $CNI_COMMAND = ADD ] && echo '{"ips":[{"address":"10.9.0.5/24"}]}'; exit 0"#;
    let more = json!({"cniVersion": "1.1.0", "uplink": "up0", "ipMasq": true});
    let conf = with(&conf(host.script("told", body)), more);
    let call = host.call("routed", &pod);
    call.succeed("STATUS", &conf);
    let told = call.fail("STATUS", &with(&conf, json!({"uplink": "nobody"})));
    assert_eq!(told, (50, r#"uplink "nobody": Link not found; "#.into()));
    let result = call.add(&conf);
    host.net.ip("neigh add proxy 192.0.2.77 dev up0");
    let valid = json!({"cni.dev/valid-attachments": [{"containerID": "c1", "ifname": "eth0"}]});
    call.succeed("GC", &with(&conf, valid));
    call.check(&conf, &result);
    call.succeed("GC", &with(&conf, json!({"cni.dev/valid-attachments": []})));
    assert_eq!(pod.link("eth0"), Value::Null);
    assert_eq!(host.net.ruleset(), "");
    // An administrator's own entry stays.
    assert_eq!(
        host.net.routes("neigh show proxy"),
        ["192.0.2.77 dev up0 proxy"]
    );
    assert_eq!(host.calls(), ["STATUS", "ADD", "GC", "CHECK", "GC"]);
}

/// A network with everything that an ADD can do, and its uplink.
pub(crate) fn full(host: &Host) -> Value {
    host.net.ip("link add up0 type veth peer name up1");
    let mut ipam = host.host_local(&["10.9.0.0/24", "fd00:9::/64"]);
    ipam["routes"] = json!([{"dst": "0.0.0.0/0"}, {"dst": "::/0"}]);
    with(
        &conf(ipam),
        json!({"uplink": "up0", "ipMasq": true, "hostPrefix": true}),
    )
}

#[test]
fn a_failure_at_any_point_leaves_everything_as_it_was() {
    if !ready() {
        return;
    }
    let host = Host::new();
    let pod = host.container();
    let conf = full(&host);
    let points = crate::failure::fail_at_every_point(&host, &pod, "routed", &conf);
    assert!(points >= 38, "{points}");
}
