//! The keys of the bridge plugin, seen by what they do. Those about gateways, masquerading and VLANs have files of their
//! own.

use serde_json::{Value, json};

use crate::world::{Host, port, ready, with};

fn conf(ipam: Value) -> Value {
    json!({ "cniVersion": "1.0.0", "name": "net", "type": "bridge", "bridge": "br0", "ipam": ipam })
}

fn layer2() -> Value {
    json!({ "cniVersion": "1.0.0", "name": "net", "type": "bridge", "bridge": "br0" })
}

#[test]
fn the_bridge_is_made_with_its_default_name_and_stays() {
    if !ready() {
        return;
    }
    let host = Host::new();
    let pod = host.container();
    let mut conf = conf(host.host_local(&["10.9.0.0/24"]));
    conf.as_object_mut().unwrap().remove("bridge");
    let call = host.call("bridge", &pod);
    let result = call.add(&conf);
    assert_eq!(result["interfaces"][0]["name"], "cni0");
    assert_eq!(
        result["interfaces"][0]["mac"],
        host.net.link("cni0")["address"]
    );
    assert_eq!(host.net.link(&port(&result))["master"], "cni0");
    assert_eq!(result["interfaces"][2]["sandbox"], pod.path());
    assert_eq!(result["interfaces"][2]["mac"], pod.link("eth0")["address"]);
    assert_eq!(
        result["ips"][0],
        json!({"address": "10.9.0.2/24", "gateway": "10.9.0.1", "interface": 2})
    );
    assert_eq!(pod.addresses("eth0"), ["10.9.0.2/24"]);
    // Neither a gateway nor a default route without being asked.
    assert_eq!(host.net.addresses("cni0"), [""; 0]);
    assert_eq!(
        pod.routes("route"),
        ["10.9.0.0/24 dev eth0 proto kernel scope link src 10.9.0.2"]
    );
    call.del(&conf);
    assert_eq!(pod.link("eth0"), Value::Null);
    assert_eq!(host.net.link(&port(&result)), Value::Null);
    assert_eq!(host.net.link("cni0")["linkinfo"]["info_kind"], "bridge");
    assert_eq!(host.leased(), [""; 0]);
}

#[test]
fn mtu_is_set_on_a_new_bridge_and_on_both_ends() {
    if !ready() {
        return;
    }
    let host = Host::new();
    let (first, second) = (host.container(), host.container());
    let conf = with(
        &conf(host.host_local(&["10.9.0.0/24"])),
        json!({"mtu": 1400}),
    );
    let result = host.call("bridge", &first).add(&conf);
    for link in [
        host.net.link("br0"),
        host.net.link(&port(&result)),
        first.link("eth0"),
    ] {
        assert_eq!(link["mtu"], 1400, "{link}");
    }
    let conf = with(&conf, json!({"mtu": 1300}));
    host.call("bridge", &second).id("c2").add(&conf);
    assert_eq!(second.link("eth0")["mtu"], 1300);
}

#[test]
fn hairpin_mode_and_port_isolation_are_the_ports() {
    if !ready() {
        return;
    }
    let host = Host::new();
    let (first, second) = (host.container(), host.container());
    let plain = conf(host.host_local(&["10.9.0.0/24"]));
    let conf = with(&plain, json!({"hairpinMode": true, "portIsolation": true}));
    let data = |result: &Value| host.net.link(&port(result))["linkinfo"]["info_slave_data"].clone();
    let set = data(&host.call("bridge", &first).add(&conf));
    assert_eq!(
        (&set["hairpin"], &set["isolated"]),
        (&json!(true), &json!(true))
    );
    let unset = data(&host.call("bridge", &second).id("c2").add(&plain));
    assert_eq!(
        (&unset["hairpin"], &unset["isolated"]),
        (&json!(false), &json!(false))
    );
}

#[test]
fn promisc_mode_is_the_bridges() {
    if !ready() {
        return;
    }
    let host = Host::new();
    let pod = host.container();
    let conf = with(
        &conf(host.host_local(&["10.9.0.0/24"])),
        json!({"promiscMode": true}),
    );
    let call = host.call("bridge", &pod);
    let result = call.add(&conf);
    assert!(
        host.net.link("br0")["flags"]
            .as_array()
            .unwrap()
            .contains(&json!("PROMISC"))
    );
    call.check(&conf, &result);
    host.net.ip("link set br0 promisc off");
    assert!(
        call.check_fails(&conf, &result)
            .starts_with("Bridge interface br0 configured Promisc Mode true")
    );
}

