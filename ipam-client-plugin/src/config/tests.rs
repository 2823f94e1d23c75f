//! Whole configurations: what beats what, and what is refused.
#![expect(clippy::unwrap_used, reason = "a test may fail by panicking")]

use cni::Command;
use proptest::prelude::*;
use serde_json::json;
use tempfile::TempDir;

use super::*;

/// A network whose node file is `file`, in a directory of its own.
fn network(mut ipam: Value, file: Option<&Value>) -> (TempDir, NetConf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("node.json");
    if let Some(file) = file {
        fs::write(&path, file.to_string()).unwrap();
        ipam["nodeFile"] = json!(path);
    } else if ipam.is_object() && ipam.get("nodeFile").is_none() {
        // The machine's own node file is no part of a test.
        fs::write(&path, "{}").unwrap();
        ipam["nodeFile"] = json!(path);
    }
    let config = json!({"cniVersion": "1.1.0", "name": "net", "ipam": ipam}).to_string();
    (
        dir,
        NetConf::parse(config.as_bytes(), Command::Add).unwrap(),
    )
}

fn strict(ipam: Value, file: Option<&Value>) -> Result<Config, Error> {
    let (_dir, conf) = network(ipam, file);
    Config::strict(&conf)
}

fn minimal() -> Value {
    json!({"type": "cluster-ipam", "server": "http://a", "pools": ["p"], "node": "n"})
}

fn with(key: &str, value: Value) -> Value {
    let mut ipam = minimal();
    ipam[key] = value;
    ipam
}

#[test]
fn a_short_network_takes_the_defaults() {
    let config = strict(minimal(), None).unwrap();
    assert_eq!(config.servers, [Server::Tcp("http://a".into())]);
    assert_eq!(config.cluster, "default");
    assert_eq!(config.timeout, Duration::from_secs(10));
    assert_eq!(config.status_grace, Duration::from_secs(60));
    assert_eq!(config.state_dir, Path::new(STATE_DIR));
    assert_eq!((config.routes, config.token_file), (None, None));
    assert!(!config.status_on_exhausted);
}

#[test]
fn every_key_is_read() {
    let ipam = json!({
        "type": "x", "server": ["http://a", "unix:///s"], "pools": ["p", ["q", "r"]], "routes": [], "cluster": "c",
        "node": "n", "stateDir": "/s", "timeout": "2s", "statusGrace": 0, "statusOnExhausted": true,
        "tokenFile": "/t", "caFile": "/c", "logFile": "/l",
    });
    let config = strict(ipam, None).unwrap();
    assert_eq!(config.servers.len(), 2);
    assert_eq!(config.entries[1].pools, ["q", "r"]);
    assert_eq!(config.routes, Some(vec![]));
    assert_eq!((config.cluster.as_str(), config.node.as_str()), ("c", "n"));
    assert_eq!(config.timeout, Duration::from_secs(2));
    assert_eq!(config.status_grace, Duration::ZERO);
    assert!(config.status_on_exhausted);
    let files = [config.token_file, config.ca_file, config.log_file].map(Option::unwrap);
    assert_eq!(files, ["/t", "/c", "/l"].map(PathBuf::from));
    assert_eq!(config.state_dir, Path::new("/s"));
}

#[test]
fn the_network_beats_the_node_file_which_beats_the_defaults() {
    let file = json!({
        "server": "http://file", "node": "file-node", "cluster": "file-cluster", "timeout": 3,
        "pools": {"rack-v4": "rack-a-v4"},
    });
    let ipam = json!({"pools": ["rack-v4", ["other", "rack-v4"]], "cluster": "mine"});
    let config = strict(ipam, Some(&file)).unwrap();
    assert_eq!(config.servers, [Server::Tcp("http://file".into())]);
    assert_eq!(config.node, "file-node");
    assert_eq!(config.cluster, "mine");
    assert_eq!(config.timeout, Duration::from_secs(3));
    assert_eq!(config.entries[0].pools, ["rack-a-v4"]);
    assert_eq!(config.entries[1].pools, ["other", "rack-a-v4"]);
}

#[test]
fn a_node_file_may_name_the_entries_of_every_network() {
    let file = json!({"pools": ["p", "q"]});
    let ipam = json!({"server": "http://a", "node": "n"});
    assert_eq!(strict(ipam.clone(), Some(&file)).unwrap().entries.len(), 2);
    assert_eq!(strict(minimal(), Some(&file)).unwrap().entries.len(), 1);
    let only_aliases = strict(ipam, Some(&json!({"pools": {"a": "b"}})));
    assert!(only_aliases.unwrap_err().msg.contains("pools is missing"));
}

#[test]
fn null_and_other_cases_of_a_key_are_gos() {
    let ipam =
        json!({"Server": "http://a", "POOLS": ["p"], "Node": "n", "routes": null, "timeout": null});
    let config = strict(ipam, None).unwrap();
    assert_eq!(config.routes, None);
    assert_eq!(config.timeout, Duration::from_secs(10));
}

