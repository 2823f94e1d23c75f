//! Whole configurations, as runtimes write them.
#![expect(clippy::unwrap_used, reason = "a test may fail by panicking")]
use serde_json::json;

use super::*;

fn parse(config: &Value) -> Result<NetConf, Error> {
    NetConf::parse(config.to_string().as_bytes(), Command::Add)
}

fn refusal(config: &Value) -> (u32, String) {
    let error = parse(config).unwrap_err();
    (error.code, error.msg)
}

#[test]
fn everything_that_plugins_share_is_read() {
    let config = json!({
        "cniVersion": "1.1.0", "name": "net", "type": "bridge", "mtu": 1400,
        "ipam": {"type": "cluster-ipam", "pools": ["a"]},
        "dns": {"nameservers": ["10.0.0.53"]},
        "capabilities": {"ips": true, "mac": false},
        "runtimeConfig": {"ips": ["10.0.0.5"]},
        "args": {"cni": {"mac": "02:00:00:00:00:01"}, "other": 1},
        "prevResult": {"ips": [{"address": "10.0.0.5/24"}]},
        "cni.dev/valid-attachments": [{"containerID": "c1", "ifname": "eth0"}],
    });
    let conf = parse(&config).unwrap();
    assert_eq!(conf.cni_version, Version::V1_1_0);
    assert_eq!((conf.name.as_str(), conf.kind.as_str()), ("net", "bridge"));
    assert_eq!(conf.ipam_type(), "cluster-ipam");
    assert_eq!(conf.ipam["pools"], json!(["a"]));
    assert_eq!(conf.dns.as_ref().unwrap().nameservers, ["10.0.0.53"]);
    assert_eq!(conf.capabilities.get("ips"), Some(&true));
    assert_eq!(conf.runtime("ips"), Some(&json!(["10.0.0.5"])));
    assert_eq!(conf.cni_arg("mac"), Some(&json!("02:00:00:00:00:01")));
    assert_eq!(conf.raw["mtu"], 1400);
    let prev = conf.read_prev_result().unwrap().unwrap();
    assert_eq!(prev.ips[0].address.to_string(), "10.0.0.5/24");
    let valid = ValidAttachment {
        container_id: "c1".into(),
        ifname: "eth0".into(),
    };
    assert_eq!(conf.valid_attachments, Some(vec![valid]));
}

#[test]
fn keys_come_in_any_case_and_null_means_absent() {
    let conf = parse(&json!({
        "CNIVersion": "0.4.0", "Name": "n", "type": null, "IPAM": {"Type": "x"}, "dns": null, "capabilities": null,
        "RuntimeConfig": {"MAC": "a"}, "ARGS": {"CNI": {"IPs": []}}, "prevResult": null,
        "cni.dev/valid-attachments": null, "unknown": {"a": [1]},
    }))
    .unwrap();
    assert_eq!(conf.cni_version, Version::V0_4_0);
    assert_eq!((conf.name.as_str(), conf.kind.as_str()), ("n", ""));
    assert_eq!(conf.ipam_type(), "x");
    assert_eq!(conf.runtime("mac"), Some(&json!("a")));
    assert_eq!(conf.cni_arg("ips"), Some(&json!([])));
    assert_eq!(conf.dns, None);
    assert_eq!(conf.read_prev_result(), Ok(None));
    assert_eq!(conf.valid_attachments, None);
}

#[test]
fn a_minimal_configuration_is_of_the_first_version() {
    let conf = parse(&json!({"name": "n"})).unwrap();
    assert_eq!(conf.cni_version, Version::V0_1_0);
    assert_eq!(conf.ipam, Value::Null);
    assert_eq!(conf.ipam_type(), "");
}

#[test]
fn dns_counts_as_given_when_one_of_its_keys_is_present() {
    let dns = |dns: Value| parse(&json!({"name": "n", "dns": dns})).unwrap().dns;
    assert_eq!(dns(json!({})), None);
    assert_eq!(dns(json!({"x": 1, "domain": null})), None);
    assert_eq!(dns(json!({"Nameservers": []})), Some(Dns::default()));
}

#[test]
fn the_network_name_has_a_grammar() {
    let missing = (7, "missing network name".to_owned());
    assert_eq!(refusal(&json!({})), missing);
    assert_eq!(refusal(&json!({"name": ""})), missing);
    assert_eq!(refusal(&Value::Null), missing);
    for name in ["-a", "a/b", "a b", "ü", "a\u{0}"] {
        let invalid = (7, "invalid characters found in network name".to_owned());
        assert_eq!(refusal(&json!({"name": name})), invalid);
    }
}

