//! What the bridge plugin does besides ADD.

use serde_json::{Value, json};

use crate::world::{Host, ready, with};

fn conf(host: &Host) -> Value {
    json!({
        "cniVersion": "1.0.0", "name": "net", "type": "bridge", "bridge": "br0",
        "isDefaultGateway": true, "ipMasq": true, "macspoofchk": true,
        "ipam": host.host_local(&["10.9.0.0/24", "fd00:9::/64"]),
    })
}

#[test]
fn check_notices_everything_that_is_missing() {
    if !ready() {
        return;
    }
    let breakages: [(&str, &str); 9] = [
        (
            "pod:addr del 10.9.0.2/24 dev eth0",
            "Failed to match addr 10.9.0.2/24 on interface eth0",
        ),
        (
            "pod:route del default",
            "Expected Route {Dst:0.0.0.0/0 GW:10.9.0.1} not found",
        ),
        ("pod:link set eth0 down", "Failed to"),
        ("host:link set br0 down", "Bridge interface br0 is down"),
        (
            "host:addr del 10.9.0.1/24 dev br0",
            "gateway address 10.9.0.1/24 not found on br0",
        ),
        (
            "host:link set PORT nomaster",
            "CNI veth created for bridge br0 was not found",
        ),
        (
            "host:link set br0 address 02:00:00:00:00:77",
            "Bridge interface br0 Mac",
        ),
        (
            "nft:delete table inet cni_plugins_masquerade",
            "masquerading is broken",
        ),
        (
            "nft:flush chain bridge nat PREROUTING",
            "the MAC spoofing check of",
        ),
    ];
    for (breakage, text) in breakages {
        let host = Host::new();
        let pod = host.container();
        let conf = conf(&host);
        let call = host.call("bridge", &pod);
        let result = call.add(&conf);
        call.check(&conf, &result);
        let port = result["interfaces"][1]["name"].as_str().unwrap();
        let (place, command) = breakage.split_once(':').unwrap();
        let command = command.replace("PORT", port);
        match place {
            "pod" => drop(pod.ip(&command)),
            "host" => drop(host.net.ip(&command)),
            _ => {
                let mut nft = host.net.command("nft");
                crate::world::run(nft.args(command.split(' ')));
            }
        }
        let told = call.check_fails(&conf, &result);
        assert!(told.starts_with(text), "{breakage}: {told}");
    }
}

#[test]
fn check_needs_prev_result_and_its_sandbox() {
    if !ready() {
        return;
    }
    let host = Host::new();
    let (pod, other) = (host.container(), host.container());
    let conf = conf(&host);
    let call = host.call("bridge", &pod);
    let result = call.add(&conf);
    assert!(
        call.fail("CHECK", &conf)
            .1
            .starts_with("Required prevResult missing")
    );
    let elsewhere = host.call("bridge", &other).check_fails(&conf, &result);
    assert!(
        elsewhere.contains("doesn't match configured netns"),
        "{elsewhere}"
    );
    // IPAM's own complaint comes first.
    call.del(&conf);
    let told = call.check_fails(&conf, &result);
    assert!(
        told.contains("host-local: Failed to find address added by container c1"),
        "{told}"
    );
}

#[test]
fn del_works_repeated_and_without_the_namespace() {
    if !ready() {
        return;
    }
    let host = Host::new();
    let before = host.snapshot();
    let pod = host.container();
    let conf = conf(&host);
    let call = host.call("bridge", &pod);
    // Never added.
    call.del(&conf);
    call.add(&conf);
    call.del(&conf);
    call.del(&conf);
    // The path is empty, or nothing is there any more, or both in turn; rules and addresses go all the same.
    call.add(&conf);
    call.clone().netns("").del(&conf);
    assert_eq!(
        pod.link("eth0"),
        Value::Null,
        "the link goes although nobody told where it is"
    );
    call.add(&conf);
    drop(pod);
    call.del(&conf);
    assert_eq!(host.leased(), [""; 0]);
    assert_eq!(host.net.ruleset(), before["nft"]);
    call.del(&conf);
}

#[test]
fn del_works_although_the_configuration_is_broken_by_now() {
    if !ready() {
        return;
    }
    let host = Host::new();
    let pod = host.container();
    let conf = conf(&host);
    let call = host.call("bridge", &pod);
    call.add(&conf);
    let broken = json!({"vlan": 9999, "mtu": "big", "hairpinMode": true, "promiscMode": true, "ipMasqBackend": "x"});
    call.env("CNI_ARGS", "nonsense")
        .run("DEL", &with(&conf, broken));
    assert_eq!(pod.link("eth0"), Value::Null);
    assert_eq!(host.net.ruleset(), "");
}

