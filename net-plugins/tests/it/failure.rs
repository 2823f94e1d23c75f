//! A failure at any request of an ADD, to the kernel or to another program, leaves the host as it was.

use serde_json::{Value, json};

use crate::world::{Host, Namespace, ready, with};

/// Makes the ADD fail at its first point, its second, and so on until it succeeds, and returns the number of points.
pub(crate) fn fail_at_every_point(host: &Host, pod: &Namespace, plugin: &str, conf: &Value) -> u32 {
    let before = host.snapshot();
    let inside = pod.inside();
    for point in 1.. {
        let call = (host.call(plugin, pod)).env("CNI_TEST_FAIL_AT", &point.to_string());
        let output = call.run("ADD", conf);
        if output.status.success() {
            let log = String::from_utf8_lossy(&output.stderr);
            assert!(!log.contains("injected"), "nobody cared: {log}");
            host.call(plugin, pod).del(conf);
            return point - 1;
        }
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let injected = format!("injected failure at point {point}, ");
        assert!(text.contains(&injected), "{text}");
        assert!(!text.contains("cannot "), "the undoing failed: {text}");
        host.assert_like(&before, &text);
        assert_eq!(pod.inside(), inside, "{text}");
    }
    0
}

pub(crate) fn full_bridge(host: &Host) -> Value {
    json!({
        "cniVersion": "1.0.0", "name": "net", "type": "bridge", "bridge": "br0", "isDefaultGateway": true,
        "ipMasq": true, "macspoofchk": true, "promiscMode": true, "portIsolation": true,
        "ipam": host.host_local(&["10.9.0.0/24", "fd00:9::/64"]),
    })
}

/// The programs make their tables on first use, and those stay.
pub(crate) fn make_tables_of_iptables(host: &Host) {
    for program in ["iptables", "ip6tables"] {
        for rule in ["-A POSTROUTING -j RETURN", "-D POSTROUTING -j RETURN"] {
            let mut process = host.net.command(program);
            crate::world::run(process.args(["-t", "nat"]).args(rule.split(' ')));
        }
    }
}

#[test]
fn bridge_with_everything_on_an_empty_host() {
    if !ready() {
        return;
    }
    let host = Host::new();
    let pod = host.container();
    let points = fail_at_every_point(&host, &pod, "bridge", &full_bridge(&host));
    assert!(points >= 45, "{points}");
}

#[test]
fn bridge_on_a_bridge_of_somebody_elses() {
    if !ready() {
        return;
    }
    let host = Host::new();
    let pod = host.container();
    host.net.ip("link add br0 type bridge");
    // A link that has never been up shows another queueing discipline.
    host.net.ip("link set br0 up");
    host.net.ip("link set br0 down");
    host.net.ip("addr add 10.9.0.77/24 dev br0");
    host.net.ip("link add up0 type veth peer name up1");
    host.net.ip("link set up0 master br0 up");
    let mut conf = full_bridge(&host);
    conf["forceAddress"] = json!(true);
    conf["ipMasqBackend"] = json!("iptables");
    make_tables_of_iptables(&host);
    let points = fail_at_every_point(&host, &pod, "bridge", &conf);
    assert!(points >= 45, "{points}");
}

#[test]
fn bridge_whose_addresses_are_asked_for_while_its_links_are_made() {
    if !ready() {
        return;
    }
    let host = Host::new();
    let pod = host.container();
    // host-local, under the name of the plugin that is asked early.
    host.script("cluster-ipam", "exec /usr/lib/cni/host-local");
    let mut conf = full_bridge(&host);
    conf["ipam"]["type"] = json!("cluster-ipam");
    let points = fail_at_every_point(&host, &pod, "bridge", &conf);
    assert!(points >= 45, "{points}");
    assert_eq!(host.leased(), [""; 0]);
    let (_, told) = host.call("bridge", &pod).ifname("lo").fail("ADD", &conf);
    assert!(told.contains("already exists"), "{told}");
    assert_eq!(host.leased(), [""; 0], "what was asked for is given back");
}

#[test]
fn bridge_without_addresses() {
    if !ready() {
        return;
    }
    let host = Host::new();
    let pod = host.container();
    let conf = json!({"cniVersion": "1.0.0", "name": "net", "type": "bridge", "bridge": "br0"});
    let hairpin = with(
        &conf,
        json!({"hairpinMode": true, "mtu": 1400, "mac": "02:00:00:00:00:07"}),
    );
    let down = with(&conf, json!({"disableContainerInterface": true}));
    for conf in [conf, hairpin, down] {
        let points = fail_at_every_point(&host, &pod, "bridge", &conf);
        assert!(points >= 10, "{points}");
        host.net.ip("link del br0");
    }
}

#[test]
fn masquerading_of_which_half_fails_is_taken_back_whole() {
    if !ready() {
        return;
    }
    let host = Host::new();
    let pod = host.container();
    let folder = tempfile::tempdir().unwrap();
    for program in ["iptables", "iptables-restore"] {
        let target = format!("/usr/sbin/{program}");
        std::os::unix::fs::symlink(target, folder.path().join(program)).unwrap();
    }
    let conf = json!({
        "cniVersion": "1.0.0", "name": "net", "type": "bridge", "bridge": "br0",
        "ipMasq": true, "ipMasqBackend": "iptables",
        "ipam": host.host_local(&["10.9.0.0/24", "fd00:9::/64"]),
    });
    let call = host
        .call("bridge", &pod)
        .env("PATH", folder.path().to_str().unwrap());
    let (_, told) = call.fail("ADD", &conf);
    assert!(
        told.starts_with("failed to change the rules of ip6tables"),
        "{told}"
    );
    let rules = crate::world::run(
        host.net
            .command("/usr/sbin/iptables")
            .args(["-t", "nat", "-S"]),
    );
    assert!(!rules.contains("CNI-"), "{rules}");
    assert_eq!(host.leased(), [""; 0]);
}
