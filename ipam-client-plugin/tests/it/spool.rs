//! Releases that could not be delivered: kept, replayed after later work, or flushed.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use nix::fcntl::{Flock, FlockArg};
use serde_json::{Value, json};

use crate::node::{BINARY, Node, Outcome};
use crate::responder::{Act, Request, Responder, nobody};

/// Serves claims and checks, and releases as `release` says.
fn server(release: impl Fn(&Request) -> Act + Send + Sync + 'static) -> Responder {
    Responder::start(move |request, _| match request.path.as_str() {
        "/v1/leases" => Act::leases(&["10.0.0.5/24"]),
        "/v1/check" => Act::json(200, &json!({"leases": [{"address": "10.0.0.5/24"}]})),
        "/v1/gc" => Act::released(),
        _ => release(request),
    })
}

/// DELs of containers `d0`, `d1`, … that found nobody at the service's only server, which this returns.
fn missed_dels(node: &Node, count: usize) -> String {
    let gone = nobody();
    for n in 0..count {
        let config = node.network("1.1.0", &json!(gone), &json!(["p"]));
        node.run("DEL", &format!("d{n}"), &config).success();
    }
    assert_eq!(node.spooled().len(), count);
    gone
}

/// The containers of each release request, in order.
pub(crate) fn released(server: &Responder) -> Vec<Vec<String>> {
    let container = |one: &Value| one["container_id"].as_str().unwrap().to_owned();
    let list = |request: Request| {
        let attachments = request.body["attachments"].as_array().unwrap().clone();
        attachments.iter().map(container).collect()
    };
    server.of("/v1/release").into_iter().map(list).collect()
}

pub(crate) fn flush(node: &Node) -> Outcome {
    let output = Command::new(BINARY)
        .args(["flush", "--node-file"])
        .arg(node.path("node.json"))
        .arg("--state-dir")
        .arg(node.state_dir())
        .output()
        .unwrap();
    Outcome {
        exit: output.status.code(),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
        took: Duration::ZERO,
    }
}

#[test]
fn what_was_missed_is_replayed_in_one_batch_after_any_work_that_succeeds() {
    for verb in ["ADD", "DEL", "CHECK", "GC"] {
        let node = Node::new("n1");
        let gone = missed_dels(&node, 3);
        let server = server(|_| Act::released());
        let mut config = node.network("1.1.0", &json!([server.url(), gone]), &json!(["p"]));
        config["prevResult"] = json!({"ips": [{"address": "10.0.0.5/24"}]});
        config["cni.dev/valid-attachments"] = json!([]);
        node.run(verb, "c1", &config).success();
        assert!(node.spooled().is_empty(), "{verb}");
        let requests = released(&server);
        assert_eq!(requests.last().unwrap(), &["d0", "d1", "d2"], "{verb}");
        let last = server.of("/v1/release").pop().unwrap();
        let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap();
        assert_eq!(last.body["boot_id"], boot.trim());
        assert_eq!(last.body["attachments"][0]["boot_id"], boot.trim());
    }
}

#[test]
fn a_replay_that_is_not_confirmed_keeps_the_records() {
    for act in [
        Act::Raw(String::new()),
        Act::problem(503, "unavailable", "away"),
        Act::problem(500, "internal", "internal error"),
        Act::problem(401, "unauthenticated", "no token"),
        Act::problem(409, "wrong_service", "another"),
        Act::released().with_header("ipam-service-id", "another-service"),
        Act::Answer(200, vec![], "<html>".into()),
    ] {
        let node = Node::new("n1");
        let gone = missed_dels(&node, 2);
        let server = server(move |_| act.clone());
        let config = node.network("1.1.0", &json!([server.url(), gone]), &json!(["p"]));
        node.run("ADD", "c1", &config).success();
        assert_eq!(node.spooled().len(), 2);
        assert_eq!(released(&server), [["d0", "d1"]]);
    }
}

