//! What CHECK of the routed plugin notices on the host.

use serde_json::json;

use crate::routed::{conf, end};
use crate::world::{Host, ready, run, with};

#[test]
fn check_notices_what_the_host_lacks() {
    if !ready() {
        return;
    }
    let breakages = [
        (
            "route del 10.9.0.2/32 dev END",
            "the host has no route to 10.9.0.2/32 over veth",
        ),
        (
            "addr del fd00:9::1/128 dev END",
            "gateway address fd00:9::1/128 not found on veth",
        ),
        ("link set END down", "Failed to"),
    ];
    for (breakage, text) in breakages {
        let host = Host::new();
        let pod = host.container();
        let conf = conf(host.host_local(&["10.9.0.0/24", "fd00:9::/64"]));
        let call = host.call("routed", &pod);
        let result = call.add(&conf);
        call.check(&conf, &result);
        host.net.ip(&breakage.replace("END", &end(&result)));
        let told = call.check_fails(&conf, &result);
        assert!(
            told.starts_with(text) || told.contains("is down"),
            "{breakage}: {told}"
        );
    }
    let host = Host::new();
    let pod = host.container();
    let conf = conf(host.host_local(&["10.9.0.0/24"]));
    host.call("routed", &pod).add(&conf);
    let told = host.call("routed", &pod).fail("CHECK", &conf);
    assert!(
        told.1.starts_with("ptp: Required prevResult missing"),
        "{}",
        told.1
    );
}

#[test]
fn check_notices_what_of_the_host_is_not_as_it_was_made() {
    if !ready() {
        return;
    }
    let breakages = [
        (
            "ip route change 10.9.0.2 dev END proto 78 scope link metric 5",
            "the host's route to 10.9.0.2/32 over",
        ),
        (
            "nft flush chain inet cni_plugins_masquerade masq_checks",
            "masquerading is broken: table \"cni_plugins_masquerade\" has no rule for 10.9.0.2/24",
        ),
        (
            "nft flush chain inet cni_plugins_masquerade postrouting",
            "masquerading is broken: postrouting",
        ),
        ("off ipv4/ip_forward", "forwarding is off"),
    ];
    for (breakage, text) in breakages {
        let host = Host::new();
        let pod = host.container();
        let more = json!({"routeProtocol": 77, "routeMetric": 5, "ipMasq": true});
        let conf = with(&conf(host.host_local(&["10.9.0.0/24"])), more);
        let call = host.call("routed", &pod);
        let result = call.add(&conf);
        call.check(&conf, &result);
        match breakage.split_once(' ').unwrap() {
            ("ip", rest) => drop(host.net.ip(&rest.replace("END", &end(&result)))),
            ("nft", rest) => drop(run(host.net.command("nft").args(rest.split(' ')))),
            (_, key) => host.net.write_sysctl(key, "0"),
        }
        let told = call.check_fails(&conf, &result);
        assert!(told.starts_with(text), "{breakage}: {told}");
    }
}

/// The rules are there, and as many as there should be, but for another address.
#[test]
fn check_notices_a_rule_for_another_address() {
    if !ready() {
        return;
    }
    let host = Host::new();
    let pod = host.container();
    let more = json!({"ipMasq": true});
    let conf = with(&conf(host.host_local(&["10.9.0.0/24"])), more);
    let call = host.call("routed", &pod);
    let result = call.add(&conf);
    let nft = |script: &str| run(host.net.command("nft").arg(script));
    let rules = nft("list table inet cni_plugins_masquerade");
    let load = |rules: &str| {
        nft(&format!(
            "delete table inet cni_plugins_masquerade\n{rules}"
        ))
    };
    // As somebody does who restores saved rules: nft writes the same ones in other words.
    load(&rules);
    call.check(&conf, &result);
    load(&rules.replace("saddr 10.9.0.2 ", "saddr 10.9.0.99 "));
    let told = call.check_fails(&conf, &result);
    assert!(told.contains("has no rule for 10.9.0.2/24"), "{told}");
    call.del(&conf);
}
