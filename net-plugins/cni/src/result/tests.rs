//! Results down to every version and up again.
#![expect(clippy::unwrap_used, reason = "a test may fail by panicking")]

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnetwork::IpNetwork;
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::{CniResult, Dns, Interface, Ip, Route};
use crate::version::{SUPPORTED, Version};

fn full() -> CniResult {
    let current = json!({
        "interfaces": [
            {"name": "br0", "mac": "02:00:00:00:00:01", "mtu": 1500},
            {"name": "eth0", "mac": "02:00:00:00:00:02", "sandbox": "/run/netns/x", "socketPath": "/s", "pciID": "0"},
        ],
        "ips": [
            {"interface": 1, "address": "10.0.0.5/24", "gateway": "10.0.0.1"},
            {"interface": 1, "address": "10.0.0.6/24"},
            {"interface": 1, "address": "fd00::5/64", "gateway": "fd00::1"},
        ],
        "routes": [
            {"dst": "0.0.0.0/0", "gw": "10.0.0.1", "mtu": 1400, "advmss": 1360, "priority": 5, "table": 7, "scope": 0},
            {"dst": "::/0"},
        ],
        "dns": {"nameservers": ["10.0.0.53"], "domain": "d", "search": ["s"], "options": ["o"]},
    });
    CniResult::from_json(&current, Version::V1_1_0).unwrap()
}

#[test]
fn from_1_0_0_on_everything_is_shown() {
    let shown = full().to_json(Version::V1_0_0).unwrap();
    assert_eq!(shown["cniVersion"], "1.0.0");
    assert_eq!(
        shown["interfaces"][1],
        json!({"name": "eth0", "mac": "02:00:00:00:00:02", "sandbox": "/run/netns/x", "socketPath": "/s", "pciID": "0"})
    );
    assert_eq!(shown["interfaces"][0]["mtu"], 1500);
    assert_eq!(
        shown["ips"][1],
        json!({"interface": 1, "address": "10.0.0.6/24"})
    );
    assert_eq!(shown["routes"][0]["scope"], 0);
    assert_eq!(shown["routes"][1], json!({"dst": "::/0"}));
}

#[test]
fn from_0_3_0_to_0_4_0_addresses_name_their_family_and_interfaces_know_less() {
    for version in [Version::V0_3_0, Version::V0_3_1, Version::V0_4_0] {
        let shown = full().to_json(version).unwrap();
        assert_eq!(shown["cniVersion"], version.as_str());
        assert_eq!(
            shown["interfaces"],
            json!([
                {"name": "br0", "mac": "02:00:00:00:00:01"},
                {"name": "eth0", "mac": "02:00:00:00:00:02", "sandbox": "/run/netns/x"},
            ])
        );
        assert_eq!(
            shown["ips"][2],
            json!({"version": "6", "interface": 1, "address": "fd00::5/64", "gateway": "fd00::1"})
        );
        assert_eq!(shown["ips"][0]["version"], "4");
        assert_eq!(shown["routes"][0]["advmss"], 1360);
    }
}

#[test]
fn before_0_3_0_the_first_address_of_each_family_wins() {
    for version in [Version::V0_1_0, Version::V0_2_0] {
        let shown = full().to_json(version).unwrap();
        assert_eq!(
            shown,
            json!({
                "cniVersion": version.as_str(),
                "ip4": {"ip": "10.0.0.5/24", "gateway": "10.0.0.1", "routes": [{"dst": "0.0.0.0/0", "gw": "10.0.0.1"}]},
                "ip6": {"ip": "fd00::5/64", "gateway": "fd00::1", "routes": [{"dst": "::/0"}]},
                "dns": {"nameservers": ["10.0.0.53"], "domain": "d", "search": ["s"], "options": ["o"]},
            })
        );
    }
}

#[test]
fn before_0_3_0_a_route_without_an_address_of_its_family_is_dropped() {
    let mut result = full();
    result.ips.truncate(1);
    let shown = result.to_json(Version::V0_2_0).unwrap();
    assert_eq!(shown.get("ip6"), None);
    assert_eq!(shown["ip4"]["routes"].as_array().unwrap().len(), 1);
}

