//! What the plugin does when servers are away, slow, busy, broken, or refuse.

use std::time::Duration;

use serde_json::{Value, json};

use crate::node::{Node, Outcome};
use crate::responder::{Act, Responder, SERVICE, nobody};

fn add_to(servers: &Value, timeout: &str) -> (Node, Outcome) {
    let node = Node::new("n1");
    let mut config = node.network("1.1.0", servers, &json!(["p"]));
    config["ipam"]["timeout"] = json!(timeout);
    let outcome = node.run("ADD", "c1", &config);
    (node, outcome)
}

#[test]
fn a_definite_refusal_ends_the_add_with_its_code_and_the_servers_words() {
    for (status, problem, code) in [
        (400, "invalid_request", 7),
        (404, "pool_not_found", 7),
        (404, "not_found", 7),
        (507, "pool_exhausted", 100),
        (409, "address_taken", 101),
        (409, "attachment_differs", 102),
        (409, "superseded", 103),
        (409, "wrong_service", 104),
        (409, "node_name_conflict", 105),
        (401, "unauthenticated", 106),
        (403, "forbidden", 106),
        (409, "a_code_of_tomorrow", 999),
    ] {
        let server = Responder::always(Act::problem(status, problem, "because of x"));
        let (node, outcome) = add_to(&json!(server.url()), "5s");
        outcome.fails(code, "because of x");
        outcome.fails(code, &server.url());
        outcome.fails(code, "request r-7");
        assert!(outcome.took < Duration::from_secs(3), "{outcome:?}");
        assert_eq!(server.of("/v1/leases").len(), 1, "{problem} is not retried");
        assert!(server.of("/v1/release").is_empty(), "nothing to take back");
        assert!(node.spooled().is_empty());
    }
}

#[test]
fn when_nobody_listens_the_add_may_be_tried_again_and_leaves_nothing_behind() {
    let (node, outcome) = add_to(&json!([nobody(), nobody()]), "400ms");
    outcome.fails(11, "Connection refused");
    assert!(
        outcome.took >= Duration::from_millis(100),
        "it waits for one"
    );
    assert!(outcome.took < Duration::from_secs(3));
    assert!(node.spooled().is_empty(), "nothing was ever sent");
}

#[test]
fn a_socket_that_is_not_there_is_named() {
    let (_, outcome) = add_to(&json!("unix:///nonexistent/ipam.sock"), "200ms");
    outcome.fails(
        11,
        "unix:///nonexistent/ipam.sock: No such file or directory",
    );
}

#[test]
fn the_next_server_serves_when_the_first_ones_do_not() {
    for bad in [
        Act::Hang(Duration::from_secs(20)),
        Act::Raw(String::new()),
        Act::Raw("HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{\"lea".into()),
        Act::Raw("SSH-2.0-OpenSSH_9\r\n".into()),
        Act::problem(503, "unavailable", "the database is away"),
        Act::problem(500, "internal", "internal error"),
        Act::Answer(
            502,
            vec![("ipam-service-id", String::new())],
            "<html>".into(),
        ),
        Act::Answer(
            200,
            vec![("ipam-service-id", String::new())],
            "{\"leases\":[]}".into(),
        ),
        Act::Answer(200, vec![], "<html>".into()),
        Act::Answer(200, vec![], "{\"leases\": 7}".into()),
        Act::Answer(
            302,
            vec![("location", "http://127.0.0.1:1/".into())],
            String::new(),
        ),
    ] {
        let broken = Responder::always(bad.clone());
        let good = Responder::always(Act::leases(&["10.0.0.5/24"]));
        // Whichever of them this node begins with.
        for servers in [[broken.url(), good.url()], [good.url(), broken.url()]] {
            let (_, outcome) = add_to(&json!(servers), "3s");
            assert_eq!(outcome.addresses(), ["10.0.0.5/24"], "{bad:?}");
        }
        assert!(!broken.requests().is_empty());
    }
}

#[test]
fn a_server_that_answers_late_is_waited_for() {
    let late = Act::Late(
        Duration::from_millis(700),
        Box::new(Act::leases(&["10.0.0.5/24"])),
    );
    let server = Responder::always(late);
    let (_, outcome) = add_to(&json!(server.url()), "5s");
    assert_eq!(outcome.addresses(), ["10.0.0.5/24"]);
    assert_eq!(server.of("/v1/leases").len(), 1);
}

