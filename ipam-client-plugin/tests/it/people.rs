//! The program in a person's hands, and what it writes to its log.

use std::fs;
use std::process::Command;

use serde_json::json;

use crate::node::{BINARY, Call, Node};
use crate::responder::{Act, Responder, nobody};

fn run(args: &[&str]) -> (Option<i32>, String, String) {
    let output = Command::new(BINARY)
        .args(args)
        .env_remove("CNI_COMMAND")
        .output()
        .unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (
        output.status.code(),
        text(output.stdout),
        text(output.stderr),
    )
}

#[test]
fn without_a_command_it_introduces_itself_on_stderr() {
    let (exit, stdout, stderr) = run(&[]);
    assert_eq!((exit, stdout.as_str()), (Some(0), ""));
    assert!(stderr.starts_with(concat!(
        "cluster-ipam ",
        env!("CARGO_PKG_VERSION"),
        ": CNI IPAM plugin"
    )));
    assert!(stderr.contains("0.1.0, 0.2.0, 0.3.0, 0.3.1, 0.4.0, 1.0.0, 1.1.0"));
}

#[test]
fn version_and_help_are_on_stdout() {
    let version = concat!("cluster-ipam ", env!("CARGO_PKG_VERSION"), "\n");
    assert_eq!(
        run(&["--version"]),
        (Some(0), version.into(), String::new())
    );
    let (exit, stdout, stderr) = run(&["--help"]);
    assert_eq!((exit, stderr.as_str()), (Some(0), ""));
    assert!(stdout.contains("cluster-ipam flush"));
}

#[test]
fn a_word_that_it_does_not_know_is_named() {
    for (args, words) in [
        (&["flsh"][..], "unknown argument \"flsh\""),
        (&["flush", "--all"], "flush: unknown argument \"--all\""),
        (
            &["flush", "--state-dir"],
            "flush: --state-dir needs a value",
        ),
    ] {
        let (exit, stdout, stderr) = run(args);
        assert_eq!((exit, stdout.as_str()), (Some(2), ""));
        assert!(stderr.contains(words), "{stderr}");
    }
}

#[test]
fn a_log_file_tells_of_success_and_failure_while_stderr_tells_of_failure_only() {
    let server = Responder::start(|request, _| match request.path.as_str() {
        "/v1/leases" => Act::leases(&["10.0.0.5/24"]),
        _ => Act::Raw(String::new()),
    });
    let node = Node::new("n1");
    let log = node.path("plugin.log");
    let mut config = node.network("1.1.0", &json!(server.url()), &json!(["p"]));
    config["ipam"]["logFile"] = json!(log);
    let outcome = node.run("ADD", "c1", &config);
    outcome.success();
    assert_eq!(outcome.stderr, "");
    let outcome = node.run("DEL", "c1", &config);
    assert!(
        outcome.stderr.contains("WARN the release is spooled"),
        "{outcome:?}"
    );
    config["ipam"]["server"] = json!(nobody());
    config["ipam"]["timeout"] = json!("100ms");
    let outcome = node.run("ADD", "c2", &config);
    assert!(
        outcome.stderr.contains("ERROR failed command=ADD"),
        "{outcome:?}"
    );
    let text = fs::read_to_string(&log).unwrap();
    for words in [
        "INFO done command=ADD",
        "10.0.0.5",
        "WARN the release is spooled",
        "ERROR failed command=ADD",
    ] {
        assert!(text.contains(words), "{words:?} is not in {text}");
    }
    assert!(
        text.lines().all(|line| line.starts_with("20")),
        "whole lines: {text}"
    );
}

#[test]
fn a_log_file_that_cannot_be_opened_fails_nothing() {
    let server = Responder::always(Act::leases(&["10.0.0.5/24"]));
    let node = Node::new("n1");
    let mut config = node.network("1.1.0", &json!(server.url()), &json!(["p"]));
    config["ipam"]["logFile"] = json!("/proc/no/such/log");
    let outcome = node.run("ADD", "c1", &config);
    outcome.success();
    assert!(
        outcome
            .stderr
            .contains("cannot open the log file /proc/no/such/log"),
        "{outcome:?}"
    );
}

#[test]
fn version_reads_no_configuration() {
    for stdin in [
        "{\"cniVersion\":\"0.4.0\"}",
        "",
        "{\"cniVersion\":\"9.9.9\"}",
    ] {
        let answer = Call::new(stdin.as_bytes())
            .with("CNI_COMMAND", "VERSION")
            .run()
            .success();
        assert_eq!(answer["supportedVersions"].as_array().unwrap().len(), 7);
    }
}
