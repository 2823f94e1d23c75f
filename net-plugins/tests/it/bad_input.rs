//! Wrong input ends in an error that names it, within the deadline, and leaves nothing behind.

use serde_json::{Value, json};

use crate::world::{Host, ready, with};

pub(crate) fn bridge(ipam: Value) -> Value {
    json!({ "cniVersion": "1.0.0", "name": "net", "type": "bridge", "bridge": "br0", "ipam": ipam })
}

#[test]
fn values_that_make_no_sense_are_named() {
    if !ready() {
        return;
    }
    let host = Host::new();
    let pod = host.container();
    let before = host.snapshot();
    let base = bridge(host.host_local(&["10.9.0.0/24"]));
    let cases = [
        (
            json!({"vlan": 4095}),
            999,
            "invalid VLAN ID 4095 (must be between 0 and 4094)",
        ),
        (
            json!({"vlan": -1}),
            999,
            "invalid VLAN ID -1 (must be between 0 and 4094)",
        ),
        (
            json!({"vlanTrunk": [{"minID": 0, "maxID": 5}]}),
            999,
            "incorrect trunk minID parameter",
        ),
        (
            json!({"vlanTrunk": [{"minID": 1, "maxID": 4095}]}),
            999,
            "incorrect trunk maxID parameter",
        ),
        (
            json!({"vlanTrunk": [{"id": 4095}]}),
            999,
            "incorrect trunk id parameter",
        ),
        (
            json!({"vlanTrunk": [{"minID": 9, "maxID": 5}]}),
            999,
            "minID is greater than maxID in trunk parameter",
        ),
        (
            json!({"vlanTrunk": [{"maxID": 5}]}),
            999,
            "minID and maxID should be configured simultaneously, minID is missing",
        ),
        (
            json!({"vlanTrunk": [{"minID": 5}]}),
            999,
            "minID and maxID should be configured simultaneously, maxID is missing",
        ),
        (
            json!({"hairpinMode": true, "promiscMode": true}),
            999,
            "cannot set hairpin mode and promiscuous mode at the same time",
        ),
        (
            json!({"ipMasqBackend": "x"}),
            999,
            r#"unknown ipmasq backend "x""#,
        ),
        (
            json!({"runtimeConfig": {"mac": "zz"}}),
            999,
            "failed to make veth pair: address zz: invalid MAC address",
        ),
        (
            json!({"bridge": "a-name-that-is-too-long"}),
            7,
            "bridge: interface name \"a-name-that-is-too-long\" is too long",
        ),
        (
            json!({"bridge": "a/b"}),
            7,
            "bridge: interface name \"a/b\" contains",
        ),
        (json!({"mtu": 70000}), 7, "invalid MTU 70000"),
        (json!({"mtu": -5}), 7, "invalid MTU -5"),
        (json!({"mtu": "big"}), 6, "error unmarshall network config"),
        (
            json!({"ipamTimeout": 0}),
            7,
            "ipamTimeout must be a number of seconds",
        ),
        (
            json!({"ipam": {"type": "nobody"}}),
            999,
            r#"failed to find plugin "nobody" in path ["#,
        ),
    ];
    for (more, code, text) in cases {
        let (got, told) = host
            .call("bridge", &pod)
            .fail("ADD", &with(&base, more.clone()));
        assert_eq!(got, code, "{more}: {told}");
        assert!(told.starts_with(text), "{more}: {told}");
    }
    let call = host.call("bridge", &pod).env("CNI_ARGS", "X=y");
    assert_eq!(call.fail("ADD", &base).0, 4);
    host.assert_like(&before, "after all refusals");
}

#[test]
fn a_bridge_that_is_another_kind_of_link_is_left_alone() {
    if !ready() {
        return;
    }
    let host = Host::new();
    let pod = host.container();
    host.net.ip("link add br0 type veth peer name br1");
    let before = host.snapshot();
    let (_, told) = host
        .call("bridge", &pod)
        .fail("ADD", &bridge(host.host_local(&["10.9.0.0/24"])));
    assert!(
        told.starts_with(
            r#"failed to create bridge "br0": "br0" already exists but is not a bridge"#
        ),
        "{told}"
    );
    host.assert_like(&before, "after the refusal");
}

