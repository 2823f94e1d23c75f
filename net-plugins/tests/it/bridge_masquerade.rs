//! `ipMasq` of the bridge plugin, by either backend.

use harness::require;
use serde_json::{Value, json};

use crate::world::{Host, ready, run, with};

fn conf(ipam: Value) -> Value {
    json!({ "cniVersion": "1.0.0", "name": "net", "type": "bridge", "bridge": "br0", "ipam": ipam })
}

#[test]
fn ip_masq_hides_the_container_by_nftables() {
    if !ready() {
        return;
    }
    let host = Host::new();
    let pod = host.container();
    let before = host.snapshot();
    let conf = with(
        &conf(host.host_local(&["10.9.0.0/24", "fd00:9::/64"])),
        json!({"ipMasq": true}),
    );
    let call = host.call("bridge", &pod);
    call.add(&conf);
    let rules = host.net.ruleset();
    for part in [
        "table inet cni_plugins_masquerade",
        "type nat hook postrouting priority srcnat",
        "ip daddr 224.0.0.0/4 return",
        "ip6 daddr ff00::/8 return",
        "goto masq_checks",
        r#"ip saddr 10.9.0.2 ip daddr != 10.9.0.0/24 masquerade comment ""#,
        r#"ip6 saddr fd00:9::2 ip6 daddr != fd00:9::/64 masquerade comment ""#,
        r#", net: net, if: eth0, id: c1""#,
    ] {
        assert!(rules.contains(part), "{part} in {rules}");
    }
    call.del(&conf);
    assert_eq!(host.net.ruleset(), before["nft"]);
}

/// The kernel lets nobody close one until it has freed the rules, and nobody delete a link meanwhile.
#[test]
fn a_del_closes_no_socket_of_nf_tables_while_the_link_goes() {
    if !ready() || require::program("strace").is_none() {
        return;
    }
    let host = Host::new();
    let pod = host.container();
    let conf = with(
        &conf(host.host_local(&["10.9.0.0/24"])),
        json!({"ipMasq": true, "macspoofchk": true}),
    );
    host.call("bridge", &pod).add(&conf);
    let trace = host.folder.path().join("trace");
    let trace_to = [
        "strace",
        "-f",
        "-qq",
        "-yy",
        "-e",
        "trace=socket,close",
        "-o",
    ];
    let words = [&trace_to[..], &[trace.to_str().unwrap()]].concat();
    host.call("bridge", &pod).through(&words).del(&conf);
    let trace = std::fs::read_to_string(trace).unwrap();
    let about = |call: &str| {
        let lines = trace.lines().filter(|line| line.contains(call));
        lines.filter(|line| line.contains("NETFILTER")).count()
    };
    assert!(about("socket(") > 5, "{trace}");
    assert_eq!(about("close("), 0, "{trace}");
}

#[test]
fn masquerading_really_hides_the_address() {
    if !ready() {
        return;
    }
    let host = Host::new();
    let (pod, outside) = (host.container(), host.container());
    host.net.ip(&format!(
        "link add up0 type veth peer name up1 netns {}",
        outside.path().rsplit('/').next().unwrap()
    ));
    host.net.ip("addr add 192.0.2.1/24 dev up0");
    host.net.ip("link set up0 up");
    outside.ip("addr add 192.0.2.2/24 dev up1");
    outside.ip("link set up1 up");
    let conf = with(
        &conf(host.host_local(&["10.9.0.0/24"])),
        json!({"isDefaultGateway": true}),
    );
    let call = host.call("bridge", &pod);
    call.add(&conf);
    assert!(!pod.reaches("192.0.2.2"), "the outside has no route back");
    call.del(&conf);
    for backend in ["nftables", "iptables"] {
        let conf = with(&conf, json!({"ipMasq": true, "ipMasqBackend": backend}));
        call.add(&conf);
        assert!(pod.reaches("192.0.2.2"), "{backend}");
        call.del(&conf);
    }
}

#[test]
fn ip_masq_by_iptables_where_the_configuration_asks() {
    if !ready() {
        return;
    }
    let host = Host::new();
    let pod = host.container();
    let list = |program: &str| run(host.net.command(program).args(["-t", "nat", "-S"]));
    let (before4, before6) = (list("iptables"), list("ip6tables"));
    let more = json!({"ipMasq": true, "ipMasqBackend": "iptables"});
    let conf = with(
        &conf(host.host_local(&["10.9.0.0/24", "fd00:9::/64"])),
        more,
    );
    let call = host.call("bridge", &pod);
    let result = call.add(&conf);
    let rules = list("iptables");
    for part in [
        r#"-s 10.9.0.2/32 -m comment --comment "name: \"net\" id: \"c1\"" -j CNI-"#,
        r#"-d 10.9.0.0/24 -m comment --comment "name: \"net\" id: \"c1\"" -j ACCEPT"#,
        r#"! -d 224.0.0.0/4 -m comment --comment "name: \"net\" id: \"c1\"" -j MASQUERADE"#,
    ] {
        assert!(rules.contains(part), "{part} in {rules}");
    }
    assert!(list("ip6tables").contains("-s fd00:9::2/128"));
    call.check(&conf, &result);
    run(host
        .net
        .command("iptables")
        .args(["-t", "nat", "-F", "POSTROUTING"]));
    assert!(
        call.check_fails(&conf, &result)
            .starts_with("masquerading is broken: iptables lacks the rule -A POSTROUTING")
    );
    call.del(&conf);
    assert_eq!((list("iptables"), list("ip6tables")), (before4, before6));
}

#[test]
fn rules_of_upstreams_bridge_go_with_our_del() {
    if !ready() {
        return;
    }
    let host = Host::new();
    let pod = host.container();
    let conf = with(
        &conf(host.host_local(&["10.9.0.0/24"])),
        json!({"ipMasq": true}),
    );
    host.call("upstream-bridge", &pod).add(&conf);
    let list = || run(host.net.command("iptables").args(["-t", "nat", "-S"]));
    assert!(list().contains("-j CNI-"));
    host.call("bridge", &pod).del(&conf);
    assert!(!list().contains("CNI-"), "{}", list());
    assert_eq!(pod.link("eth0"), Value::Null);
    assert_eq!(host.leased(), [""; 0]);
}
