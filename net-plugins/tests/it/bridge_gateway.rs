//! The gateway on the bridge, and default routes.

use serde_json::{Value, json};

use crate::world::{Host, port, ready, with};

fn conf(ipam: Value) -> Value {
    json!({ "cniVersion": "1.0.0", "name": "net", "type": "bridge", "bridge": "br0", "ipam": ipam })
}

#[test]
fn is_gateway_puts_the_gateways_on_the_bridge_and_forwards() {
    if !ready() {
        return;
    }
    let host = Host::new();
    let pod = host.container();
    let conf = with(
        &conf(host.host_local(&["10.9.0.0/24", "fd00:9::/64"])),
        json!({"isGateway": true}),
    );
    let result = host.call("bridge", &pod).add(&conf);
    assert_eq!(host.net.addresses("br0"), ["10.9.0.1/24", "fd00:9::1/64"]);
    assert_eq!(host.net.sysctl("ipv4/ip_forward"), "1");
    assert_eq!(host.net.sysctl("ipv6/conf/all/forwarding"), "1");
    assert_eq!(host.net.sysctl("ipv6/conf/br0/accept_ra"), "0");
    assert_eq!(
        host.net
            .sysctl(&format!("ipv6/conf/{}/accept_ra", port(&result))),
        "0"
    );
    assert_eq!(pod.addresses("eth0"), ["10.9.0.2/24", "fd00:9::2/64"]);
    assert!(pod.reaches("10.9.0.1"));
    assert!(pod.reaches("fd00:9::1"));
    assert!(!pod.ip("route").contains("default"));
}

#[test]
fn a_bridge_keeps_its_hardware_address_when_containers_come_and_go() {
    if !ready() {
        return;
    }
    for more in [json!({"isGateway": true}), json!({"ipam": {}})] {
        let host = Host::new();
        host.net.ip("link add br0 type bridge");
        let address = || host.net.link("br0")["address"].clone();
        let before = address();
        let conf = with(&conf(host.host_local(&["10.9.0.0/24"])), more);
        let pods: Vec<_> = (0..3).map(|_| host.container()).collect();
        for (i, pod) in pods.iter().enumerate() {
            let result = host.call("bridge", pod).id(&format!("c{i}")).add(&conf);
            assert_eq!(address(), before, "after ADD {i}");
            assert_eq!(result["interfaces"][0]["mac"], before);
        }
        for (i, pod) in pods.iter().enumerate() {
            host.call("bridge", pod).id(&format!("c{i}")).del(&conf);
            assert_eq!(address(), before, "after DEL {i}");
        }
    }
}

#[test]
fn a_gateway_that_ipam_left_open_is_the_first_address() {
    if !ready() {
        return;
    }
    let host = Host::new();
    let pod = host.container();
    let ipam = json!({"type": "static", "addresses": [{"address": "10.9.0.77/24"}]});
    let conf = with(&conf(ipam), json!({"isGateway": true}));
    let result = host.call("bridge", &pod).add(&conf);
    assert_eq!(result["ips"][0]["gateway"], "10.9.0.1");
    assert_eq!(host.net.addresses("br0"), ["10.9.0.1/24"]);
}

#[test]
fn a_pool_of_ours_without_gateway_refuses_is_gateway() {
    if !ready() {
        return;
    }
    let host = Host::new();
    let pod = host.container();
    let before = host.snapshot();
    let ipam = host.script(
        "cluster-ipam",
        r#"[ $CNI_COMMAND = ADD ] && echo '{"ips":[{"address":"10.9.0.5/24"}]}'; exit 0"#,
    );
    let conf = with(&conf(ipam), json!({"isGateway": true}));
    let (code, text) = host.call("bridge", &pod).fail("ADD", &conf);
    assert_eq!(code, 7);
    assert!(
        text.starts_with("isGateway: the pool of 10.9.0.5/24 has no gateway"),
        "{text}"
    );
    assert_eq!(host.calls(), ["ADD", "DEL"]);
    host.assert_like(&before, "after the refusal");
}