#[test]
fn macspoofchk_drops_frames_with_a_foreign_address() {
    if !ready() {
        return;
    }
    let host = Host::new();
    let pod = host.container();
    let before = host.snapshot();
    let conf = with(
        &conf(host.host_local(&["10.9.0.0/24"])),
        json!({"macspoofchk": true, "isGateway": true}),
    );
    let call = host.call("bridge", &pod);
    let result = call.add(&conf);
    let rules = host.net.ruleset();
    let (port, mac) = (
        port(&result),
        result["interfaces"][2]["mac"].as_str().unwrap().to_owned(),
    );
    for part in [
        format!(r#"iifname "{port}" jump cni-br-iface-c1-eth0 comment "macspoofchk-c1-eth0""#),
        "jump cni-br-iface-c1-eth0-mac".to_owned(),
        format!("ether saddr {mac} return"),
        "drop".to_owned(),
    ] {
        assert!(rules.contains(&part), "{part} in {rules}");
    }
    assert!(pod.reaches("10.9.0.1"));
    call.check(&conf, &result);
    pod.ip("link set eth0 down");
    pod.ip("link set eth0 address 02:00:00:00:00:99");
    pod.ip("link set eth0 up");
    assert!(!pod.reaches("10.9.0.1"));
    call.del(&conf);
    assert_eq!(host.net.ruleset(), before["nft"]);
}

#[test]
fn duplicate_address_detection_is_off_unless_asked_for() {
    if !ready() {
        return;
    }
    let host = Host::new();
    let (first, second, third) = (host.container(), host.container(), host.container());
    let plain = conf(
        json!({"type": "static", "addresses": [{"address": "fd00:9::5/64", "gateway": "fd00:9::1"}]}),
    );
    host.call("bridge", &first).add(&plain);
    assert_eq!(first.sysctl("ipv6/conf/eth0/accept_dad"), "0");
    let other = json!({"type": "static", "addresses": [{"address": "fd00:9::6/64", "gateway": "fd00:9::1"}]});
    let detecting = with(&plain, json!({"enabledad": true}));
    host.call("bridge", &second)
        .id("c2")
        .add(&with(&detecting, json!({"ipam": other})));
    assert_eq!(second.sysctl("ipv6/conf/eth0/accept_dad"), "1");
    assert_eq!(second.sysctl("ipv6/conf/eth0/enhanced_dad"), "1");
    assert!(!second.ip("addr show dev eth0").contains("tentative"));
    let before = host.snapshot();
    let (_, text) = host.call("bridge", &third).id("c3").fail("ADD", &detecting);
    assert!(
        text.contains("duplicate address detection failed"),
        "{text}"
    );
    assert_eq!(third.link("eth0"), Value::Null);
    host.assert_like(&before, "after the duplicate");
}

#[test]
fn the_container_end_may_stay_down() {
    if !ready() {
        return;
    }
    let host = Host::new();
    let (up, down) = (host.container(), host.container());
    let conf = layer2();
    let result = host.call("bridge", &up).add(&conf);
    assert!(up.is_up("eth0"));
    assert!(result.get("ips").is_none());
    host.call("bridge", &up).check(&conf, &result);
    let conf = with(
        &conf,
        json!({"disableContainerInterface": true, "bridge": "br1"}),
    );
    host.call("bridge", &down).id("c2").add(&conf);
    assert!(!down.is_up("eth0"));
    let own = host.net.ip("-6 addr show br1 scope link");
    assert!(own.contains("inet6 fe80:"), "with no port up: {own}");
    let conf = with(&conf, json!({"ipam": host.host_local(&["10.9.0.0/24"])}));
    let (code, text) = host.call("bridge", &down).id("c3").fail("ADD", &conf);
    assert_eq!(code, 999);
    assert!(
        text.starts_with("cannot use IPAM when DisableContainerInterface flag is set"),
        "{text}"
    );
}

#[test]
fn the_hardware_address_comes_from_three_places_in_order() {
    if !ready() {
        return;
    }
    let host = Host::new();
    let conf = layer2();
    let mac = |conf: &Value, args: &str| {
        let pod = host.container();
        let call = host.call("bridge", &pod).env("CNI_ARGS", args);
        call.add(conf);
        let mac = pod.link("eth0")["address"].as_str().unwrap().to_owned();
        call.del(conf);
        mac
    };
    let convention = with(
        &conf,
        json!({"args": {"cni": {"mac": "02:00:00:00:00:02"}}}),
    );
    let runtime = with(
        &convention,
        json!({"RuntimeConfig": {"mac": "02:00:00:00:00:03"}}),
    );
    assert_eq!(mac(&conf, "MAC=02:00:00:00:00:01"), "02:00:00:00:00:01");
    assert_eq!(
        mac(
            &conf,
            "IgnoreUnknown=1;K8S_POD_NAME=x;MAC=02:00:00:00:00:01"
        ),
        "02:00:00:00:00:01"
    );
    assert_eq!(
        mac(&convention, "MAC=02:00:00:00:00:01"),
        "02:00:00:00:00:02"
    );
    assert_eq!(mac(&runtime, "MAC=02:00:00:00:00:01"), "02:00:00:00:00:03");
}

#[test]
fn dns_is_the_configurations_or_else_ipams() {
    if !ready() {
        return;
    }
    let host = Host::new();
    let (first, second, third) = (host.container(), host.container(), host.container());
    let mut ipam = json!({"type": "static", "addresses": [{"address": "10.9.0.5/24"}]});
    ipam["dns"] = json!({"nameservers": ["10.0.0.53"]});
    let conf = conf(ipam);
    let result = host.call("bridge", &first).add(&conf);
    assert_eq!(result["dns"], json!({"nameservers": ["10.0.0.53"]}));
    let own = with(
        &conf,
        json!({"dns": {"nameservers": ["10.0.0.54"], "domain": "a"}}),
    );
    let result = host.call("bridge", &second).id("c2").add(&own);
    assert_eq!(
        result["dns"],
        json!({"nameservers": ["10.0.0.54"], "domain": "a"})
    );
    let empty = with(&conf, json!({"dns": {"nameservers": []}}));
    let result = host.call("bridge", &third).id("c3").add(&empty);
    assert_eq!(result.get("dns"), None);
}

#[test]
fn routes_are_programmed_with_all_that_ipam_says() {
    if !ready() {
        return;
    }
    let host = Host::new();
    let pod = host.container();
    let routes = json!([
        {"dst": "10.20.0.0/16"},
        {"dst": "10.21.0.0/16", "gw": "10.9.0.7", "mtu": 1400, "advmss": 1300, "priority": 77},
        {"dst": "10.22.0.0/16", "table": 1000},
        {"dst": "10.23.0.0/16", "scope": 253},
    ]);
    let result =
        json!({"ips": [{"address": "10.9.0.5/24", "gateway": "10.9.0.1"}], "routes": routes});
    let ipam = host.script(
        "told",
        &format!("[ $CNI_COMMAND = ADD ] && echo '{result}'; exit 0"),
    );
    let conf = with(&conf(ipam), json!({"cniVersion": "1.1.0"}));
    let call = host.call("bridge", &pod);
    let told = call.add(&conf);
    assert_eq!(told["routes"], routes);
    assert_eq!(
        pod.routes("route"),
        [
            "10.9.0.0/24 dev eth0 proto kernel scope link src 10.9.0.5",
            "10.20.0.0/16 via 10.9.0.1 dev eth0",
            "10.21.0.0/16 via 10.9.0.7 dev eth0 metric 77 mtu 1400 advmss 1300",
            "10.23.0.0/16 dev eth0 scope link",
        ]
    );
    assert_eq!(
        pod.routes("route show table 1000"),
        ["10.22.0.0/16 via 10.9.0.1 dev eth0"]
    );
    call.check(&conf, &told);
    pod.ip("route del 10.22.0.0/16 table 1000");
    assert!(
        call.check_fails(&conf, &told)
            .starts_with("Expected Route {Dst:10.22.0.0/16")
    );
}

#[test]
fn neighbours_are_told_about_the_new_holder_of_an_address() {
    if !ready() {
        return;
    }
    let host = Host::new();
    let (neighbour, old, new) = (host.container(), host.container(), host.container());
    let of = |number: u8| {
        conf(json!({"type": "static", "addresses": [
            {"address": format!("10.9.0.{number}/24")}, {"address": format!("fd00:9::{number}/64")}
        ]}))
    };
    host.call("bridge", &neighbour).id("n").add(&of(9));
    let conf = of(5);
    let call = host.call("bridge", &old);
    call.add(&conf);
    let addresses = ["10.9.0.5", "fd00:9::5"];
    for address in addresses {
        assert!(neighbour.reaches(address));
    }
    call.del(&conf);
    host.call("bridge", &new).id("c2").add(&conf);
    // Without an announcement the neighbour would go on sending to the old hardware address for seconds.
    let mac = new.link("eth0")["address"].as_str().unwrap().to_owned();
    std::thread::sleep(std::time::Duration::from_millis(100));
    for address in addresses {
        let known = neighbour.ip(&format!("neigh show {address}"));
        assert!(known.contains(&mac), "{address}: {known}");
    }
}
