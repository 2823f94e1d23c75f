//! Input of every broken kind: a clear error with the right code, one JSON object on stdout, no panic, nothing leased.

mod environment;
mod ipam;
mod stdin;

use std::fs;

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

#[test]
fn bad_input_is_a_clear_error_and_leases_nothing() {
    let server = dual_stack();
    let cases: Vec<_> = [environment::cases(), stdin::cases(), ipam::cases()]
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
