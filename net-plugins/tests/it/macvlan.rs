//! The macvlan plugin's keys and verbs.

use serde_json::{Value, json};

use crate::world::{Host, Namespace, ready, with};

/// A host with an uplink `up0` to a neighbour, who has 10.9.0.9 and the default route's address 192.0.2.2.
pub(crate) fn network() -> (Host, Namespace) {
    let host = Host::new();
    let neighbour = host.container();
    let name = neighbour.path();
    let name = name.rsplit('/').next().unwrap();
    host.net.ip(&format!(
        "link add up0 mtu 1400 type veth peer name up1 netns {name}"
    ));
    host.net.ip("link set up0 up");
    host.net.ip("addr add 192.0.2.1/24 dev up0");
    neighbour.ip("link set up1 up");
    neighbour.ip("addr add 10.9.0.9/24 dev up1");
    neighbour.ip("addr add fd00:9::9/64 dev up1 nodad");
    (host, neighbour)
}

fn conf(ipam: Value) -> Value {
    json!({ "cniVersion": "1.0.0", "name": "net", "type": "macvlan", "master": "up0", "ipam": ipam })
}

fn data(pod: &Namespace) -> Value {
    pod.link("eth0")["linkinfo"]["info_data"].clone()
}

#[test]
fn the_container_is_on_the_masters_network() {
    if !ready() {
        return;
    }
    let (host, _neighbour) = network();
    let pod = host.container();
    // A link of the container's name on the host is in nobody's way.
    host.net.ip("link add eth0 type veth peer name other");
    let before = host.snapshot();
    let conf = conf(host.host_local(&["10.9.0.0/24", "fd00:9::/64"]));
    let call = host.call("macvlan", &pod);
    let result = call.add(&conf);
    assert_eq!(result["interfaces"].as_array().unwrap().len(), 1);
    let interface = &result["interfaces"][0];
    assert_eq!(interface["name"], "eth0");
    assert_eq!(interface["sandbox"], pod.path());
    assert_eq!(interface["mac"], pod.link("eth0")["address"]);
    assert_eq!(result["ips"][0]["interface"], 0);
    assert_eq!(data(&pod)["mode"], "bridge");
    assert_eq!(pod.link("eth0")["mtu"], 1400);
    assert_eq!(pod.addresses("eth0"), ["10.9.0.2/24", "fd00:9::2/64"]);
    assert_eq!(pod.sysctl("ipv4/conf/eth0/arp_notify"), "1");
    assert_eq!(pod.sysctl("ipv6/conf/eth0/ndisc_notify"), "1");
    assert!(!pod.ip("addr show dev eth0").contains("tentative"));
    assert!(pod.reaches("10.9.0.9"));
    assert!(pod.reaches("fd00:9::9"));
    call.check(&conf, &result);
    call.del(&conf);
    assert_eq!(pod.link("eth0"), Value::Null);
    call.del(&conf);
    host.assert_like(&before, "after DEL");
}

#[test]
fn the_default_master_is_the_link_of_the_default_route() {
    if !ready() {
        return;
    }
    let (host, _neighbour) = network();
    let pod = host.container();
    let mut conf = conf(host.host_local(&["10.9.0.0/24"]));
    conf.as_object_mut().unwrap().remove("master");
    let before = host.snapshot();
    let call = host.call("macvlan", &pod);
    assert_eq!(
        call.fail("ADD", &conf),
        (999, "no default route interface found; ".into())
    );
    host.assert_like(&before, "after the refusal");
    host.net.ip("route add default via 192.0.2.2");
    let result = call.add(&conf);
    assert!(pod.reaches("10.9.0.9"));
    call.check(&conf, &result);
}