#[test]
fn before_0_3_0_a_result_without_an_address_cannot_be_shown() {
    let mut result = full();
    result.ips.clear();
    for version in [Version::V0_1_0, Version::V0_2_0] {
        let error = result.to_json(version).unwrap_err();
        assert_eq!(error.code, 999);
        assert_eq!(error.msg, "cannot convert: no valid IP addresses");
    }
    assert!(result.to_json(Version::V0_3_0).is_ok());
}

#[test]
fn an_empty_dns_is_shown_only_before_1_0_0() {
    let result = CniResult {
        dns: Dns::default(),
        ..full()
    };
    for version in SUPPORTED {
        let shown = result.to_json(version).unwrap();
        let dns = (version < Version::V1_0_0).then(|| json!({}));
        assert_eq!(shown.get("dns"), dns.as_ref(), "{version}");
    }
    let nothing = CniResult::default().to_json(Version::V1_1_0).unwrap();
    assert_eq!(nothing, json!({"cniVersion": "1.1.0"}));
}

#[test]
fn a_foreign_result_is_read_as_upstream_would() {
    let read = CniResult::from_json(
        &json!({
            "CNIVersion": "", "interfaces": null, "extra": 1, "routes": [{"Dst": "10.0.0.0/8", "GW": "", "mtu": 0}],
            "ips": [{"Address": "10.0.0.5/24", "gateway": null}, {"address": "10.0.0.6/24", "gateway": "::ffff:10.0.0.1"}],
        }),
        Version::V1_0_0,
    )
    .unwrap();
    assert_eq!(
        read.routes,
        [Route::new("10.0.0.0/8".parse().unwrap(), None)]
    );
    assert_eq!(read.ips[0].gateway, None);
    assert_eq!(read.ips[1].gateway, Some("10.0.0.1".parse().unwrap()));
}

#[test]
fn a_result_that_is_none_is_refused() {
    let code = |value: Value| {
        CniResult::from_json(&value, Version::V1_0_0)
            .unwrap_err()
            .code
    };
    assert_eq!(code(json!({"cniVersion": "9.9.9"})), 1);
    for bad in [
        json!([1]),
        json!("x"),
        json!({"cniVersion": 1}),
        json!({"ips": {}}),
        json!({"ips": [null]}),
        json!({"ips": [{}]}),
        json!({"ips": [{"address": "10.0.0.5"}]}),
        json!({"ips": [{"address": "10.0.0.5/33"}]}),
        json!({"ips": [{"address": "10.0.0.5/255.0.0.0"}]}),
        json!({"ips": [{"address": "10.0.0.5/+8"}]}),
        json!({"ips": [{"address": "10.0.0.5/8/8"}]}),
        json!({"ips": [{"address": "10.0.0.5/8", "interface": -1}]}),
        json!({"ips": [{"address": "10.0.0.5/8", "gateway": "x"}]}),
        json!({"routes": [{"gw": "10.0.0.1"}]}),
        json!({"cniVersion": "0.2.0", "ip4": {"gateway": "10.0.0.1"}}),
    ] {
        assert_eq!(code(bad.clone()), 6, "{bad}");
    }
}

fn network() -> impl Strategy<Value = IpNetwork> {
    let v4 = (any::<u32>(), 0u8..=32).prop_map(|(a, p)| (IpAddr::V4(Ipv4Addr::from(a)), p));
    let v6 = (any::<u128>(), 0u8..=128).prop_map(|(a, p)| (IpAddr::V6(Ipv6Addr::from(a)), p));
    prop_oneof![v4, v6].prop_map(|(address, prefix)| IpNetwork::new(address, prefix).unwrap())
}

fn next_hop() -> impl Strategy<Value = Option<IpAddr>> {
    option::of(network().prop_map(|n| n.ip().to_canonical()))
}