#[test]
fn del_of_a_failed_add_leaves_the_interface_of_another_alone() {
    if !ready() {
        return;
    }
    let host = Host::new();
    let pod = host.container();
    let first = conf(&host);
    let second = with(
        &first,
        json!({"name": "other", "ipam": host.host_local(&["10.8.0.0/24"]), "bridge": "br1"}),
    );
    let call = host.call("bridge", &pod);
    let result = call.add(&first);
    assert!(
        call.fail("ADD", &second)
            .1
            .starts_with(r#"container veth name ("eth0") peer provided"#)
    );
    call.del(&second);
    call.check(&first, &result);
}

#[test]
fn status_is_ipams_and_tells_when_the_bridge_is_no_bridge() {
    if !ready() {
        return;
    }
    let host = Host::new();
    let pod = host.container();
    let healthy = host.script("healthy", "exit 0");
    let ill = host.script(
        "ill",
        r#"echo '{"code": 50, "msg": "no address left"}'; exit 1"#,
    );
    let conf = json!({"cniVersion": "1.1.0", "name": "net", "type": "bridge", "bridge": "br0", "ipam": healthy});
    let call = host.call("bridge", &pod);
    call.succeed("STATUS", &conf);
    assert_eq!(
        call.fail("STATUS", &with(&conf, json!({"ipam": ill}))),
        (50, "no address left; ".into())
    );
    host.net.ip("link add br0 type veth peer name br1");
    let (code, text) = call.fail("STATUS", &conf);
    assert_eq!(
        (code, text.as_str()),
        (50, r#"link "br0" exists but is not a bridge; "#)
    );
    assert_eq!(host.calls(), ["STATUS", "STATUS"]);
}

#[test]
fn gc_removes_what_belongs_to_no_valid_attachment_and_asks_ipam_too() {
    if !ready() {
        return;
    }
    let host = Host::new();
    let (kept, stale, foreign) = (host.container(), host.container(), host.container());
    let answer = r#"[ $CNI_COMMAND = ADD ] && echo '{"ips":[{"address":"10.9.0.'$(echo $CNI_CONTAINERID | tr -d a-z)'/24"}]}'; exit 0"#;
    let ipam = host.script("told", answer);
    let conf = json!({
        "cniVersion": "1.1.0", "name": "net", "type": "bridge", "bridge": "br0",
        "ipMasq": true, "macspoofchk": true, "ipam": ipam,
    });
    let result = host.call("bridge", &kept).id("c2").add(&conf);
    host.call("bridge", &stale).id("c3").add(&conf);
    let another = with(&conf, json!({"name": "other"}));
    let foreign_result = host.call("bridge", &foreign).id("c4").add(&another);
    let gc = with(
        &conf,
        json!({"cni.dev/valid-attachments": [{"containerID": "c2", "ifname": "eth0"}]}),
    );
    host.call("bridge", &kept).succeed("GC", &gc);
    assert_eq!(stale.link("eth0"), Value::Null);
    let rules = host.net.ruleset();
    assert!(
        !rules.contains("10.9.0.3") && !rules.contains("c3-eth0"),
        "{rules}"
    );
    host.call("bridge", &kept).id("c2").check(&conf, &result);
    host.call("bridge", &foreign)
        .id("c4")
        .check(&another, &foreign_result);
    assert!(host.calls().contains(&"GC".to_owned()));
    // No list is not an empty list.
    let (code, text) = host.call("bridge", &kept).fail("GC", &conf);
    assert_eq!(code, 7);
    assert!(
        text.contains("cni.dev/valid-attachments is missing"),
        "{text}"
    );
    assert!(kept.link("eth0").is_object());
    let empty = with(&conf, json!({"cni.dev/valid-attachments": []}));
    host.call("bridge", &kept).succeed("GC", &empty);
    assert_eq!(kept.link("eth0"), Value::Null);
    assert!(foreign.link("eth0").is_object());
}

#[test]
fn gc_collects_rules_of_the_iptables_backend() {
    if !ready() {
        return;
    }
    let host = Host::new();
    let (kept, stale) = (host.container(), host.container());
    let conf = with(&conf(&host), json!({"ipMasqBackend": "iptables"}));
    let result = host.call("bridge", &kept).id("kept").add(&conf);
    host.call("bridge", &stale).id("stale").add(&conf);
    let gc = with(
        &conf,
        json!({
            "cniVersion": "1.1.0", "ipam": {},
            "cni.dev/valid-attachments": [{"containerID": "kept", "ifname": "eth0"}],
        }),
    );
    host.call("bridge", &kept).succeed("GC", &gc);
    let rules = crate::world::run(host.net.command("iptables").args(["-t", "nat", "-S"]));
    assert!(
        !rules.contains("stale") && rules.contains("kept"),
        "{rules}"
    );
    host.call("bridge", &kept).id("kept").check(&conf, &result);
}

#[test]
fn a_container_may_be_attached_twice_to_one_network() {
    if !ready() {
        return;
    }
    let host = Host::new();
    let pod = host.container();
    let conf = with(
        &conf(&host),
        json!({"isDefaultGateway": false, "isGateway": true}),
    );
    let (first, second) = (
        host.call("bridge", &pod),
        host.call("bridge", &pod).ifname("net1"),
    );
    let result = first.add(&conf);
    let other = second.add(&conf);
    assert_eq!(pod.addresses("net1"), ["10.9.0.3/24", "fd00:9::3/64"]);
    first.check(&conf, &result);
    second.check(&conf, &other);
    first.del(&conf);
    second.check(&conf, &other);
    second.del(&conf);
    assert_eq!(host.leased(), [""; 0]);
    assert_eq!(host.net.ruleset(), "");
}
