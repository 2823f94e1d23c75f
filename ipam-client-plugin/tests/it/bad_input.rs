//! Input of every broken kind: a clear error with the right code, one JSON object on stdout, no panic, nothing leased.

use std::ffi::OsString;
use std::fs;
use std::os::unix::ffi::OsStringExt;

use serde_json::{Value, json};

use crate::node::{Call, Node};
use crate::versions::{dual_stack, leases};

/// A good call, what is done to it, and what must come of it.
struct Case {
    verb: &'static str,
    spoil: Box<dyn Fn(&mut Call)>,
    code: u64,
    words: &'static str,
}

fn env(
    verb: &'static str,
    name: &'static str,
    value: &'static str,
    code: u64,
    words: &'static str,
) -> Case {
    let spoil = Box::new(move |call: &mut Call| match value {
        "" => call.unset(name),
        value => call.set(name, value),
    });
    Case {
        verb,
        spoil,
        code,
        words,
    }
}

fn raw(verb: &'static str, stdin: &'static [u8], code: u64, words: &'static str) -> Case {
    let spoil = Box::new(move |call: &mut Call| call.set_stdin(stdin));
    Case {
        verb,
        spoil,
        code,
        words,
    }
}

/// A key of the configuration; `ipam.x` is one of the `ipam` object.
fn key(
    verb: &'static str,
    key: &'static str,
    value: Value,
    code: u64,
    words: &'static str,
) -> Case {
    let spoil = Box::new(move |call: &mut Call| {
        let mut config = call.config();
        match key.strip_prefix("ipam.") {
            Some(key) => config["ipam"][key] = value.clone(),
            None => config[key] = value.clone(),
        }
        call.set_stdin(config.to_string().as_bytes());
    });
    Case {
        verb,
        spoil,
        code,
        words,
    }
}

fn environment() -> Vec<Case> {
    let missing = "required env variables";
    let id = "invalid characters in containerID";
    let strange = "interface name contains / or : or whitespace";
    let bytes = |name: &'static str| Case {
        verb: "ADD",
        spoil: Box::new(move |call: &mut Call| {
            call.set(name, OsString::from_vec(vec![b'a', 0xff]))
        }),
        code: 4,
        words: "is not valid UTF-8",
    };
    vec![
        env("ADD", "CNI_COMMAND", "FOO", 4, "unknown CNI_COMMAND: FOO"),
        env("ADD", "CNI_COMMAND", "add", 4, "unknown CNI_COMMAND: add"),
        env("ADD", "CNI_CONTAINERID", "", 4, missing),
        env("ADD", "CNI_NETNS", "", 4, missing),
        env("ADD", "CNI_IFNAME", "", 4, missing),
        env("CHECK", "CNI_NETNS", "", 4, missing),
        env("DEL", "CNI_CONTAINERID", "", 4, missing),
        env("DEL", "CNI_IFNAME", "", 4, missing),
        env("GC", "CNI_PATH", "", 4, missing),
        env("ADD", "CNI_CONTAINERID", "-a", 4, id),
        env("ADD", "CNI_CONTAINERID", "../../etc", 4, id),
        env("ADD", "CNI_CONTAINERID", "a b", 4, id),
        env("DEL", "CNI_CONTAINERID", "ü", 4, id),
        env(
            "ADD",
            "CNI_IFNAME",
            "an-interface-too-long",
            4,
            "interface name is too long",
        ),
        env("ADD", "CNI_IFNAME", "..", 4, "interface name is . or .."),
        env("ADD", "CNI_IFNAME", "a/b", 4, strange),
        env("ADD", "CNI_IFNAME", "a:b", 4, strange),
        env("DEL", "CNI_IFNAME", "a b", 4, strange),
        bytes("CNI_NETNS"),
        bytes("CNI_ARGS"),
        bytes("CNI_IFNAME"),
        env("ADD", "CNI_ARGS", "a", 4, "ARGS: invalid pair \"a\""),
        env(
            "ADD",
            "CNI_ARGS",
            "IP=10.1.0.7;",
            4,
            "ARGS: invalid pair \"\"",
        ),
        env(
            "ADD",
            "CNI_ARGS",
            "IP=1=2",
            4,
            "ARGS: invalid pair \"IP=1=2\"",
        ),
        env("ADD", "CNI_ARGS", "X=y", 4, "ARGS: unknown args [\"X=y\"]"),
        env(
            "CHECK",
            "CNI_ARGS",
            "X=y",
            4,
            "ARGS: unknown args [\"X=y\"]",
        ),
        env("ADD", "CNI_ARGS", "ip=10.1.0.7", 4, "unknown args"),
        env(
            "ADD",
            "CNI_ARGS",
            "IgnoreUnknown=maybe",
            4,
            "IgnoreUnknown is \"maybe\"",
        ),
        env(
            "ADD",
            "CNI_ARGS",
            "IP=10.1.0.999",
            4,
            "IP=\"10.1.0.999\" is not an address",
        ),
        env(
            "ADD",
            "CNI_ARGS",
            "IP=10.1.0.7/33333",
            4,
            "is not an address",
        ),
        env(
            "ADD",
            "CNI_ARGS",
            "IP=web-0",
            4,
            "IP=\"web-0\" is not an address",
        ),
        env("ADD", "CNI_ARGS", "IP=172.16.0.9", 7, "172.16.0.9"),
        env("ADD", "CNI_ARGS", "IP=10.1.0.1", 7, "10.1.0.1"),
    ]
}