#[test]
fn is_default_gateway_adds_a_default_route_per_family_unless_ipam_has_one() {
    if !ready() {
        return;
    }
    let host = Host::new();
    let (first, second) = (host.container(), host.container());
    let conf = with(
        &conf(host.host_local(&["10.9.0.0/24", "fd00:9::/64"])),
        json!({"isDefaultGateway": true}),
    );
    let result = host.call("bridge", &first).add(&conf);
    assert_eq!(
        result["routes"],
        json!([{"dst": "0.0.0.0/0", "gw": "10.9.0.1"}, {"dst": "::/0", "gw": "fd00:9::1"}])
    );
    assert_eq!(
        first.routes("route show default"),
        ["default via 10.9.0.1 dev eth0"]
    );
    assert_eq!(
        first.routes("-6 route show default"),
        ["default via fd00:9::1 dev eth0 metric 1024 pref medium"]
    );
    // One of IPAM's with a next hop wins, one without gets the gateway.
    let mut conf = conf;
    conf["ipam"]["routes"] = json!([{"dst": "0.0.0.0/0", "gw": "10.9.0.99"}, {"dst": "::/0"}]);
    host.call("bridge", &second).id("c2").add(&conf);
    assert_eq!(
        second.routes("route show default"),
        ["default via 10.9.0.99 dev eth0"]
    );
    assert_eq!(
        second.routes("-6 route show default"),
        ["default via fd00:9::1 dev eth0 metric 1024 pref medium"]
    );
}

#[test]
fn a_conflicting_address_on_the_bridge_fails_unless_it_is_to_be_replaced() {
    if !ready() {
        return;
    }
    let host = Host::new();
    let pod = host.container();
    // Without an address of its own a bridge has none once its last port has left: the kernel's way.
    host.net
        .ip("link add br0 address 02:00:00:00:00:10 type bridge");
    host.net.ip("link set br0 up");
    // A bridge without a port gets a link-local address with the first, and keeps it.
    host.net.ip("link add port type veth peer name other");
    host.net.ip("link set other up");
    host.net.ip("link set port master br0 up");
    host.net.ip("addr add 10.9.0.200/24 dev br0");
    host.net.ip("addr add fd00:9::200/64 dev br0");
    host.net.ip("addr add fd00:77::1/64 dev br0");
    let conf = with(
        &conf(host.host_local(&["10.9.0.0/24", "fd00:9::/64"])),
        json!({"isGateway": true}),
    );
    let before = host.snapshot();
    let (code, text) = host.call("bridge", &pod).fail("ADD", &conf);
    assert_eq!(code, 999);
    assert!(text.starts_with(r#"failed to set bridge addr: "br0" already has an IP address different from 10.9.0.1/24"#), "{text}");
    host.assert_like(&before, "after the conflict");
    let conf = with(&conf, json!({"forceAddress": true}));
    host.call("bridge", &pod).add(&conf);
    let mut addresses = host.net.addresses("br0");
    addresses.sort();
    // A disjoint IPv6 subnet is no conflict.
    assert_eq!(addresses, ["10.9.0.1/24", "fd00:77::1/64", "fd00:9::1/64"]);
}

#[test]
fn a_bridge_that_lost_its_last_port_and_with_it_its_hardware_address_is_used_again() {
    if !ready() {
        return;
    }
    let ipam = |host: &Host| host.host_local(&["10.9.0.0/24"]);
    for more in [json!({}), json!({"isGateway": true}), json!({"ipam": null})] {
        let host = Host::new();
        let pod = host.container();
        host.net.ip("link add br0 type bridge");
        host.net.ip("link add port type veth peer name other");
        host.net.ip("link set port master br0");
        host.net.ip("link del port");
        assert_eq!(host.net.link("br0")["address"], "00:00:00:00:00:00");
        let conf = with(&conf(ipam(&host)), more);
        let call = host.call("bridge", &pod);
        let result = call.add(&conf);
        let mac = host.net.link("br0")["address"].clone();
        assert_eq!(result["interfaces"][0]["mac"], mac, "{conf}");
        assert_ne!(mac, "00:00:00:00:00:00");
        call.check(&conf, &result);
        call.del(&conf);
    }
}