#[test]
fn a_server_that_comes_back_within_the_time_serves_the_add() {
    let server = Responder::start(|_, before| match before {
        0 => Act::problem(503, "unavailable", "starting").with_header("retry-after", "1"),
        1 => Act::Raw(String::new()),
        _ => Act::leases(&["10.0.0.5/24"]),
    });
    let (_, outcome) = add_to(&json!(server.url()), "5s");
    assert_eq!(outcome.addresses(), ["10.0.0.5/24"]);
    assert!(
        outcome.took >= Duration::from_secs(1),
        "Retry-After is kept"
    );
    let claims = server.of("/v1/leases");
    assert_eq!(claims.len(), 3);
    let issued: Vec<_> = claims.iter().map(|claim| &claim.body["issued"]).collect();
    assert!(
        issued.iter().all(|one| *one == issued[0]),
        "one claim, one time of issue"
    );
    let left = |n: usize| claims[n].body["deadline_ms"].as_u64().unwrap();
    assert!(left(0) <= 5000 && left(0) > 4000, "{}", left(0));
    assert!(left(1) <= 4000, "{}", left(1));
}

#[test]
fn a_retry_after_that_does_not_fit_is_not_waited_for() {
    let busy = Act::problem(503, "unavailable", "queue full").with_header("retry-after", "60");
    let server = Responder::always(busy);
    let (_, outcome) = add_to(&json!(server.url()), "4s");
    outcome.fails(11, "queue full");
    assert!(outcome.took < Duration::from_secs(2), "{outcome:?}");
}

#[test]
fn an_add_that_gives_up_takes_its_own_claim_back() {
    let server = Responder::start(|request, _| match request.path.as_str() {
        "/v1/leases" => Act::Hang(Duration::from_secs(20)),
        _ => Act::released(),
    });
    let (node, outcome) = add_to(&json!(server.url()), "700ms");
    outcome.fails(11, "no answer within");
    assert!(outcome.took < Duration::from_secs(4), "{outcome:?}");
    let claim = &server.of("/v1/leases")[0].body;
    let release = &server.of("/v1/release")[0].body["attachments"][0];
    assert_eq!(release["claim_issued"], claim["issued"]);
    assert_eq!(release["container_id"], "c1");
    assert!(node.spooled().is_empty());
}

#[test]
fn an_add_that_cannot_even_say_so_spools_it() {
    let server = Responder::always(Act::Hang(Duration::from_secs(20)));
    let (node, outcome) = add_to(&json!(server.url()), "600ms");
    outcome.fails(11, "no answer within");
    let spooled = node.spooled();
    assert_eq!(spooled.len(), 1);
    let claim = &server.of("/v1/leases")[0].body;
    assert_eq!(spooled[0]["release"]["claim_issued"], claim["issued"]);
    assert_eq!(spooled[0]["release"]["boot_id"], claim["boot_id"]);
}

#[test]
fn a_refusal_after_a_try_whose_answer_got_lost_is_no_proof_that_nothing_is_held() {
    let server = Responder::start(|request, before| match (request.path.as_str(), before) {
        ("/v1/leases", 0) => Act::Raw(String::new()),
        ("/v1/leases", _) => Act::problem(507, "pool_exhausted", "full"),
        _ => Act::released(),
    });
    let (_, outcome) = add_to(&json!(server.url()), "2s");
    outcome.fails(100, "full");
    assert_eq!(server.of("/v1/release").len(), 1);
}

#[test]
fn an_answer_that_does_not_fit_the_claim_is_given_back() {
    let server = Responder::start(|request, _| match request.path.as_str() {
        "/v1/leases" => Act::leases(&["10.0.0.5/24", "10.0.0.6/24"]),
        _ => Act::released(),
    });
    let (_, outcome) = add_to(&json!(server.url()), "2s");
    outcome.fails(999, "2 leases for 1 entries");
    assert_eq!(server.of("/v1/release").len(), 1);
}