fn stdin() -> Vec<Case> {
    let broken = "error unmarshall network config";
    let name = "invalid characters found in network name";
    let version = "incompatible CNI versions";
    vec![
        raw("ADD", b"", 6, broken),
        raw("ADD", b"{", 6, broken),
        raw("ADD", b"[]", 6, broken),
        raw("ADD", b"7", 6, broken),
        raw("ADD", b"\xff\xfe\x00\x01", 6, broken),
        raw("ADD", b"{} {}", 6, broken),
        raw("ADD", b"null", 7, "missing network name"),
        raw("DEL", b"not json", 6, broken),
        raw("DEL", b"{}", 7, "missing network name"),
        raw("GC", b"{}", 7, "missing network name"),
        raw("VERSION", b"{", 6, "error unmarshall version request"),
        Case {
            verb: "ADD",
            spoil: Box::new(|call| call.set_stdin("[".repeat(100_000).as_bytes())),
            code: 6,
            words: broken,
        },
        Case {
            verb: "ADD",
            spoil: Box::new(|call| call.set_stdin(&vec![b' '; (4 << 20) + 1])),
            code: 6,
            words: "more than 4194304 bytes",
        },
        key("ADD", "name", json!(""), 7, "missing network name"),
        key("ADD", "name", Value::Null, 7, "missing network name"),
        key("ADD", "name", json!("a/b"), 7, name),
        key("ADD", "name", json!("a\u{0}"), 7, name),
        key("ADD", "name", json!(7), 6, "name: "),
        key("ADD", "cniVersion", json!("9.9.9"), 1, version),
        key("DEL", "cniVersion", json!("0.5.0"), 1, version),
        key("ADD", "cniVersion", json!(1.0), 6, "cniVersion: "),
        key(
            "CHECK",
            "cniVersion",
            json!("0.3.1"),
            1,
            "does not allow CHECK",
        ),
        key(
            "STATUS",
            "cniVersion",
            json!("1.0.0"),
            1,
            "does not allow STATUS",
        ),
        key("GC", "cniVersion", json!("1.0.0"), 1, "does not allow GC"),
        key(
            "CHECK",
            "prevResult",
            Value::Null,
            7,
            "required prevResult missing",
        ),
        key("CHECK", "prevResult", json!(7), 6, "prevResult: "),
        key(
            "CHECK",
            "prevResult",
            json!({"ips": [{"address": "10.1.0.5"}]}),
            6,
            "invalid CIDR address: 10.1.0.5",
        ),
        key(
            "CHECK",
            "prevResult",
            json!({"cniVersion": "7"}),
            1,
            "unsupported CNI result version",
        ),
        key(
            "CHECK",
            "prevResult",
            json!({"ips": [{"address": "10.1.0.5/16"}]}),
            107,
            "holds no lease",
        ),
        key("ADD", "runtimeConfig", json!([]), 6, "runtimeConfig: "),
        key(
            "ADD",
            "runtimeConfig",
            json!({"ips": [7]}),
            7,
            "runtimeConfig.ips: expected addresses, got 7",
        ),
        key(
            "ADD",
            "runtimeConfig",
            json!({"ips": ["10.1.0.0/16", "x"]}),
            7,
            "runtimeConfig.ips: ",
        ),
        key(
            "ADD",
            "args",
            json!({"cni": {"ips": [["10.1.0.7"]]}}),
            7,
            "args.cni.ips: ",
        ),
        key("ADD", "args", json!("IP=10.1.0.7"), 6, "args: "),
        key(
            "GC",
            "cni.dev/valid-attachments",
            Value::Null,
            7,
            "cni.dev/valid-attachments is missing",
        ),
        key(
            "GC",
            "cni.dev/valid-attachments",
            json!({}),
            6,
            "cni.dev/valid-attachments: ",
        ),
        key(
            "GC",
            "cni.dev/valid-attachments",
            json!([{"containerID": "c"}]),
            6,
            "ifname",
        ),
    ]
}