#[test]
fn every_mode_is_set_and_checked() {
    if !ready() {
        return;
    }
    let (host, _neighbour) = network();
    for mode in ["bridge", "private", "vepa", "passthru"] {
        let pod = host.container();
        let conf = with(
            &conf(host.host_local(&["10.9.0.0/24"])),
            json!({"mode": mode, "mac": "02:00:00:00:00:05"}),
        );
        let call = host.call("macvlan", &pod);
        let result = call.add(&conf);
        assert_eq!(data(&pod)["mode"], mode);
        assert_eq!(pod.link("eth0")["address"], "02:00:00:00:00:05", "{mode}");
        assert_eq!(
            result["interfaces"][0]["mac"], "02:00:00:00:00:05",
            "{mode}"
        );
        assert!(pod.reaches("10.9.0.9"), "{mode}");
        call.check(&conf, &result);
        let other = if mode == "vepa" { "private" } else { "vepa" };
        let told = call.check_fails(&with(&conf, json!({"mode": other})), &result);
        assert!(
            told.starts_with(&format!(
                "container macvlan mode {mode} does not match expected value: {other}"
            )),
            "{told}"
        );
        call.del(&conf);
    }
    let pod = host.container();
    let conf = with(
        &conf(host.host_local(&["10.9.0.0/24"])),
        json!({"mode": "source"}),
    );
    let told = host.call("macvlan", &pod).fail("ADD", &conf);
    assert_eq!(told, (999, r#"unknown macvlan mode: "source"; "#.into()));
    host.call("macvlan", &pod).del(&conf);
}

#[test]
fn mtu_is_at_most_the_masters() {
    if !ready() {
        return;
    }
    let (host, _neighbour) = network();
    let pod = host.container();
    let conf = conf(host.host_local(&["10.9.0.0/24"]));
    let before = host.snapshot();
    let call = host.call("macvlan", &pod);
    for mtu in [1401, -1] {
        let told = call.fail("ADD", &with(&conf, json!({"mtu": mtu})));
        assert_eq!(
            told,
            (
                999,
                format!("invalid MTU {mtu}, must be [0, master MTU(1400)]; ")
            )
        );
    }
    host.assert_like(&before, "after the refusals");
    call.add(&with(&conf, json!({"mtu": 1300})));
    assert_eq!(pod.link("eth0")["mtu"], 1300);
}

#[test]
fn the_master_may_be_in_the_container() {
    if !ready() {
        return;
    }
    let host = Host::new();
    let pod = host.container();
    pod.ip("link add up0 type veth peer name up1");
    pod.ip("link set up0 up");
    pod.ip("link set up1 up");
    let conf = conf(host.host_local(&["10.9.0.0/24"]));
    let call = host.call("macvlan", &pod);
    let (code, told) = call.fail("ADD", &conf);
    assert_eq!(code, 999);
    assert!(
        told.starts_with("Link not found; there is no link \"up0\" in the host"),
        "{told}"
    );
    let conf = with(&conf, json!({"linkInContainer": true}));
    let result = call.add(&conf);
    assert_eq!(pod.link("eth0")["linkinfo"]["info_kind"], "macvlan");
    call.check(&conf, &result);
    call.del(&conf);
    assert!(pod.link("up0").is_object());
}

#[test]
fn the_length_of_the_broadcast_queue_is_asked_for() {
    if !ready() {
        return;
    }
    let (host, _neighbour) = network();
    let pod = host.container();
    let conf = with(
        &conf(host.host_local(&["10.9.0.0/24"])),
        json!({"bcqueuelen": 500}),
    );
    host.call("macvlan", &pod).add(&conf);
    assert_eq!(data(&pod)["bcqueuelen"], 500);
}

#[test]
fn the_hardware_address_comes_from_three_places_in_order() {
    if !ready() {
        return;
    }
    let (host, _neighbour) = network();
    let mac = |more: Value, args: &str| {
        let pod = host.container();
        let conf = with(&conf(json!({})), more);
        let call = host.call("macvlan", &pod).env("CNI_ARGS", args);
        call.add(&conf);
        let mac = pod.link("eth0")["address"].as_str().unwrap().to_owned();
        call.del(&conf);
        mac
    };
    let (key, args) = (json!({"mac": "02:00:00:00:00:01"}), "MAC=02:00:00:00:00:02");
    let runtime = with(&key, json!({"RuntimeConfig": {"mac": "02:00:00:00:00:03"}}));
    assert_eq!(mac(key.clone(), ""), "02:00:00:00:00:01");
    assert_eq!(mac(key, args), "02:00:00:00:00:02");
    assert_eq!(mac(runtime, args), "02:00:00:00:00:03");
    let pod = host.container();
    let told = host
        .call("macvlan", &pod)
        .fail("ADD", &with(&conf(json!({})), json!({"mac": "zz"})));
    assert_eq!(
        told,
        (
            999,
            "invalid args zz for MAC addr: address zz: invalid MAC address; ".into()
        )
    );
}

#[test]
fn a_network_without_addresses_is_added_and_checked() {
    if !ready() {
        return;
    }
    let (host, _neighbour) = network();
    let pod = host.container();
    let conf = conf(json!({}));
    let call = host.call("macvlan", &pod);
    let result = call.add(&conf);
    assert_eq!(result.get("ips"), None);
    assert!(pod.is_up("eth0"));
    call.check(&conf, &result);
    pod.ip("link del eth0");
    assert!(
        call.check_fails(&conf, &result)
            .starts_with("Container interface eth0 not found")
    );
}

#[test]
fn dns_is_the_configurations_or_else_ipams() {
    if !ready() {
        return;
    }
    let (host, _neighbour) = network();
    let answer = r#"{"cniVersion":"1.0.0","ips":[{"address":"10.9.0.5/24"}],"dns":{"nameservers":["10.0.0.53"]}}"#;
    let ipam = host.script(
        "told",
        &format!("[ $CNI_COMMAND = ADD ] && echo '{answer}'; exit 0"),
    );
    let own = json!({"nameservers": ["10.0.0.54"], "search": ["pods.example"]});
    for (more, expected) in [
        (json!({}), json!({"nameservers": ["10.0.0.53"]})),
        (json!({ "dns": own }), own.clone()),
    ] {
        let pod = host.container();
        let result = host
            .call("macvlan", &pod)
            .add(&with(&conf(ipam.clone()), more));
        assert_eq!(result["dns"], expected);
    }
}

#[test]
fn del_without_the_namespace_gives_the_address_back() {
    if !ready() {
        return;
    }
    let (host, _neighbour) = network();
    let conf = conf(host.host_local(&["10.9.0.0/24"]));
    for path in ["", "/var/run/netns/npt-gone"] {
        let pod = host.container();
        let before = host.snapshot();
        host.call("macvlan", &pod).add(&conf);
        assert_eq!(host.leased().len(), 1);
        let call = host.call("macvlan", &pod).netns(path);
        drop(pod);
        call.del(&conf);
        call.del(&conf);
        assert_eq!(host.leased(), [""; 0]);
        host.assert_like(&before, "after DEL");
    }
}

#[test]
fn the_link_is_there_when_ipam_is_asked() {
    if !ready() {
        return;
    }
    let (host, _neighbour) = network();
    let pod = host.container();
    let body = r#"[ $CNI_COMMAND = ADD ] || exit 0
nsenter --net=$CNI_NETNS ip link show $CNI_IFNAME > /dev/null || exit 1
echo '{"ips":[{"address":"10.9.0.5/24"}]}'"#;
    let conf = conf(host.script("dhcp-like", body));
    host.call("macvlan", &pod).add(&conf);
    assert_eq!(host.calls(), ["ADD"]);
}

#[test]
fn an_interface_name_that_is_taken_is_left_alone_also_by_the_del_that_follows() {
    if !ready() {
        return;
    }
    let (host, _neighbour) = network();
    let pod = host.container();
    let first = conf(host.host_local(&["10.9.0.0/24"]));
    let second = with(&first, json!({"name": "other"}));
    let call = host.call("macvlan", &pod);
    let result = call.add(&first);
    let before = host.snapshot();
    let told = call.fail("ADD", &second);
    host.assert_like(&before, "after the refusal");
    assert_eq!(
        told,
        (
            999,
            r#"failed to rename macvlan to "eth0": file exists; "#.into()
        )
    );
    call.del(&second);
    call.check(&first, &result);
    assert_eq!(pod.ip_json("link").as_array().unwrap().len(), 2);
}

#[test]
fn status_tells_when_the_master_is_missing() {
    if !ready() {
        return;
    }
    let (host, _neighbour) = network();
    let conf = with(
        &conf(host.script("healthy", "exit 0")),
        json!({"cniVersion": "1.1.0"}),
    );
    let call = host.call("macvlan", &host.net);
    call.succeed("STATUS", &conf);
    let told = call.fail("STATUS", &with(&conf, json!({"master": "nobody"})));
    assert_eq!(told, (50, r#"master "nobody": Link not found; "#.into()));
    call.succeed("GC", &with(&conf, json!({"cni.dev/valid-attachments": []})));
    assert_eq!(call.fail("GC", &conf).0, 7);
    assert_eq!(host.calls(), ["STATUS", "GC"]);
}

/// Keys that make an ADD go another way, and how many points it has at least.
pub(crate) fn shapes() -> [(Value, u32); 4] {
    [
        (json!({}), 18),
        (json!({ "linkInContainer": true }), 18),
        (
            json!({ "mode": "passthru", "mac": "02:00:00:00:00:07" }),
            18,
        ),
        (json!({ "ipam": null }), 6),
    ]
}

/// A network of this shape with an address of each family; its master is made when it is to be in the container.
pub(crate) fn shape(host: &Host, pod: &Namespace, more: Value) -> Value {
    if more["linkInContainer"] == true {
        // Else these links change once more, a second after they came up.
        pod.write_sysctl("ipv6/conf/default/accept_dad", "0");
        for line in [
            "add up0 type veth peer name up1",
            "set up0 up",
            "set up1 up",
        ] {
            pod.ip(&format!("link {line}"));
        }
    }
    with(
        &conf(host.host_local(&["10.9.0.0/24", "fd00:9::/64"])),
        more,
    )
}

#[test]
fn a_failure_at_any_point_leaves_everything_as_it_was() {
    if !ready() {
        return;
    }
    for (more, least) in shapes() {
        let (host, _neighbour) = network();
        let pod = host.container();
        let conf = shape(&host, &pod, more);
        let points = crate::failure::fail_at_every_point(&host, &pod, "macvlan", &conf);
        assert!(points >= least, "{points}");
    }
}