#[test]
fn the_answer_is_out_before_the_replay_begins_and_the_replay_is_bounded() {
    let node = Node::new("n1");
    let gone = missed_dels(&node, 1);
    let server = server(|_| Act::Hang(Duration::from_secs(20)));
    let config = node.network("1.1.0", &json!([server.url(), gone]), &json!(["p"]));
    let started = Instant::now();
    let mut child = Command::new(BINARY)
        .env_clear()
        .env("CNI_COMMAND", "ADD")
        .env("CNI_CONTAINERID", "c1")
        .env("CNI_NETNS", "/x")
        .env("CNI_IFNAME", "eth0")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(config.to_string().as_bytes()).unwrap();
    drop(stdin);
    let mut stdout = BufReader::new(child.stdout.take().unwrap());
    let mut text = String::new();
    while !text.ends_with("}\n") || serde_json::from_str::<Value>(&text).is_err() {
        assert_ne!(stdout.read_line(&mut text).unwrap(), 0, "{text}");
    }
    assert!(child.try_wait().unwrap().is_none(), "it still replays");
    assert!(child.wait().unwrap().success());
    let took = started.elapsed();
    assert!(took >= Duration::from_millis(200), "{took:?}");
    assert!(took < Duration::from_secs(2), "{took:?}");
    assert_eq!(node.spooled().len(), 1);
}

#[test]
fn a_batch_has_at_most_a_hundred_records() {
    let node = Node::new("n1");
    let gone = missed_dels(&node, 1);
    let spool = node.state_dir().join("spool");
    let first = fs::read_dir(&spool)
        .unwrap()
        .next()
        .unwrap()
        .unwrap()
        .path();
    let name = first.file_name().unwrap().to_str().unwrap().to_owned();
    let (head, tail) = name.split_once("-0").unwrap();
    for n in 0..149 {
        fs::copy(&first, spool.join(format!("{head}-9{n:03}{}", &tail[3..]))).unwrap();
    }
    assert_eq!(node.spooled().len(), 150);
    let server = server(|_| Act::released());
    let config = node.network("1.1.0", &json!([server.url(), gone]), &json!(["p"]));
    let sizes = || released(&server).iter().map(Vec::len).collect::<Vec<_>>();
    node.run("ADD", "c1", &config).success();
    assert_eq!((sizes(), node.spooled().len()), (vec![100], 50));
    node.run("ADD", "c1", &config).success();
    assert_eq!((sizes(), node.spooled().len()), (vec![100, 50], 0));
}

#[test]
fn an_add_settles_its_own_key_before_it_claims() {
    let node = Node::new("n1");
    let gone = missed_dels(&node, 2);
    let server = server(|_| Act::released());
    let config = node.network("1.1.0", &json!([server.url(), gone]), &json!(["p"]));
    node.run("ADD", "d1", &config).success();
    let paths: Vec<_> = server.requests().iter().map(|r| r.path.clone()).collect();
    assert_eq!(paths, ["/v1/release", "/v1/leases", "/v1/release"]);
    assert_eq!(released(&server), [["d1"], ["d0"]]);
}

#[test]
fn one_malformed_record_holds_up_no_other_and_is_set_aside() {
    let node = Node::new("n1");
    let gone = missed_dels(&node, 3);
    let server = server(|request| {
        let all = request.body["attachments"].as_array().unwrap();
        match all.iter().any(|one| one["container_id"] == "d1") {
            true => Act::problem(400, "invalid_request", "attachments: d1 is bad"),
            false => Act::released(),
        }
    });
    let config = node.network("1.1.0", &json!([server.url(), gone]), &json!(["p"]));
    let outcome = node.run("ADD", "c1", &config);
    outcome.success();
    assert!(outcome.stderr.contains("set aside"), "{outcome:?}");
    assert!(node.spooled().is_empty());
    let rejected = node.rejected();
    assert_eq!(rejected.len(), 1);
    assert!(
        rejected[0]["reason"]
            .as_str()
            .unwrap()
            .contains("d1 is bad")
    );
    assert!(rejected[0]["record"].as_str().unwrap().contains("\"d1\""));
}

