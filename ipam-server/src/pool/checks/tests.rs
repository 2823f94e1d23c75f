//! Every refusal, by its words.

use serde_json::{Value, json};

use super::*;

fn checked(settings: Value) -> Result<Checked> {
    check(&serde_json::from_value(settings).expect("well-formed"))
}

/// A pool with one field set.
fn with(subnet: &str, field: &str, value: Value) -> Result<Checked> {
    let mut settings = json!({ "name": "p", "subnet": subnet });
    settings[field] = value;
    checked(settings)
}

#[test]
fn a_name_and_a_subnet_are_enough() {
    let checked = checked(json!({ "name": "p", "subnet": "10.0.0.0/24" })).expect("accepted");
    assert_eq!(checked.gateway, Some(IpAddr::from([10, 0, 0, 1]).into()));
    assert_eq!(checked.ranges, None);
    assert_eq!(checked.reuse_delay_s, 60);
}

#[test]
fn a_refusal_names_the_field_and_its_value() {
    let refused = [
        ("10.0.0.0/24", "name", json!(""), "name \"\": "),
        ("10.0.0.0/24", "name", json!("a b"), "name \"a b\": "),
        ("10.0.0.0/24", "vrf", json!("a\0"), "vrf \"a\\0\": "),
        (
            "10.0.0.5/24",
            "name",
            json!("p"),
            "subnet 10.0.0.5/24: host bits are set; the network is 10.0.0.0/24",
        ),
        (
            "fd00::1/64",
            "name",
            json!("p"),
            "subnet fd00::1/64: host bits are set",
        ),
        (
            "0.0.0.0/0",
            "name",
            json!("p"),
            "subnet 0.0.0.0/0: it holds addresses of 0.0.0.0-0.255.255.255",
        ),
        (
            "192.0.0.0/2",
            "name",
            json!("p"),
            "subnet 192.0.0.0/2: it holds addresses of 224.0.0.0-239.255.255.255, which are multicast groups",
        ),
        (
            "255.255.255.255",
            "name",
            json!("p"),
            "subnet 255.255.255.255/32: it holds",
        ),
        (
            "::/0",
            "name",
            json!("p"),
            "subnet ::/0: it holds addresses of ::-::ffff:ffff:ffff:ffff, which are unspecified, loopback and IPv4 in IPv6",
        ),
        (
            "ff02::/64",
            "name",
            json!("p"),
            "subnet ff02::/64: it holds addresses of ff00::-ffff:",
        ),
        (
            "::ffff:10.0.0.0/120",
            "name",
            json!("p"),
            "IPv4-mapped IPv6 addresses are refused",
        ),
        (
            "::fffe:0:0/95",
            "name",
            json!("p"),
            "IPv4-mapped IPv6 addresses are refused",
        ),
        (
            "10.0.0.0/24",
            "gateway",
            json!("10.0.1.1"),
            "gateway 10.0.1.1: it is neither in subnet 10.0.0.0/24 nor link-local",
        ),
        (
            "10.0.0.0/24",
            "gateway",
            json!("fe80::1"),
            "gateway fe80::1: it is of another family than subnet 10.0.0.0/24",
        ),
        (
            "10.0.0.0/24",
            "gateway",
            json!("10.0.0.0"),
            "gateway 10.0.0.0: it is the network address of subnet 10.0.0.0/24",
        ),
        (
            "10.0.0.0/24",
            "gateway",
            json!("10.0.0.255"),
            "gateway 10.0.0.255: it is the broadcast address of subnet",
        ),
        (
            "fd00::/64",
            "gateway",
            json!("fd00::"),
            "gateway fd00::: it is the subnet-router anycast address of subnet fd00::/64",
        ),
        (
            "fd00::/64",
            "gateway",
            json!("::ffff:1.2.3.4"),
            "IPv4-mapped",
        ),
        (
            "10.0.0.7/32",
            "gateway",
            json!("10.0.0.7"),
            "gateway 10.0.0.7: it is the only address of subnet 10.0.0.7/32",
        ),
        ("10.0.0.0/24", "ranges", json!([]), "ranges []: "),
        (
            "10.0.0.0/24",
            "ranges",
            json!([{ "first": "10.0.0.1", "last": "10.0.0.2" }, { "first": "10.0.0.9", "last": "10.0.0.3" }]),
            "ranges[1]: first 10.0.0.9 is after last 10.0.0.3",
        ),
        (
            "10.0.0.0/24",
            "ranges",
            json!([{ "first": "10.0.1.1", "last": "10.0.1.2" }]),
            "ranges[0].first 10.0.1.1: it is outside subnet 10.0.0.0/24",
        ),
        (
            "10.0.0.0/24",
            "ranges",
            json!([{ "first": "10.0.0.1", "last": "10.0.1.2" }]),
            "ranges[0].last 10.0.1.2: it is outside subnet 10.0.0.0/24",
        ),
        (
            "10.0.0.0/24",
            "ranges",
            json!([{ "first": "10.0.0.1", "last": "fd00::1" }]),
            "ranges[0].last fd00::1: it is of another family than subnet 10.0.0.0/24",
        ),
        (
            "10.0.0.0/24",
            "ranges",
            json!([{ "first": "10.0.0.0", "last": "10.0.0.9" }]),
            "ranges[0].first 10.0.0.0: it is the network address of subnet 10.0.0.0/24, which is never leased",
        ),
        (
            "10.0.0.0/24",
            "ranges",
            json!([{ "first": "10.0.0.7", "last": "10.0.0.255" }]),
            "ranges[0].last 10.0.0.255: it is the broadcast address",
        ),
        (
            "fd00::/126",
            "ranges",
            json!([{ "first": "fd00::", "last": "fd00::1" }]),
            "ranges[0].first fd00::: it is the subnet-router anycast address",
        ),
        (
            "10.0.0.0/24",
            "ranges",
            json!([{ "first": "10.0.0.5", "last": "10.0.0.9" }, { "first": "10.0.0.1", "last": "10.0.0.5" }]),
            "ranges[0] 10.0.0.5-10.0.0.9 overlaps ranges[1] 10.0.0.1-10.0.0.5",
        ),
        (
            "10.0.0.0/24",
            "exclude",
            json!(["10.0.0.7", "10.0.0.9/30"]),
            "exclude[1] 10.0.0.9/30: host bits are set",
        ),
        (
            "10.0.0.0/24",
            "exclude",
            json!(["10.0.0.0/16"]),
            "exclude[0] 10.0.0.0/16: it is outside subnet 10.0.0.0/24",
        ),
        (
            "10.0.0.0/24",
            "exclude",
            json!(["fd00::1"]),
            "exclude[0] fd00::1/128: it is of another family",
        ),
        (
            "10.0.0.0/24",
            "routes",
            json!([{ "dst": "10.1.0.1/16" }]),
            "routes[0].dst 10.1.0.1/16: host bits are set",
        ),
        (
            "10.0.0.0/24",
            "routes",
            json!([{ "dst": "0.0.0.0/0", "gw": "fd00::1" }]),
            "routes[0].gw fd00::1: it is of another family than dst 0.0.0.0/0",
        ),
        (
            "10.0.0.0/24",
            "dns",
            json!({ "nameservers": ["10.0.0.53", "ns.example"] }),
            "dns.nameservers[1] \"ns.example\": it is not an address",
        ),
        (
            "10.0.0.0/24",
            "dns",
            json!({ "search": ["a\0b"] }),
            "dns.search[0] \"a\\0b\": holds a NUL",
        ),
        (
            "10.0.0.0/24",
            "dns",
            json!({ "domain": "d".repeat(254) }),
            "dns.domain ",
        ),
        (
            "10.0.0.0/24",
            "dns",
            json!({ "options": vec!["o"; 65] }),
            "dns.options: 65 items",
        ),
        (
            "10.0.0.0/24",
            "labels",
            json!({ "team": "v".repeat(1025) }),
            "labels[\"team\"] ",
        ),
        (
            "10.0.0.0/24",
            "labels",
            json!({ "a\0": "v" }),
            "labels: key \"a\\0\"",
        ),
        (
            "10.0.0.0/24",
            "reuse_delay_s",
            json!(31_536_001),
            "reuse_delay_s 31536001: at most 31536000",
        ),
    ];
    for (subnet, field, value, words) in refused {
        let error =
            with(subnet, field, value.clone()).expect_err(&format!("{subnet} {field} {value}"));
        assert!(matches!(error, Error::Invalid(_)), "{error}");
        assert!(
            error.to_string().contains(words),
            "{error}\n  should say {words}"
        );
    }
}