fn interface() -> impl Strategy<Value = Interface> {
    (
        "[a-z]{0,5}",
        ".{0,4}",
        option::of(1u32..),
        ".{0,4}",
        ".{0,3}",
        ".{0,3}",
    )
        .prop_map(|(name, mac, mtu, sandbox, socket_path, pci_id)| Interface {
            name,
            mac,
            mtu,
            sandbox,
            socket_path,
            pci_id,
        })
}

fn route() -> impl Strategy<Value = Route> {
    let set = || option::of(1u32..);
    let any_number = || option::of(any::<u32>());
    (
        network(),
        next_hop(),
        set(),
        set(),
        set(),
        any_number(),
        any_number(),
    )
        .prop_map(|(dst, gw, mtu, advmss, priority, table, scope)| Route {
            dst,
            gw,
            mtu,
            advmss,
            priority,
            table,
            scope,
        })
}

prop_compose! {
    fn result()(
        interfaces in vec(interface(), 0..4),
        ips in vec((option::of(any::<u32>()), network(), next_hop()), 0..5),
        routes in vec(route(), 0..4),
        (nameservers, domain, search, options) in (vec(".{0,3}", 0..3), ".{0,3}", vec(".{0,3}", 0..3), vec(".{0,3}", 0..2)),
    ) -> CniResult {
        let ips = ips.into_iter().map(|(interface, address, gateway)| Ip { interface, address, gateway });
        CniResult { interfaces, ips: ips.collect(), routes, dns: Dns { nameservers, domain, search, options } }
    }
}

/// What of `result` a version can express.
fn expressible(mut result: CniResult, version: Version) -> CniResult {
    if version >= Version::V1_0_0 {
        return result;
    }
    for interface in &mut result.interfaces {
        interface.mtu = None;
        interface.socket_path.clear();
        interface.pci_id.clear();
    }
    if version >= Version::V0_3_0 {
        return result;
    }
    let mut early = CniResult {
        dns: result.dns,
        ..CniResult::default()
    };
    for v4 in [true, false] {
        if let Some(ip) = result.ips.iter().find(|ip| ip.address.is_ipv4() == v4) {
            early.ips.push(Ip {
                interface: None,
                ..ip.clone()
            });
            let routes = result.routes.iter().filter(|r| r.dst.is_ipv4() == v4);
            early.routes.extend(routes.map(|r| Route::new(r.dst, r.gw)));
        }
    }
    early
}

fn json_value() -> impl Strategy<Value = Value> {
    let key = prop_oneof![
        Just("ips"),
        Just("ip4"),
        Just("address"),
        Just("interfaces"),
        Just("cniVersion"),
        Just("dns"),
        Just("mtu"),
        Just("x")
    ];
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        ".{0,6}".prop_map(Value::from),
        network().prop_map(|n| Value::from(n.to_string())),
        (0usize..7).prop_map(|i| Value::from(SUPPORTED[i].as_str())),
    ];
    leaf.prop_recursive(4, 24, 4, move |inner| {
        let map = vec((key.clone(), inner.clone()), 0..4);
        prop_oneof![
            vec(inner, 0..4).prop_map(Value::from),
            map.prop_map(|m| m
                .into_iter()
                .map(|(k, v)| (k.to_owned(), v))
                .collect::<Value>()),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn what_a_version_can_express_survives_going_down_and_up(result in result()) {
        for version in SUPPORTED {
            let expected = expressible(result.clone(), version);
            match result.to_json(version) {
                Ok(shown) => {
                    prop_assert_eq!(&shown["cniVersion"], version.as_str());
                    let read = CniResult::from_json(&shown, Version::LATEST).unwrap();
                    prop_assert_eq!(&read, &expected);
                    prop_assert_eq!(read.to_json(version).unwrap(), shown);
                }
                Err(_) => prop_assert!(version < Version::V0_3_0 && result.ips.is_empty()),
            }
        }
    }

    #[test]
    fn any_json_is_read_or_refused_without_a_panic(value in json_value()) {
        for version in SUPPORTED {
            if let Err(error) = CniResult::from_json(&value, version) {
                prop_assert!(error.code == 6 || error.code == 1);
            }
        }
    }
}