#[test]
fn a_result_that_cannot_be_printed_is_given_back() {
    let server = Responder::start(|request, _| match request.path.as_str() {
        "/v1/leases" => Act::leases(&["10.0.0.5/24"]),
        _ => Act::released(),
    });
    let node = Node::new("n1");
    let config = node.network("1.1.0", &json!(server.url()), &json!(["p"]));
    let full = std::fs::File::options()
        .write(true)
        .open("/dev/full")
        .unwrap();
    let outcome = node.call("ADD", "c1", &config).to(full.into()).run();
    assert_eq!(outcome.exit, Some(1));
    let claim = &server.of("/v1/leases")[0].body;
    let release = &server.of("/v1/release")[0].body["attachments"][0];
    assert_eq!(release["claim_issued"], claim["issued"]);
}

#[test]
fn a_state_that_cannot_be_written_gives_the_lease_back() {
    let server = Responder::start(|request, _| match request.path.as_str() {
        "/v1/leases" => Act::leases(&["10.0.0.5/24"]),
        _ => Act::released(),
    });
    let node = Node::new("n1");
    let mut config = node.network("1.1.0", &json!(server.url()), &json!(["p"]));
    config["ipam"]["stateDir"] = json!("/proc/cluster-ipam");
    let outcome = node.run("ADD", "c1", &config);
    outcome.fails(5, "/proc/cluster-ipam");
    assert_eq!(server.of("/v1/release").len(), 1);
}

#[test]
fn a_del_never_waits_long_and_never_fails_for_a_servers_sake() {
    for (act, at_most_ms) in [
        (Act::Raw(String::new()), 900),
        (
            Act::problem(503, "unavailable", "away").with_header("retry-after", "1"),
            900,
        ),
        (Act::problem(500, "internal", "internal error"), 900),
        (Act::problem(401, "unauthenticated", "no token"), 900),
        (Act::problem(409, "wrong_service", "another"), 900),
        (Act::Answer(200, vec![], "<html>".into()), 900),
        (
            Act::Answer(
                200,
                vec![("ipam-service-id", String::new())],
                "{\"released\":1}".into(),
            ),
            900,
        ),
        (Act::Hang(Duration::from_secs(20)), 2900),
    ] {
        let server = Responder::always(act.clone());
        let node = Node::new("n1");
        let config = node.network("1.1.0", &json!(server.url()), &json!(["p"]));
        let outcome = node.run("DEL", "c1", &config);
        assert_eq!(outcome.success(), Value::Null, "{act:?}");
        assert!(
            outcome.took < Duration::from_millis(at_most_ms),
            "{act:?}: {outcome:?}"
        );
        assert_eq!(server.requests().len(), 1, "{act:?}");
        let sent = &server.requests()[0].body;
        let spooled = node.spooled();
        assert_eq!(spooled.len(), 1, "{act:?}");
        assert_eq!(spooled[0]["release"], sent["attachments"][0]);
        assert_eq!(spooled[0]["access"]["servers"], json!([server.url()]));
        assert!(outcome.stderr.contains("spooled"), "{outcome:?}");
    }
}

#[test]
fn a_release_that_can_neither_be_sent_nor_kept_is_the_runtimes_to_repeat() {
    let node = Node::new("n1");
    let mut config = node.network("1.1.0", &json!(nobody()), &json!(["p"]));
    config["ipam"]["stateDir"] = json!("/proc/cluster-ipam");
    let outcome = node.run("DEL", "c1", &config);
    outcome.fails(5, "/proc/cluster-ipam/spool");
}

#[test]
fn a_check_passes_with_a_warning_while_nobody_answers() {
    for act in [
        Act::Hang(Duration::from_secs(20)),
        Act::problem(503, "unavailable", "away"),
        Act::problem(500, "internal", "internal error"),
        Act::Answer(200, vec![], "<html>".into()),
    ] {
        let server = Responder::always(act.clone());
        let node = Node::new("n1");
        let mut config = node.network("1.1.0", &json!(server.url()), &json!(["p"]));
        config["prevResult"] = json!({"ips": [{"address": "10.0.0.5/24"}]});
        let outcome = node.run("CHECK", "c1", &config);
        assert_eq!(outcome.success(), Value::Null);
        assert!(outcome.stderr.contains("CHECK passes"), "{outcome:?}");
        assert!(outcome.took < Duration::from_secs(2), "{outcome:?}");
    }
}