#[test]
fn what_is_wrong_is_refused_by_its_name() {
    for (ipam, words) in [
        (with("server", json!([])), "ipam: server: must name"),
        (with("server", json!("a:1")), "ipam: server: \"a:1\""),
        (with("server", Value::Null), "server is missing"),
        (with("pools", Value::Null), "pools is missing"),
        (with("pools", json!({})), "ipam: pools: expected a list"),
        (with("pools", json!([])), "ipam: pools: must name"),
        (with("routes", json!("x")), "ipam: routes: expected"),
        (
            with("cluster", json!("")),
            "ipam: cluster: must not be empty",
        ),
        (with("node", json!(" ")), "ipam: node: must not be empty"),
        (
            with("node", json!("localhost")),
            "the node's name is \"localhost\"",
        ),
        (with("stateDir", json!("x")), "ipam: stateDir: \"x\" is not"),
        (with("timeout", json!(0)), "ipam: timeout: must be more"),
        (with("timeout", json!("1h")), "ipam: timeout: expected"),
        (
            with("statusGrace", json!(-1)),
            "ipam: statusGrace: expected",
        ),
        (
            with("statusOnExhausted", json!("yes")),
            "ipam: statusOnExhausted: expected",
        ),
        (with("tokenFile", json!(1)), "ipam: tokenFile: expected"),
        (with("nodeFile", json!("x")), "ipam: nodeFile: \"x\" is not"),
        (
            with("nodeFile", json!("/nonexistent/f")),
            "cannot read the node file /nonexistent/f",
        ),
        (
            with("tokenFiles", json!("/t")),
            "ipam: unknown key \"tokenFiles\"; did you mean \"tokenFile\"?",
        ),
        (Value::Null, "IPAM config missing 'ipam' key"),
    ] {
        let error = strict(ipam.clone(), None).unwrap_err();
        assert_eq!(error.code, 7, "{ipam}");
        assert!(error.msg.contains(words), "{ipam}: {}", error.msg);
    }
}

#[test]
fn a_wrong_node_file_is_refused_by_its_path() {
    for (file, words) in [
        (json!([]), "does not hold a JSON object"),
        (
            json!({"serverz": 1}),
            "unknown key \"serverz\"; did you mean \"server\"?",
        ),
        (json!({"nodeFile": "/x"}), "unknown key \"nodeFile\""),
        (json!({"timeout": "x"}), ": timeout: expected"),
        (json!({"pools": {"a": 1}}), ": pools: expected an object"),
    ] {
        let (dir, conf) = network(minimal(), Some(&file));
        let error = Config::strict(&conf).unwrap_err();
        assert!(error.msg.contains(words), "{}", error.msg);
        assert!(
            error.msg.contains(dir.path().to_str().unwrap()),
            "{}",
            error.msg
        );
    }
    let (dir, conf) = network(minimal(), Some(&json!({})));
    fs::write(dir.path().join("node.json"), "{").unwrap();
    assert!(
        Config::strict(&conf)
            .unwrap_err()
            .msg
            .contains("is not JSON")
    );
}

#[test]
fn a_lenient_reading_takes_what_it_can() {
    let file = json!({"server": "http://file", "timeout": 1, "what": 1, "pools": {"a": 1}});
    let ipam = json!({
        "server": 7, "pools": "p", "routes": 1, "cluster": [], "node": "n", "stateDir": "x", "timeout": "x",
        "statusGrace": {}, "statusOnExhausted": 1, "tokenFile": 2, "serverz": 1,
    });
    let (_dir, conf) = network(ipam, Some(&file));
    let config = Config::lenient(&conf).unwrap();
    assert_eq!(config.servers, [Server::Tcp("http://file".into())]);
    assert_eq!(config.timeout, Duration::from_secs(1));
    assert_eq!(
        (config.cluster.as_str(), config.node.as_str()),
        ("default", "n")
    );
    assert_eq!(config.state_dir, Path::new(STATE_DIR));
    assert!(config.entries.is_empty());
}

#[test]
fn a_lenient_reading_needs_nothing() {
    for ipam in [
        Value::Null,
        json!({"nodeFile": 7}),
        json!({"nodeFile": "/nonexistent/f"}),
    ] {
        let config = json!({"name": "net", "ipam": ipam}).to_string();
        let conf = NetConf::parse(config.as_bytes(), Command::Del).unwrap();
        assert!(Config::lenient(&conf).is_ok());
    }
}

#[test]
fn a_node_file_alone_gives_the_servers() {
    let (dir, _) = network(
        minimal(),
        Some(&json!({"server": "http://file", "stateDir": "/s"})),
    );
    let config = Config::of_node_file(Some(&dir.path().join("node.json"))).unwrap();
    assert_eq!(config.servers, [Server::Tcp("http://file".into())]);
    assert_eq!(config.state_dir, Path::new("/s"));
}

#[test]
fn without_a_node_the_host_names_it() {
    let host = nix::unistd::gethostname().unwrap().into_string().unwrap();
    let ipam = json!({"server": "http://a", "pools": ["p"]});
    match strict(ipam, None) {
        Ok(config) => assert_eq!(config.node, host),
        Err(error) => assert!(error.msg.contains("the node's name is"), "{error}"),
    }
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        "(http|unix)://?/[a-z.:/0-9]{0,6}|[0-9]{1,4}m?s|/?[a-z]{0,5}|\\PC{0,8}"
            .prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 12, 3, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
            prop::collection::hash_map("dst|gw|mtu|[a-z]{1,4}", inner, 0..3)
                .prop_map(|map| map.into_iter().collect()),
        ]
    })
}

proptest! {
    #[test]
    fn any_configuration_is_read_or_refused_by_name(
        values in prop::collection::hash_map(
            prop::sample::select([IPAM_KEYS, &["serverz", "Pools"]].concat()), any_json(), 0..6),
        file in any_json(),
    ) {
        let mut ipam: Map<String, Value> =
            values.into_iter().map(|(key, value)| (key.to_owned(), value)).collect();
        ipam.remove("nodeFile");
        let (_dir, conf) = network(Value::Object(ipam), Some(&file));
        match Config::strict(&conf) {
            Ok(config) => prop_assert!(!config.servers.is_empty() && !config.entries.is_empty()),
            Err(error) => prop_assert!(error.code == 7 && !error.msg.is_empty()),
        }
        prop_assert!(Config::lenient(&conf).is_ok());
    }
}
