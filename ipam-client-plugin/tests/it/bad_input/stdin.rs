//! A spoilt standard input: no JSON, or wrong in the keys that all plugins share.

use serde_json::{Value, json};

use super::{Case, key, raw};

pub(super) fn cases() -> Vec<Case> {
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