#[test]
fn a_check_fails_when_the_lease_is_missing_or_another() {
    for (held, words) in [
        (&[][..], "holds no lease"),
        (&["10.0.0.6/24"], "holds 10.0.0.6"),
    ] {
        let leases: Vec<_> = held.iter().map(|a| json!({"address": a})).collect();
        let answer = json!({"ok": false, "missing": ["10.0.0.5"], "leases": leases});
        let server = Responder::always(Act::json(200, &answer));
        let node = Node::new("n1");
        let mut config = node.network("1.1.0", &json!(server.url()), &json!(["p"]));
        config["prevResult"] = json!({"ips": [{"address": "10.0.0.5/24"}]});
        node.run("CHECK", "c1", &config).fails(107, words);
    }
}

#[test]
fn a_gc_fails_when_nobody_answers_and_is_sent_as_it_was_given() {
    let node = Node::new("n1");
    let gc = |url: String| {
        let mut config = node.network("1.1.0", &json!(url), &json!(["p"]));
        config["ipam"]["timeout"] = json!("300ms");
        config["cni.dev/valid-attachments"] = json!([{"containerID": "c1", "ifname": "eth0"}]);
        node.run("GC", "", &config)
    };
    gc(nobody()).fails(11, "Connection refused");
    let server = Responder::always(Act::released());
    assert_eq!(gc(server.url()).success(), Value::Null);
    let sent = &server.of("/v1/gc")[0].body;
    assert_eq!(
        sent["valid"],
        json!([{"container_id": "c1", "ifname": "eth0"}])
    );
    assert_eq!(
        (&sent["node"], &sent["network"]),
        (&json!("n1"), &json!("net"))
    );
    assert!(sent["issued"].is_i64() && sent["boot_id"].is_string());
}

#[test]
fn the_claim_says_all_that_the_runtime_said() {
    let server = Responder::always(Act::leases(&["10.0.0.5/24", "fd00::5/64"]));
    let node = Node::new("n1");
    let token = node.path("token");
    std::fs::write(&token, "secret-1\n").unwrap();
    let mut config = node.network("1.1.0", &json!(server.url()), &json!(["a", ["b", "c"]]));
    config["ipam"]["tokenFile"] = json!(token);
    config["ipam"]["cluster"] = json!("east");
    config["runtimeConfig"] = json!({"ips": ["fd00::5/64"]});
    let args = "IgnoreUnknown=1;K8S_POD_NAMESPACE=prod;K8S_POD_NAME=web-0;K8S_POD_UID=u-1;K8S_POD_INFRA_CONTAINER_ID=c1;IP=10.0.0.5";
    node.call("ADD", "c1", &config)
        .with("CNI_ARGS", args)
        .run()
        .success();
    // A rotated token counts at once.
    std::fs::write(&token, "secret-2").unwrap();
    node.call("ADD", "c1", &config)
        .with("CNI_ARGS", args)
        .run()
        .success();
    let claims = server.of("/v1/leases");
    let body = &claims[0].body;
    assert_eq!(
        body["attachment"],
        json!({"cluster": "east", "node": "n1", "network": "net", "container_id": "c1", "ifname": "eth0"})
    );
    assert_eq!(
        body["entries"],
        json!([{"pools": ["a"]}, {"pools": ["b", "c"]}])
    );
    assert_eq!(body["wanted"], json!(["10.0.0.5", "fd00::5"]));
    assert_eq!(
        body["pod"],
        json!({"namespace": "prod", "name": "web-0", "uid": "u-1"})
    );
    assert!(body.get("owner").is_none(), "what is not set is left out");
    assert_eq!(claims[0].header("authorization"), Some("Bearer secret-1"));
    assert_eq!(claims[1].header("authorization"), Some("Bearer secret-2"));
    assert_eq!(claims[0].header("ipam-service-id"), None);
    assert_eq!(claims[1].header("ipam-service-id"), Some(SERVICE));
    assert!(claims[1].body["issued"].as_i64() > body["issued"].as_i64());
}