#[test]
fn the_name_is_judged_before_the_version() {
    assert_eq!(refusal(&json!({"cniVersion": "9.9.9"})).0, 7);
    let (code, msg) = refusal(&json!({"cniVersion": "9.9.9", "name": "n"}));
    assert_eq!((code, msg.as_str()), (1, "incompatible CNI versions"));
}

#[test]
fn what_does_not_decode_is_named() {
    for (key, value) in [
        ("name", json!(1)),
        ("cniVersion", json!(1.0)),
        ("type", json!([])),
        ("ipam", json!("host-local")),
        ("dns", json!([])),
        ("dns", json!({"search": "x"})),
        ("capabilities", json!({"a": "yes"})),
        ("runtimeConfig", json!([])),
        ("args", json!("a")),
        ("prevResult", json!(3)),
        ("cni.dev/valid-attachments", json!({})),
        ("cni.dev/attachments", json!([{"containerID": "c"}])),
    ] {
        let mut config = json!({"name": "n"});
        config[key] = value;
        let (code, msg) = refusal(&config);
        assert_eq!(code, 6, "{config}");
        let start = format!("error unmarshall network config: {key}: ");
        assert!(msg.starts_with(&start), "{msg}");
    }
    for text in ["", "{", "{} x", "[]", "7", "\"a\"", "\u{feff}{}"] {
        let error = NetConf::parse(text.as_bytes(), Command::Add).unwrap_err();
        assert_eq!(error.code, 6, "{text}");
        assert!(error.msg.starts_with("error unmarshall network config: "));
    }
}

#[test]
fn a_del_gets_along_with_a_broken_configuration() {
    let config = json!({
        "name": "n", "cniVersion": 1, "type": 2, "ipam": [], "dns": 3, "capabilities": [], "runtimeConfig": "",
        "args": 4, "prevResult": "x", "cni.dev/attachments": 5,
    });
    let conf = NetConf::parse(config.to_string().as_bytes(), Command::Del).unwrap();
    assert_eq!((conf.name.as_str(), conf.kind.as_str()), ("n", ""));
    assert_eq!(conf.ipam, Value::Null);
    assert_eq!(conf.valid_attachments, None);
    assert_eq!(conf.raw.len(), 10);
    let nameless = NetConf::parse(b"{}", Command::Del).unwrap_err();
    assert_eq!(nameless.msg, "missing network name");
}

#[test]
fn no_list_of_valid_attachments_is_not_an_empty_one() {
    let list = |config: Value| parse(&config).unwrap().valid_attachments;
    assert_eq!(list(json!({"name": "n"})), None);
    assert_eq!(
        list(json!({"name": "n", "cni.dev/attachments": null})),
        None
    );
    let empty = json!({"name": "n", "cni.dev/valid-attachments": []});
    assert_eq!(list(empty), Some(vec![]));
    let old_name = json!({
        "name": "n", "cni.dev/valid-attachments": null,
        "cni.dev/attachments": [{"ContainerID": "c", "IfName": "eth0"}],
    });
    assert_eq!(list(old_name).map(|l| l.len()), Some(1));
}

#[test]
fn a_prev_result_is_read_in_the_configs_version_unless_it_names_its_own() {
    let prev = |version: &str, result: Value| {
        let config = json!({"cniVersion": version, "name": "n", "prevResult": result});
        parse(&config).unwrap().read_prev_result()
    };
    let early = json!({"ip4": {"ip": "10.0.0.5/24"}});
    assert_eq!(prev("0.2.0", early.clone()).unwrap().unwrap().ips.len(), 1);
    assert_eq!(prev("1.0.0", early).unwrap().unwrap().ips.len(), 0);
    let late = json!({"cniVersion": "0.4.0", "ips": [{"version": "4", "address": "10.0.0.5/24"}], "routes": null});
    assert_eq!(prev("0.2.0", late).unwrap().unwrap().ips.len(), 1);
    let error = prev("1.0.0", json!({"ips": [{"address": "10.0.0.5"}]})).unwrap_err();
    assert_eq!(error.code, 6);
    assert!(error.msg.starts_with("could not parse prevResult: "));
    assert!(error.msg.contains("invalid CIDR address: 10.0.0.5"));
}
