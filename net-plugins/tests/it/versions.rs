//! The result in every version of the specification.

use serde_json::{Value, json};

use crate::world::{Host, ready, with};

const TOLD: &str = r#"[ $CNI_COMMAND = ADD ] && echo '{"cniVersion":"1.0.0","ips":[{"address":"10.9.0.5/24","gateway":"10.9.0.1"}],"routes":[{"dst":"0.0.0.0/0"}],"dns":{"nameservers":["10.0.0.53"]}}'; exit 0"#;

#[test]
fn results_are_of_the_version_that_the_configuration_asks_for() {
    if !ready() {
        return;
    }
    let host = Host::new();
    for (plugin, interfaces) in [("bridge", 3), ("macvlan", 1), ("routed", 2)] {
        for version in ["0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"] {
            let pod = host.container();
            let conf = conf(&host, plugin, version);
            let call = host.call(plugin, &pod);
            let result = call.add(&conf);
            assert_eq!(result["cniVersion"], version, "{plugin}");
            assert_eq!(
                result["interfaces"].as_array().unwrap().len(),
                interfaces,
                "{plugin}"
            );
            let ip = &result["ips"][0];
            assert_eq!(ip["address"], "10.9.0.5/24");
            let early = version < "1.0.0";
            let family = if early { json!("4") } else { Value::Null };
            assert_eq!(
                ip.get("version").cloned().unwrap_or_default(),
                family,
                "{plugin} {version}"
            );
            let container = result["interfaces"].as_array().unwrap().last().unwrap();
            assert_eq!(container.get("mtu").is_some(), !early, "{plugin} {version}");
            assert_eq!(result["dns"], json!({"nameservers": ["10.0.0.53"]}));
            if version >= "0.4.0" {
                call.check(&conf, &result);
            } else {
                let (code, text) = call.fail("CHECK", &conf);
                assert_eq!(
                    (code, text.as_str()),
                    (1, "config version does not allow CHECK; ")
                );
            }
            call.del(&conf);
        }
    }
}

#[test]
fn results_of_the_first_versions_have_one_address_per_family() {
    if !ready() {
        return;
    }
    let host = Host::new();
    for (plugin, version) in [
        ("bridge", "0.1.0"),
        ("macvlan", "0.2.0"),
        ("routed", "0.2.0"),
    ] {
        let pod = host.container();
        let conf = conf(&host, plugin, version);
        let result = host.call(plugin, &pod).add(&conf);
        assert_eq!(
            result["ip4"],
            json!({"ip": "10.9.0.5/24", "gateway": "10.9.0.1", "routes": [{"dst": "0.0.0.0/0"}]}),
            "{plugin}"
        );
        assert_eq!(result.get("interfaces"), None);
        host.call(plugin, &pod).del(&conf);
    }
}

#[test]
fn a_network_without_addresses_cannot_be_told_in_the_first_versions() {
    if !ready() {
        return;
    }
    let host = Host::new();
    let pod = host.container();
    for plugin in ["bridge", "macvlan"] {
        let conf = with(&conf(&host, plugin, "0.2.0"), json!({"ipam": {}}));
        let before = host.snapshot();
        let (code, text) = host.call(plugin, &pod).fail("ADD", &conf);
        assert_eq!(
            (code, text.as_str()),
            (999, "cannot convert: no valid IP addresses; ")
        );
        host.assert_like(&before, "after the refusal");
    }
}

fn conf(host: &Host, plugin: &str, version: &str) -> Value {
    let ipam = host.script("told", TOLD);
    if plugin == "macvlan" && host.net.link("up0").is_null() {
        host.net.ip("link add up0 type veth peer name up1");
        host.net.ip("link set up0 up");
        host.net.ip("link set up1 up");
    }
    json!({
        "cniVersion": version, "name": "net", "type": plugin, "ipam": ipam,
        "bridge": "br0", "master": "up0",
    })
}