fn ipam() -> Vec<Case> {
    let many: Vec<_> = (0..17).map(|n| format!("p{n}")).collect();
    vec![
        key(
            "ADD",
            "ipam",
            Value::Null,
            7,
            "IPAM config missing 'ipam' key",
        ),
        key("ADD", "ipam", json!("cluster-ipam"), 6, "ipam: "),
        key(
            "ADD",
            "ipam.sever",
            json!("http://a"),
            7,
            "unknown key \"sever\"; did you mean \"server\"?",
        ),
        key("CHECK", "ipam.range", json!([]), 7, "unknown key \"range\""),
        key(
            "STATUS",
            "ipam.subnet",
            json!("10.0.0.0/8"),
            7,
            "unknown key \"subnet\"",
        ),
        key(
            "GC",
            "ipam.time-out",
            json!(1),
            7,
            "did you mean \"timeout\"?",
        ),
        key("ADD", "ipam.server", Value::Null, 7, "server is missing"),
        key(
            "ADD",
            "ipam.server",
            json!([]),
            7,
            "ipam: server: must name at least one URL",
        ),
        key(
            "ADD",
            "ipam.server",
            json!("10.0.0.5:7070"),
            7,
            "ipam: server: ",
        ),
        key(
            "ADD",
            "ipam.server",
            json!("ftp://10.0.0.5"),
            7,
            "none of http://, https:// and unix://",
        ),
        key(
            "ADD",
            "ipam.server",
            json!("http://me:pw@10.0.0.5"),
            7,
            "must not hold credentials",
        ),
        key(
            "ADD",
            "ipam.server",
            json!(["http://a", 7]),
            7,
            "ipam: server: expected a URL",
        ),
        key(
            "ADD",
            "ipam.server",
            json!("unix://run/ipam.sock"),
            7,
            "needs an absolute path",
        ),
        key("ADD", "ipam.pools", Value::Null, 7, "pools is missing"),
        key(
            "ADD",
            "ipam.pools",
            json!([]),
            7,
            "ipam: pools: must name at least one pool",
        ),
        key(
            "ADD",
            "ipam.pools",
            json!("v4"),
            7,
            "ipam: pools: expected a list",
        ),
        key(
            "ADD",
            "ipam.pools",
            json!([7]),
            7,
            "ipam: pools: expected a list",
        ),
        key(
            "ADD",
            "ipam.pools",
            json!([[]]),
            7,
            "ipam: pools: expected a list",
        ),
        key(
            "ADD",
            "ipam.pools",
            json!([""]),
            7,
            "ipam: pools: expected a list",
        ),
        key("ADD", "ipam.pools", json!(["absent"]), 7, "absent"),
        key("ADD", "ipam.pools", json!(["v4", "absent"]), 7, "absent"),
        key("ADD", "ipam.pools", json!(["v4\u{0}"]), 7, "entries[0]"),
        key("ADD", "ipam.pools", json!(many), 7, "entries"),
        key(
            "ADD",
            "ipam.routes",
            json!({"dst": "0.0.0.0/0"}),
            7,
            "ipam: routes: expected a list of routes",
        ),
        key(
            "ADD",
            "ipam.routes",
            json!([{"dst": "10.0.0.0"}]),
            7,
            "invalid CIDR address",
        ),
        key(
            "ADD",
            "ipam.routes",
            json!([{"dst": "10.0.0.0/8", "via": "10.0.0.1"}]),
            7,
            "unknown key \"via\"",
        ),
        key(
            "ADD",
            "ipam.cluster",
            json!(""),
            7,
            "ipam: cluster: must not be empty",
        ),
        key(
            "ADD",
            "ipam.node",
            json!(""),
            7,
            "ipam: node: must not be empty",
        ),
        key(
            "ADD",
            "ipam.node",
            json!("localhost"),
            7,
            "the node's name is \"localhost\"",
        ),
        key(
            "ADD",
            "ipam.nodeFile",
            json!("node.json"),
            7,
            "ipam: nodeFile: \"node.json\" is not an absolute path",
        ),
        key(
            "ADD",
            "ipam.nodeFile",
            json!("/nonexistent/node.json"),
            7,
            "cannot read the node file",
        ),
        key(
            "ADD",
            "ipam.nodeFile",
            json!("/proc/self/status"),
            7,
            "is not JSON",
        ),
        key(
            "ADD",
            "ipam.stateDir",
            json!("state"),
            7,
            "ipam: stateDir: \"state\" is not an absolute path",
        ),
        key("ADD", "ipam.stateDir", json!("/dev/null"), 5, "/dev/null"),
        key(
            "ADD",
            "ipam.timeout",
            json!(0),
            7,
            "ipam: timeout: must be more than 0",
        ),
        key(
            "ADD",
            "ipam.timeout",
            json!(-5),
            7,
            "ipam: timeout: expected seconds",
        ),
        key(
            "ADD",
            "ipam.timeout",
            json!("10 minutes"),
            7,
            "ipam: timeout: expected seconds",
        ),
        key(
            "ADD",
            "ipam.timeout",
            json!(1e12),
            7,
            "ipam: timeout: expected seconds",
        ),
        key(
            "STATUS",
            "ipam.statusGrace",
            json!("long"),
            7,
            "ipam: statusGrace: expected seconds",
        ),
        key(
            "STATUS",
            "ipam.statusOnExhausted",
            json!("yes"),
            7,
            "expected true or false",
        ),
        key(
            "ADD",
            "ipam.tokenFile",
            json!(7),
            7,
            "ipam: tokenFile: expected a string",
        ),
        key(
            "ADD",
            "ipam.tokenFile",
            json!("/nonexistent/token"),
            5,
            "cannot read the token from /nonexistent/token",
        ),
        key(
            "ADD",
            "ipam.tokenFile",
            json!("/dev/null"),
            5,
            "/dev/null holds no token",
        ),
        key(
            "ADD",
            "ipam.tokenFile",
            json!("/proc/self/status"),
            5,
            "characters that no header may hold",
        ),
        key(
            "ADD",
            "ipam.caFile",
            json!("ca.pem"),
            7,
            "ipam: caFile: \"ca.pem\" is not an absolute path",
        ),
        key(
            "ADD",
            "ipam.logFile",
            json!(""),
            7,
            "ipam: logFile: must not be empty",
        ),
    ]
}