#[test]
fn an_interface_name_that_is_taken_is_left_alone() {
    if !ready() {
        return;
    }
    let host = Host::new();
    let pod = host.container();
    pod.ip("link add eth0 type veth peer name other");
    let before = host.snapshot();
    for plugin in ["bridge", "routed"] {
        let (_, told) = host
            .call(plugin, &pod)
            .fail("ADD", &bridge(host.host_local(&["10.9.0.0/24"])));
        assert!(
            told.starts_with(r#"container veth name ("eth0") peer provided ("veth"#),
            "{told}"
        );
        assert!(told.contains("already exists"), "{told}");
        host.assert_like(&before, "after the refusal");
        assert!(pod.link("eth0").is_object());
    }
}

#[test]
fn the_link_that_a_network_goes_out_by_must_be_there() {
    if !ready() {
        return;
    }
    let host = Host::new();
    let pod = host.container();
    let before = host.snapshot();
    for (plugin, key) in [("macvlan", "master"), ("routed", "uplink")] {
        let conf = bridge(host.host_local(&["10.9.0.0/24"]));
        for (link, code, text) in [
            (
                "up7",
                999,
                r#"Link not found; there is no link "up7" in the host"#.to_owned(),
            ),
            (
                "a-name-that-is-too-long",
                7,
                format!(
                    r#"{key}: interface name "a-name-that-is-too-long" is too long (at most 15 bytes)"#
                ),
            ),
        ] {
            let conf = with(&conf, json!({ key: link }));
            let (got, told) = host.call(plugin, &pod).fail("ADD", &conf);
            assert_eq!(got, code, "{plugin}: {told}");
            assert!(told.starts_with(&text), "{plugin}: {told}");
        }
    }
    let of_a_vlan = json!({"bridge": "a-bridge-name", "vlan": 4000, "isGateway": true});
    let conf = with(&bridge(host.host_local(&["10.9.0.0/24"])), of_a_vlan);
    let (code, told) = host.call("bridge", &pod).fail("ADD", &conf);
    assert_eq!(code, 7, "{told}");
    assert!(
        told.contains(r#""a-bridge-name.4000" is too long"#),
        "{told}"
    );
    let call = host.call("routed", &pod).ifname("a-name-that-is-too-long");
    let (code, told) = call.fail("ADD", &bridge(host.host_local(&["10.9.0.0/24"])));
    assert_eq!(code, 4, "{told}");
    assert!(told.contains("interface name is too long"), "{told}");
    host.assert_like(&before, "after the refusals");
}

#[test]
fn a_namespace_that_is_none_is_named_and_the_rest_of_a_del_is_done() {
    if !ready() {
        return;
    }
    let host = Host::new();
    let pod = host.container();
    let before = host.snapshot();
    for plugin in ["bridge", "macvlan", "routed"] {
        let conf = with(
            &bridge(host.host_local(&["10.9.0.0/24"])),
            json!({"master": "lo"}),
        );
        let call = host.call(plugin, &pod).netns("/no/such/netns");
        let (_, told) = call.fail("ADD", &conf);
        let text = r#"failed to open netns "/no/such/netns": failed to Statfs "/no/such/netns": no such file or directory"#;
        assert!(told.starts_with(text), "{plugin}: {told}");
        let call = host.call(plugin, &pod).netns("/etc/passwd");
        let (_, told) = call.fail("ADD", &conf);
        assert!(
            told.starts_with(
                r#"failed to open netns "/etc/passwd": unknown FS magic on "/etc/passwd": "#
            ),
            "{told}"
        );
        assert!(call.fail("DEL", &conf).1.contains("unknown FS magic"));
        let call = host.call(plugin, &pod).netns("/proc/self/ns/mnt");
        assert!(
            call.fail("ADD", &conf)
                .1
                .starts_with(r#"failed to open netns "/proc/self/ns/mnt""#)
        );
        host.assert_like(&before, plugin);
    }
    let conf = bridge(host.host_local(&["10.9.0.0/24"]));
    host.call("bridge", &pod).add(&conf);
    host.call("bridge", &pod)
        .netns("/etc/passwd")
        .fail("DEL", &conf);
    assert_eq!(host.leased(), [""; 0]);
    assert_eq!(pod.link("eth0"), Value::Null);
}

#[test]
fn the_hosts_own_namespace_is_refused_before_anything_is_done() {
    if !ready() {
        return;
    }
    let host = Host::new();
    host.net.ip("link add eth0 type veth peer name other");
    let before = host.snapshot();
    for plugin in ["bridge", "macvlan", "routed"] {
        let conf = with(
            &bridge(host.host_local(&["10.9.0.0/24"])),
            json!({"master": "other"}),
        );
        for command in ["ADD", "DEL"] {
            let (code, told) = host.call(plugin, &host.net).fail(command, &conf);
            assert_eq!(code, 8, "{plugin} {command} {told}");
            let text = "plugin's netns and netns from CNI_NETNS should not be the same";
            assert!(told.starts_with(text), "{plugin} {command} {told}");
        }
    }
    host.assert_like(&before, "after the refusals");
}

#[test]
fn a_container_with_ipv6_switched_off_gets_it_back_when_ipam_gives_such_an_address() {
    if !ready() {
        return;
    }
    let host = Host::new();
    for plugin in ["bridge", "routed"] {
        let pod = host.container();
        for place in ["all", "default"] {
            pod.write_sysctl(&format!("ipv6/conf/{place}/disable_ipv6"), "1");
        }
        let conf = bridge(host.host_local(&["10.9.0.0/24", "fd00:9::/64"]));
        let conf = with(&conf, json!({"isGateway": true}));
        host.call(plugin, &pod).add(&conf);
        assert!(pod.reaches("fd00:9::1"), "{plugin}");
        let kept = pod.sysctl("ipv6/conf/eth0/keep_addr_on_down");
        assert_eq!(kept, "1", "{plugin}: the address goes when the link does");
        host.call(plugin, &pod).del(&conf);
    }
}
