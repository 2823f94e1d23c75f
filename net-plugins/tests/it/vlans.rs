//! VLANs. A kernel without VLAN filtering runs these tests in User-Mode Linux, see [`the_tests_here_pass_in_user_mode_linux`].

use std::os::unix::process::ExitStatusExt;
use std::process::Stdio;

use harness::uml;
use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::failure::fail_at_every_point;
use crate::world::{Host, port, ready, run, with};

/// What the tests here need of the kernel.
const MODULES: [&str; 12] = [
    "lib/crc-ccitt",
    "net/ipv6/ipv6",
    "net/llc/llc",
    "net/802/stp",
    "net/802/garp",
    "net/802/mrp",
    "net/8021q/8021q",
    "net/bridge/bridge",
    "net/netfilter/nfnetlink",
    "net/netfilter/nf_tables",
    "drivers/net/veth",
    "drivers/net/macvlan",
];

/// Whether this kernel has VLANs. When it has not, another test runs the one that asks in a kernel that has.
fn has_vlans() -> bool {
    if !ready() {
        return false;
    }
    let host = Host::new();
    let mut ip = host.net.command("ip");
    ip.args([
        "link",
        "add",
        "probe",
        "type",
        "bridge",
        "vlan_filtering",
        "1",
    ]);
    let has = ip.stderr(Stdio::null()).status().unwrap().success();
    if !has {
        eprintln!("this kernel has no VLAN filtering: run in User-Mode Linux instead");
    }
    assert!(has || !uml::is_inside());
    has
}

#[test]
fn the_tests_here_pass_in_user_mode_linux() {
    if has_vlans() || !ready() || uml::is_inside() {
        return;
    }
    if let Some(tests) = uml::run_tests("vlans::", &MODULES, &[]).unwrap() {
        assert!(tests.contains("test result: ok. 10 passed"), "{tests}");
    }
}

fn conf(host: &Host, more: Value) -> Value {
    let conf = json!({
        "cniVersion": "1.0.0", "name": "net", "type": "bridge", "bridge": "br0",
        "ipam": host.host_local(&["10.9.0.0/24"]),
    });
    with(&conf, more)
}

/// The VLANs of a port, with their flags, as `bridge vlan` prints them.
fn vlans(host: &Host, port: &str) -> Vec<String> {
    let text = run(host
        .net
        .command("bridge")
        .args(["vlan", "show", "dev", port]));
    let lines = text.lines().skip(1);
    lines
        .map(|line| line.trim_start_matches(port).trim().to_owned())
        .collect()
}

#[test]
fn vlan_is_the_ports_only_one_and_the_gateway_is_in_it() {
    if !has_vlans() {
        return;
    }
    let host = Host::new();
    let (first, second, other) = (host.container(), host.container(), host.container());
    let blue = conf(&host, json!({"vlan": 100, "isGateway": true}));
    let call = host.call("bridge", &first);
    let result = call.add(&blue);
    assert_eq!(
        host.net.link("br0")["linkinfo"]["info_data"]["vlan_filtering"],
        1
    );
    assert_eq!(vlans(&host, &port(&result)), ["100 PVID Egress Untagged"]);
    assert_eq!(result["interfaces"][3]["name"], "br0.100");
    assert_eq!(host.net.addresses("br0.100"), ["10.9.0.1/24"]);
    assert_eq!(host.net.addresses("br0"), [""; 0]);
    let gateway = host.net.link("br0.100");
    assert_eq!(
        gateway["link"].as_str().map(|peer| vlans(&host, peer)),
        Some(vec!["100 PVID Egress Untagged".into()])
    );
    let peer = host.net.link(gateway["link"].as_str().unwrap());
    assert_eq!(
        peer["ifindex"].as_u64().unwrap() + 1,
        gateway["ifindex"].as_u64().unwrap()
    );
    host.call("bridge", &second).id("c2").add(&blue);
    let green = with(&blue, json!({"vlan": 200, "isGateway": false}));
    host.call("bridge", &other).id("c3").add(&green);
    assert!(first.reaches("10.9.0.1"));
    assert!(first.reaches("10.9.0.3"));
    assert!(!first.reaches("10.9.0.4"), "another VLAN");
    call.check(&blue, &result);
    run(host
        .net
        .command("bridge")
        .args(["vlan", "del", "dev", &port(&result), "vid", "100"]));
    assert!(
        call.check_fails(&blue, &result)
            .ends_with("is not in VLAN 100; ")
    );
    call.del(&blue);
    assert!(
        host.net.link("br0.100").is_object(),
        "shared by the VLAN's containers"
    );
}

