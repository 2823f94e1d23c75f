//! What CHECK says of the container's interface, the same for every plugin.

use serde_json::{Value, json};

use crate::call::Call;
use crate::world::{Host, Namespace, ready};

const PLUGINS: [&str; 3] = ["bridge", "macvlan", "routed"];

/// A host with a master for macvlan, and a network that suits every plugin.
fn network(plugin: &str) -> (Host, Value) {
    let host = Host::new();
    host.net.ip("link add up0 type veth peer name up1");
    host.net.ip("link set up0 up");
    host.net.ip("link set up1 up");
    let conf = json!({
        "cniVersion": "1.0.0", "name": "net", "type": plugin, "bridge": "br0", "master": "up0",
        "ipam": host.host_local(&["10.9.0.0/24"]),
    });
    (host, conf)
}

/// Attaches a container, breaks something in it, and returns what CHECK says then.
fn told_after(plugin: &str, breakage: impl Fn(&Namespace)) -> String {
    let (host, conf) = network(plugin);
    let pod = host.container();
    let call: Call<'_> = host.call(plugin, &pod);
    let result = call.add(&conf);
    call.check(&conf, &result);
    breakage(&pod);
    call.check_fails(&conf, &result)
}

#[test]
fn a_prev_result_is_needed_and_must_be_of_this_namespace() {
    if !ready() {
        return;
    }
    for (plugin, missing) in [
        ("bridge", "Required prevResult missing"),
        ("macvlan", "required prevResult missing"),
        ("routed", "ptp: Required prevResult missing"),
    ] {
        let (host, conf) = network(plugin);
        let (pod, other) = (host.container(), host.container());
        let result = host.call(plugin, &pod).add(&conf);
        let (_, told) = host.call(plugin, &pod).fail("CHECK", &conf);
        assert!(told.starts_with(missing), "{plugin}: {told}");
        let told = host.call(plugin, &other).check_fails(&conf, &result);
        let (here, there) = (pod.path(), other.path());
        let wrong = format!("Sandbox in prevResult {here} doesn't match configured netns: {there}");
        assert!(told.starts_with(&wrong), "{plugin}: {told}");
    }
}

#[test]
fn another_hardware_address_is_told() {
    if !ready() {
        return;
    }
    for plugin in PLUGINS {
        let told = told_after(plugin, |pod| {
            pod.ip("link set eth0 address 02:00:00:00:00:42");
        });
        assert!(told.starts_with("Interface eth0 Mac "), "{plugin}: {told}");
        assert!(
            told.contains("doesn't match container Mac: 02:00:00:00:00:42"),
            "{plugin}: {told}"
        );
    }
}

#[test]
fn an_address_without_a_route_to_its_subnet_is_told() {
    if !ready() {
        return;
    }
    for plugin in PLUGINS {
        let told = told_after(plugin, |pod| {
            pod.ip("route del 10.9.0.0/24");
        });
        assert!(
            told.starts_with("Failed to find Gateway 10.9.0.0/24"),
            "{plugin}: {told}"
        );
    }
}

#[test]
fn a_link_that_is_missing_or_of_another_kind_is_told() {
    if !ready() {
        return;
    }
    for (plugin, kind) in [
        ("bridge", "veth"),
        ("macvlan", "macvlan"),
        ("routed", "veth"),
    ] {
        let told = told_after(plugin, |pod| {
            pod.ip("link del eth0");
        });
        assert!(
            told.starts_with("Container interface eth0 not found"),
            "{plugin}: {told}"
        );
        let told = told_after(plugin, |pod| {
            pod.ip("link del eth0");
            pod.ip("link add eth0 type bridge");
        });
        let text = format!("Error: Container interface eth0 not of type {kind}");
        assert!(told.starts_with(&text), "{plugin}: {told}");
    }
}

#[test]
fn a_container_that_is_gone_is_told_before_ipam_is_asked() {
    if !ready() {
        return;
    }
    for plugin in PLUGINS {
        let (host, mut conf) = network(plugin);
        let pod = host.container();
        let told =
            r#"[ $CNI_COMMAND = ADD ] && echo '{"ips":[{"address":"10.9.0.5/24"}]}'; exit 0"#;
        conf["ipam"] = host.script("told", told);
        let result = host.call(plugin, &pod).add(&conf);
        let gone = host.call(plugin, &pod).netns("/var/run/netns/npt-gone");
        let told = gone.check_fails(&conf, &result);
        let words = r#"failed to open netns "/var/run/netns/npt-gone": failed to Statfs"#;
        assert!(told.starts_with(words), "{plugin}: {told}");
        assert_eq!(host.calls(), ["ADD"], "{plugin}");
    }
}
