//! What runtimes hand over besides what a plugin asks for: none of it may hurt.

use serde_json::{Value, json};

use crate::world::{Host, ready, with};

/// `CNI_ARGS` as containerd gives them.
const PODS: &str = "IgnoreUnknown=1;K8S_POD_NAMESPACE=default;K8S_POD_NAME=web-0;K8S_POD_INFRA_CONTAINER_ID=c1;K8S_POD_UID=u1";
const TOLD: &str = r#"[ $CNI_COMMAND = ADD ] && echo '{"cniVersion":"1.0.0","ips":[{"address":"10.9.0.5/24","gateway":"10.9.0.1"}]}'; exit 0"#;
const PLUGINS: [&str; 3] = ["bridge", "macvlan", "routed"];

fn network() -> (Host, Value) {
    let host = Host::new();
    host.net.ip("link add up0 type veth peer name up1");
    host.net.ip("link set up0 up");
    host.net.ip("link set up1 up");
    let conf = json!({
        "cniVersion": "1.0.0", "name": "net", "bridge": "br0", "master": "up0",
        "ipam": host.script("told", TOLD),
    });
    (host, conf)
}

#[test]
fn a_pods_identity_in_cni_args_is_for_others() {
    if !ready() {
        return;
    }
    let (host, conf) = network();
    for plugin in PLUGINS {
        let pod = host.container();
        let call = host.call(plugin, &pod).env("CNI_ARGS", PODS);
        let result = call.add(&conf);
        call.check(&conf, &result);
        call.del(&conf);
    }
}

#[test]
fn unknown_cni_args_are_refused_where_upstream_reads_them_and_never_by_del() {
    if !ready() {
        return;
    }
    let (host, conf) = network();
    for plugin in PLUGINS {
        let pod = host.container();
        let strange = host.call(plugin, &pod).env("CNI_ARGS", "X=y");
        // Upstream's ptp never looks.
        let result = if plugin == "routed" {
            strange.add(&conf)
        } else {
            let (_, told) = strange.fail("ADD", &conf);
            assert!(told.starts_with(r#"ARGS: unknown args ["X=y"]"#), "{told}");
            host.call(plugin, &pod).add(&conf)
        };
        strange.del(&with(&conf, json!({"prevResult": result})));
        assert_eq!(pod.link("eth0"), Value::Null, "{plugin}");
    }
}

#[test]
fn what_is_for_other_plugins_is_ignored() {
    if !ready() {
        return;
    }
    let (host, conf) = network();
    let more = json!({
        "capabilities": {"portMappings": true, "bandwidth": true, "mac": true},
        "runtimeConfig": {
            "portMappings": [{"hostPort": 8080, "containerPort": 80, "protocol": "tcp"}],
            "bandwidth": {"ingressRate": 1}, "dns": {"servers": ["10.0.0.53"]}, "aliases": ["web"],
            "io.kubernetes.cri.pod-annotations": {"a": "b"}, "cgroupPath": "/kubepods",
        },
        "args": {"cni": {"ips": ["10.9.0.7"], "unheard": {"of": []}}, "org.example": [1, 2]},
        "ipMasqBackend": null, "unheardOf": {"key": [null]},
    });
    for plugin in PLUGINS {
        let pod = host.container();
        let call = host.call(plugin, &pod);
        let conf = with(&conf, more.clone());
        let result = call.add(&conf);
        assert_eq!(pod.addresses("eth0"), ["10.9.0.5/24"], "{plugin}");
        assert!(result.get("dns").is_none(), "{plugin}: {result}");
        call.check(&conf, &result);
        call.del(&conf);
    }
}

/// A program that keeps configurations in Go structures prints every key.
#[test]
fn keys_without_a_value_are_as_absent_and_may_be_spelled_otherwise() {
    if !ready() {
        return;
    }
    let (host, conf) = network();
    let empty = json!({
        "isGateway": false, "isDefaultGateway": false, "forceAddress": false, "ipMasq": false, "ipMasqBackend": null,
        "mtu": 0, "hairpinMode": false, "promiscMode": false, "vlan": 0, "vlanTrunk": null, "preserveDefaultVlan": false,
        "macspoofchk": false, "enabledad": false, "disableContainerInterface": false, "portIsolation": false,
        "mode": "", "mac": "", "linkInContainer": false, "bcqueuelen": 0, "dns": {}, "capabilities": null,
        "args": {"cni": {"mac": ""}}, "runtimeConfig": {"mac": ""}, "prevResult": null,
    });
    for plugin in PLUGINS {
        let pod = host.container();
        let call = host.call(plugin, &pod);
        let conf = with(&conf, empty.clone());
        let result = call.add(&conf);
        let again = with(&conf, json!({"mtu": null, "MTU": 1280, "Name": "net"}));
        call.check(&again, &result);
        call.del(&again);
        let result = host.call(plugin, &pod).add(&again);
        assert_eq!(pod.link("eth0")["mtu"], 1280, "{plugin}");
        call.check(&again, &result);
        call.del(&again);
    }
}