#[test]
fn vlan_trunk_makes_tagged_ones_beside_the_native_one() {
    if !has_vlans() {
        return;
    }
    let host = Host::new();
    let (first, second) = (host.container(), host.container());
    let trunk = json!([{"minID": 100, "maxID": 102}, {"id": 200}]);
    let native = conf(&host, json!({"vlanTrunk": trunk}));
    let result = host.call("bridge", &first).add(&native);
    assert_eq!(
        vlans(&host, &port(&result)),
        ["1 PVID Egress Untagged", "100", "101", "102", "200"]
    );
    host.call("bridge", &first).check(&native, &result);
    let both = with(&native, json!({"vlan": 101}));
    let result = host.call("bridge", &second).id("c2").add(&both);
    assert_eq!(
        vlans(&host, &port(&result)),
        ["100", "101 PVID Egress Untagged", "102", "200"]
    );
}

#[test]
fn preserve_default_vlan_keeps_what_the_port_got_on_joining() {
    if !has_vlans() {
        return;
    }
    let host = Host::new();
    let pod = host.container();
    let conf = conf(&host, json!({"vlan": 100, "preserveDefaultVlan": true}));
    let result = host.call("bridge", &pod).add(&conf);
    assert_eq!(
        vlans(&host, &port(&result)),
        ["1 Egress Untagged", "100 PVID Egress Untagged"]
    );
}

#[test]
fn a_failure_at_any_point_leaves_everything_as_it_was() {
    if !has_vlans() {
        return;
    }
    let host = Host::new();
    let pod = host.container();
    let more = json!({"vlan": 100, "vlanTrunk": [{"id": 7}], "isDefaultGateway": true});
    let conf = conf(&host, more);
    let points = fail_at_every_point(&host, &pod, "bridge", &conf);
    assert!(points >= 40, "{points}");
}

#[test]
fn a_gateways_link_that_a_death_left_unconnected_is_connected_by_the_next_add() {
    if !has_vlans() {
        return;
    }
    let host = Host::new();
    let pod = host.container();
    let conf = conf(&host, json!({"vlan": 100, "isGateway": true}));
    let call = host.call("bridge", &pod);
    for point in 1.. {
        let dying = (call.clone()).env("CNI_TEST_DIE_AT", &point.to_string());
        let output = dying.run("ADD", &conf);
        let told = String::from_utf8_lossy(&output.stdout);
        let aborted = Some(Signal::SIGABRT as i32);
        assert_eq!(output.status.signal(), aborted, "{point}: {told}");
        call.del(&conf);
        if host.net.link("br0.100").is_object() {
            break;
        }
    }
    let end = other_end(&host, "br0.100");
    assert!(host.net.link(&end)["master"].is_null(), "died too late");
    call.add(&conf);
    assert_eq!(vlans(&host, &end), ["100 PVID Egress Untagged"]);
    assert!(pod.reaches("10.9.0.1"));
}

