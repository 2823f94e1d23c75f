//! An address is given back when nothing answers for it any more, and not before.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;

use serde_json::{Value, json};

use crate::call::Call;
use crate::world::{Host, Namespace, ready, with};

/// A host with an uplink `up0` that leads nowhere.
fn network() -> (Host, Namespace) {
    let host = Host::new();
    host.net.ip("link add up0 type veth peer name up1");
    for link in ["up0", "up1"] {
        host.net.ip(&format!("link set {link} up"));
    }
    let pod = host.container();
    (host, pod)
}

/// A network of each plugin, with an IPAM plugin of this name that gives 10.9.0.5 and runs `release` on DEL and GC.
fn networks(host: &Host, ipam: &str, release: &str) -> [Value; 3] {
    let body = format!(
        r#"case $CNI_COMMAND in
ADD) echo '{{"ips":[{{"address":"10.9.0.5/24"}}]}}';;
DEL|GC) {release};;
esac"#
    );
    let more = json!({ "cniVersion": "1.1.0", "name": "net", "ipam": host.script(ipam, &body) });
    [
        json!({ "type": "bridge", "bridge": "br0" }),
        json!({ "type": "macvlan", "master": "up0" }),
        json!({ "type": "routed", "uplink": "up0" }),
    ]
    .map(|plugin| with(&plugin, more.clone()))
}

fn call<'a>(host: &'a Host, conf: &Value, pod: &Namespace) -> Call<'a> {
    host.call(conf["type"].as_str().unwrap(), pod)
}

/// Fails when the container's link is up, or the host answers for its address.
const STILL: &str = r#"nsenter --net=$CNI_NETNS ip -o link show up dev eth0 2> /dev/null | grep . && exit 1
ip neigh show proxy | grep 10.9.0.5 && exit 1; exit 0"#;

/// Fails when any container's link is up on the host's side, or the host answers for an address.
const STILL_ON_HOST: &str = r#"ip -o link show up type veth | grep -v 'up[01]@' && exit 1
ip neigh show proxy | grep 10.9.0.5 && exit 1; exit 0"#;

#[test]
fn a_del_gives_the_address_back_when_nothing_answers_for_it_any_more() {
    if !ready() {
        return;
    }
    for plugin in 0..3 {
        let (host, pod) = network();
        let conf = &networks(&host, "watchful", STILL)[plugin];
        call(&host, conf, &pod).add(conf);
        call(&host, conf, &pod).del(conf);
        assert_eq!(host.calls(), ["ADD", "DEL"], "{conf}");
        assert_eq!(pod.link("eth0"), Value::Null, "{conf}");
        call(&host, conf, &pod).del(conf);
    }
}

#[test]
fn an_address_does_not_wait_for_rules_that_go_slowly() {
    if !ready() {
        return;
    }
    let (host, pod) = network();
    let masquerading = json!({ "ipMasq": true, "ipMasqBackend": "iptables" });
    let conf = &with(&networks(&host, "watchful", STILL)[0], masquerading);
    call(&host, conf, &pod).add(conf);
    let slow = host.folder.path().join("slow");
    std::fs::create_dir(&slow).unwrap();
    let body = format!(
        "#!/bin/sh\nfor n in $(seq 50); do grep -q DEL {}/calls && exec /usr/sbin/${{0##*/}} \"$@\"; sleep 0.1; done; exit 1\n",
        host.folder.path().display()
    );
    for program in ["iptables", "iptables-restore"] {
        std::fs::write(slow.join(program), &body).unwrap();
        let all = Permissions::from_mode(0o755);
        std::fs::set_permissions(slow.join(program), all).unwrap();
    }
    let path = format!("{}:/usr/sbin:/usr/bin:/sbin:/bin", slow.display());
    call(&host, conf, &pod).env("PATH", &path).del(conf);
    assert_eq!(host.calls(), ["ADD", "DEL"]);
}

#[test]
fn a_namespace_that_outlives_its_path_answers_no_more_either() {
    if !ready() {
        return;
    }
    for plugin in [0, 2] {
        let (host, pod) = network();
        let conf = &networks(&host, "watchful", STILL_ON_HOST)[plugin];
        call(&host, conf, &pod).add(conf);
        let gone = call(&host, conf, &pod).netns("/var/run/netns/npt-gone");
        gone.del(conf);
        assert_eq!(pod.link("eth0"), Value::Null, "{conf}");
    }
}

#[test]
fn a_gc_tells_ipam_when_nothing_stale_answers_any_more() {
    if !ready() {
        return;
    }
    for plugin in [0, 2] {
        let (host, pod) = network();
        let conf = &networks(&host, "watchful", STILL_ON_HOST)[plugin];
        call(&host, conf, &pod).add(conf);
        let gc = with(conf, json!({ "cni.dev/valid-attachments": [] }));
        call(&host, conf, &pod).succeed("GC", &gc);
        assert_eq!(host.calls(), ["ADD", "GC"], "{conf}");
        assert_eq!(pod.link("eth0"), Value::Null, "{conf}");
    }
}

#[test]
fn an_add_that_fails_gives_the_address_back_when_nothing_answers_for_it_any_more() {
    if !ready() {
        return;
    }
    for plugin in 0..3 {
        let (host, pod) = network();
        let conf = &networks(&host, "watchful", STILL)[plugin];
        let failing = call(&host, conf, &pod).env("CNI_TEST_FAIL_AT", "the end");
        let (_, told) = failing.fail("ADD", conf);
        assert!(told.starts_with("injected failure"), "{told}");
        assert!(!told.contains("cannot"), "{told}");
        assert_eq!(host.calls(), ["ADD", "DEL"], "{conf}");
    }
}

#[test]
fn a_dhcp_client_may_say_goodbye_over_the_link() {
    if !ready() {
        return;
    }
    for plugin in [0, 1] {
        let (host, pod) = network();
        let up = "nsenter --net=$CNI_NETNS ip -o link show up dev eth0 | grep -q . || exit 1";
        let conf = &networks(&host, "dhcp", up)[plugin];
        call(&host, conf, &pod).add(conf);
        call(&host, conf, &pod).del(conf);
        assert_eq!(host.calls(), ["ADD", "DEL"], "{conf}");
        assert_eq!(pod.link("eth0"), Value::Null, "{conf}");
        let failing = call(&host, conf, &pod).env("CNI_TEST_FAIL_AT", "the end");
        let (_, told) = failing.fail("ADD", conf);
        assert_eq!(host.calls(), ["ADD", "DEL", "ADD", "DEL"], "{told}");
        assert_eq!(pod.link("eth0"), Value::Null, "{conf}");
    }
}

#[test]
fn an_address_whose_link_cannot_be_taken_away_is_kept_until_it_can() {
    if !ready() {
        return;
    }
    for plugin in 0..3 {
        let (host, pod) = network();
        let conf = &networks(&host, "watchful", STILL)[plugin];
        call(&host, conf, &pod).add(conf);
        let powerless = call(&host, conf, &pod).without("net_admin");
        let (code, told) = powerless.fail("DEL", conf);
        assert_eq!(code, 999, "{told}");
        assert!(told.contains("operation not permitted"), "{told}");
        let gc = with(conf, json!({ "cni.dev/valid-attachments": [] }));
        if plugin != 1 {
            let (_, told) = powerless.fail("GC", &gc);
            assert!(told.contains("operation not permitted"), "{told}");
        }
        assert_eq!(host.calls(), ["ADD"], "{conf}");
        assert!(pod.is_up("eth0"));
        call(&host, conf, &pod).del(conf);
        assert_eq!(host.calls(), ["ADD", "DEL"], "{conf}");
    }
}