#[test]
fn bad_input_is_a_clear_error_and_leases_nothing() {
    let server = dual_stack();
    let cases: Vec<_> = [environment(), stdin(), ipam()]
        .into_iter()
        .flatten()
        .collect();
    assert!(cases.len() >= 60);
    for (number, case) in cases.iter().enumerate() {
        let node = Node::new("n1");
        let mut config = node.network("1.1.0", &json!(server.url()), &json!(["v4"]));
        config["cni.dev/valid-attachments"] = json!([]);
        config["prevResult"] = json!({"ips": []});
        let mut call = node.call(case.verb, "c1", &config);
        (case.spoil)(&mut call);
        let outcome = call.run();
        let (code, msg) = outcome.failure();
        let told = format!(
            "case {number}, {} should say {:?}: {outcome:#?}",
            case.verb, case.words
        );
        assert_eq!(code, case.code, "{told}");
        assert!(msg.contains(case.words), "{told}");
    }
    assert_eq!(leases(&server), [], "nothing is leased");
}

#[test]
fn a_node_file_of_the_wrong_kind_is_a_clear_error_too() {
    let server = dual_stack();
    for (file, words) in [
        ("", "is not JSON"),
        ("[]", "does not hold a JSON object"),
        (
            "{\"servers\": \"http://a\"}",
            "unknown key \"servers\"; did you mean \"server\"?",
        ),
        ("{\"nodeFile\": \"/x\"}", "unknown key \"nodeFile\""),
        ("{\"pools\": {\"a\": 7}}", "pools: expected an object"),
        ("{\"statusGrace\": true}", "statusGrace: expected seconds"),
    ] {
        let node = Node::new("n1");
        fs::write(node.path("node.json"), file).unwrap();
        let config = node.network("1.1.0", &json!(server.url()), &json!(["v4"]));
        node.run("ADD", "c1", &config).fails(7, words);
        node.run("DEL", "c1", &config).success();
    }
    assert_eq!(leases(&server), []);
}

#[test]
fn a_del_gets_along_with_whatever_the_configuration_holds() {
    let server = dual_stack();
    let node = Node::new("n1");
    let good = node.network("1.1.0", &json!(server.url()), &json!(["v4"]));
    for (number, (key, value)) in [
        ("pools", json!(7)),
        ("routes", json!("x")),
        ("timeout", json!("x")),
        ("unknown", json!(1)),
        ("cluster", json!([])),
        ("node", json!("renamed")),
        ("caFile", json!("ca")),
        ("statusGrace", json!({})),
    ]
    .into_iter()
    .enumerate()
    {
        let id = format!("c{number}");
        node.run("ADD", &id, &good).success();
        let mut broken = good.clone();
        broken["ipam"][key] = value;
        broken["prevResult"] = json!("x");
        broken["args"] = json!(7);
        let call = node.call("DEL", &id, &broken).with("CNI_ARGS", "a;;X=y");
        assert_eq!(call.run().success(), Value::Null, "{key}");
        assert_eq!(leases(&server), [], "{key}");
    }
}