#[test]
fn a_gateways_link_is_completed_from_wherever_it_was_left() {
    if !has_vlans() {
        return;
    }
    let host = Host::new();
    let conf = conf(&host, json!({"vlan": 100, "isGateway": true}));
    let first = host.container();
    let result = host.call("bridge", &first).add(&conf);
    let end = other_end(&host, "br0.100");
    let unfinished = [
        vec![format!("link set {end} nomaster")],
        vec![
            format!("link set {end} nomaster"),
            format!("link set {end} master br0"),
        ],
        vec![format!("link set {end} down")],
        vec!["link set br0.100 down".to_owned()],
    ];
    for (n, commands) in unfinished.iter().enumerate() {
        commands.iter().for_each(|command| {
            host.net.ip(command);
        });
        assert!(!first.reaches("10.9.0.1"), "{commands:?}");
        let told = host.call("bridge", &first).check_fails(&conf, &result);
        let expected = "br0.100 is not connected to VLAN 100 of bridge br0; ";
        assert_eq!(told, expected, "{commands:?}");
        let call = host.call("bridge", &first).ifname(&format!("more{n}"));
        call.add(&conf);
        call.del(&conf);
        assert_eq!(vlans(&host, &end), ["100 PVID Egress Untagged"]);
        assert!(first.reaches("10.9.0.1"), "{commands:?}");
        host.call("bridge", &first).check(&conf, &result);
    }
    // An administrator's own VLANs there stay.
    run(host
        .net
        .command("bridge")
        .args(["vlan", "add", "dev", &end, "vid", "7"]));
    let second = host.container();
    host.call("bridge", &second).id("c2").add(&conf);
    assert_eq!(vlans(&host, &end), ["7", "100 PVID Egress Untagged"]);
}

#[test]
fn a_link_of_the_gateways_name_that_cannot_be_its_link_is_named_and_left_alone() {
    if !has_vlans() {
        return;
    }
    let host = Host::new();
    let (pod, elsewhere) = (host.container(), host.container());
    let netns = elsewhere.path();
    let netns = netns.rsplit('/').next().unwrap();
    let conf = conf(&host, json!({"vlan": 100, "isGateway": true}));
    let others = [
        (
            format!("type veth peer name end0 netns {netns}"),
            "its other end is not in the host",
        ),
        (
            "type veth peer name end0".to_owned(),
            "its other end \"end0\" is a port of \"br1\"",
        ),
    ];
    for (kind, why) in others {
        host.net.ip(&format!("link add br0.100 {kind}"));
        if why.contains("br1") {
            host.net.ip("link add br1 type bridge");
            host.net.ip("link set end0 master br1");
        }
        let before = host.snapshot();
        let (code, told) = host.call("bridge", &pod).fail("ADD", &conf);
        let text =
            format!("failed to create link \"br0.100\": \"br0.100\" already exists but {why}; ");
        assert_eq!((code, told), (999, text));
        host.assert_like(&before, &kind);
        host.net.ip("link del br0.100");
    }
}

#[test]
fn a_vlan_device_on_the_bridge_may_be_the_gateways_link() {
    if !has_vlans() {
        return;
    }
    let host = Host::new();
    let pod = host.container();
    host.net.ip("link add br0 type bridge vlan_filtering 1");
    host.net
        .ip("link add link br0 name br0.100 type vlan id 100");
    let conf = conf(&host, json!({"vlan": 100, "isGateway": true}));
    let before = host.net.link("br0.100")["linkinfo"].clone();
    host.call("bridge", &pod).add(&conf);
    assert_eq!(host.net.link("br0.100")["linkinfo"], before);
}

/// The other end of a veth.
fn other_end(host: &Host, name: &str) -> String {
    host.net.link(name)["link"].as_str().unwrap().to_owned()
}

#[test]
fn a_vlans_link_may_be_the_master_of_a_macvlan() {
    if !has_vlans() {
        return;
    }
    let host = Host::new();
    let (neighbour, pod) = (host.container(), host.container());
    let name = neighbour.path();
    let name = name.rsplit('/').next().unwrap();
    host.net.ip(&format!(
        "link add up0 type veth peer name up0 netns {name}"
    ));
    for net in [&host.net, &neighbour] {
        net.ip("link set up0 up");
        net.ip("link add link up0 name up0.7 type vlan id 7");
        net.ip("link set up0.7 up");
    }
    neighbour.ip("addr add 10.9.0.99/24 dev up0.7");
    let conf = conf(&host, json!({"type": "macvlan", "master": "up0.7"}));
    let call = host.call("macvlan", &pod);
    let result = call.add(&conf);
    assert!(pod.reaches("10.9.0.99"));
    call.check(&conf, &result);
    call.del(&conf);
}