#[test]
fn what_is_unusual_but_right_is_accepted() {
    let accepted = [
        ("10.0.0.0/24", "gateway", json!(null)),
        ("10.0.0.0/24", "gateway", json!("169.254.1.1")),
        ("fd00::/64", "gateway", json!("fe80::1")),
        ("fd00::/64", "gateway", json!("fd00::ffff:ffff:ffff:ffff")),
        ("10.0.0.6/31", "gateway", json!("10.0.0.6")),
        (
            "fd00::/64",
            "ranges",
            json!([{ "first": "fd00::1", "last": "fd00::ffff:ffff:ffff:ffff" }]),
        ),
        (
            "10.0.0.6/31",
            "ranges",
            json!([{ "first": "10.0.0.6", "last": "10.0.0.7" }]),
        ),
        (
            "10.0.0.0/24",
            "ranges",
            json!([{ "first": "10.0.0.5", "last": "10.0.0.9" }, { "first": "10.0.0.10", "last": "10.0.0.10" }]),
        ),
        ("10.0.0.0/24", "exclude", json!(["10.0.0.0/24"])),
        (
            "10.0.0.0/24",
            "routes",
            json!([{ "dst": "0.0.0.0/0" }, { "dst": "::/0", "gw": "fd00::1" }]),
        ),
        ("240.0.0.0/8", "reuse_delay_s", json!(0)),
    ];
    for (subnet, field, value) in accepted {
        let what = format!("{subnet} {field} {value}");
        if let Err(error) = with(subnet, field, value) {
            panic!("{what}: {error}");
        }
    }
}

#[test]
fn a_subnet_without_an_address_to_spare_has_no_gateway_unless_it_is_named() {
    for subnet in ["10.0.0.6/31", "10.0.0.6/32", "fd00::6/127", "fd00::6/128"] {
        let checked = with(subnet, "name", json!("p")).expect("accepted");
        assert_eq!(checked.gateway, None, "{subnet}");
    }
}

#[test]
fn lists_are_bounded() {
    let ranges: Vec<_> = (0..1025u32)
        .map(|number| IpAddr::V4((0x0a00_0001 + number * 2).into()))
        .map(|address| json!({ "first": address, "last": address }))
        .collect();
    assert!(with("10.0.0.0/16", "ranges", json!(ranges[..1024])).is_ok());
    let error = with("10.0.0.0/16", "ranges", json!(ranges)).expect_err("too many");
    assert!(
        error.to_string().starts_with("ranges: 1025 items"),
        "{error}"
    );

    let exclude = vec!["10.0.0.7"; 4097];
    assert!(with("10.0.0.0/16", "exclude", json!(exclude[..4096])).is_ok());
    assert!(with("10.0.0.0/16", "exclude", json!(exclude)).is_err());
}