#[test]
fn only_one_call_replays_at_a_time_and_the_others_do_not_wait() {
    let node = Node::new("n1");
    let gone = missed_dels(&node, 1);
    let server = server(|_| Act::released());
    let config = node.network("1.1.0", &json!([server.url(), gone]), &json!(["p"]));
    let file = fs::File::create(node.state_dir().join("spool.lock")).unwrap();
    let lock = Flock::lock(file, FlockArg::LockExclusive).unwrap();
    node.run("ADD", "c1", &config).success();
    assert!(released(&server).is_empty());
    drop(lock);
    node.run("ADD", "c1", &config).success();
    assert_eq!(released(&server), [["d0"]]);
}

#[test]
fn a_del_with_a_broken_configuration_finds_its_servers_in_the_node_file_or_the_state() {
    let server = server(|_| Act::released());
    let node = Node::new("n1");
    let broken = json!({"cniVersion": "1.1.0", "name": "net", "ipam": {
        "server": 7, "pools": "p", "what": 1, "timeout": "soon", "node": "n1",
        "nodeFile": node.path("node.json"), "stateDir": node.state_dir()}});
    node.write_node_file(&json!({"server": server.url(), "unknown": 1}));
    node.run("DEL", "c1", &broken).success();
    assert_eq!(released(&server), [["c1"]]);
    node.write_node_file(&json!({}));
    let good = node.network("1.1.0", &json!(server.url()), &json!(["p"]));
    node.run("ADD", "c2", &good).success();
    node.run("DEL", "c2", &broken).success();
    assert_eq!(released(&server), [["c1"], ["c2"]]);
}

#[test]
fn a_del_that_knows_no_server_is_kept_for_whichever_comes() {
    let node = Node::new("n1");
    let bare = json!({"name": "net", "ipam": {
        "node": "n1", "nodeFile": node.path("node.json"), "stateDir": node.state_dir()}});
    node.run("DEL", "c1", &bare).success();
    assert_eq!(node.spooled().len(), 1);
    let server = server(|_| Act::released());
    let config = node.network("1.1.0", &json!(server.url()), &json!(["p"]));
    node.run("ADD", "c2", &config).success();
    assert_eq!(released(&server), [["c1"]]);
    assert!(node.spooled().is_empty());
}

#[test]
fn flush_drains_everything_and_says_so() {
    let node = Node::new("n1");
    let empty = flush(&node);
    assert_eq!(empty.exit, Some(0), "{empty:?}");
    assert!(empty.stdout.starts_with("0 delivered, 0 left"), "{empty:?}");
    let gone = missed_dels(&node, 3);
    let server = server(|_| Act::released());
    node.write_node_file(&json!({"server": [server.url(), gone]}));
    let outcome = flush(&node);
    assert_eq!(outcome.exit, Some(0), "{outcome:?}");
    assert!(
        outcome.stdout.starts_with("3 delivered, 0 left"),
        "{outcome:?}"
    );
    assert_eq!(released(&server), [["d0", "d1", "d2"]]);
}

#[test]
fn flush_fails_and_tells_why_when_something_is_left() {
    let node = Node::new("n1");
    missed_dels(&node, 2);
    let outcome = flush(&node);
    assert_eq!(outcome.exit, Some(1), "{outcome:?}");
    assert!(outcome.stdout.contains("Connection refused"), "{outcome:?}");
    assert!(
        outcome.stdout.contains("0 delivered, 2 left"),
        "{outcome:?}"
    );
}

#[test]
fn a_damaged_record_is_set_aside_and_the_others_are_delivered() {
    let node = Node::new("n1");
    let gone = missed_dels(&node, 2);
    let spool = node.state_dir().join("spool");
    let mut files: Vec<_> = fs::read_dir(&spool)
        .unwrap()
        .map(|e| e.unwrap().path())
        .collect();
    files.sort();
    fs::write(&files[0], "{\"release\": {").unwrap();
    let server = server(|_| Act::released());
    let config = node.network("1.1.0", &json!([server.url(), gone]), &json!(["p"]));
    node.run("ADD", "c1", &config).success();
    assert_eq!(released(&server), [["d1"]]);
    assert_eq!(node.rejected().len(), 1);
    assert!(node.spooled().is_empty());
}
