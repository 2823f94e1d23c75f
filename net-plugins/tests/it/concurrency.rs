//! Many containers at once on one bridge.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use harness::require;
use serde_json::json;

use crate::world::{Host, ready, with};

const CONTAINERS: usize = 100;
/// More than can join while a GC runs.
const MANY: usize = 300;

#[test]
fn a_hundred_containers_join_and_leave_at_once() {
    if !ready() {
        return;
    }
    let host = Host::new();
    let conf = json!({
        "cniVersion": "1.0.0", "name": "net", "type": "bridge", "bridge": "br0",
        "isDefaultGateway": true, "ipMasq": true, "macspoofchk": true,
        "ipam": host.host_local(&["10.9.0.0/24"]),
    });
    // The bridge and its address stay; made first, so that what is compared is the same before and after.
    let first = host.container();
    host.call("bridge", &first).id("first").add(&conf);
    host.call("bridge", &first).id("first").del(&conf);
    let before = host.snapshot();
    let pods: Vec<_> = (0..CONTAINERS).map(|_| host.container()).collect();
    let in_parallel = |work: &(dyn Fn(usize) + Sync)| {
        thread::scope(|scope| {
            for i in 0..CONTAINERS {
                scope.spawn(move || work(i));
            }
        });
    };
    in_parallel(&|i| {
        drop(
            host.call("bridge", &pods[i])
                .id(&format!("c{i}"))
                .add(&conf),
        )
    });
    assert_eq!(host.leased().len(), CONTAINERS);
    assert_eq!(
        host.net.ruleset().matches("masquerade comment").count(),
        CONTAINERS
    );
    assert!(pods[0].reaches("10.9.0.1"));
    in_parallel(&|i| {
        host.call("bridge", &pods[i])
            .id(&format!("c{i}"))
            .del(&conf)
    });
    host.assert_like(&before, "after a hundred DELs");
}

#[test]
fn the_first_containers_of_a_bridge_may_come_together() {
    if !ready() {
        return;
    }
    let host = Host::new();
    let conf = json!({
        "cniVersion": "1.0.0", "name": "net", "type": "bridge", "bridge": "br0", "isGateway": true,
        "ipam": host.host_local(&["10.9.0.0/24", "fd00:9::/64"]),
    });
    let pods: Vec<_> = (0..8).map(|_| host.container()).collect();
    thread::scope(|scope| {
        for (i, pod) in pods.iter().enumerate() {
            let (host, conf) = (&host, &conf);
            scope.spawn(move || {
                // Every other one fails at the end: the others must not lose the bridge.
                let call = host.call("bridge", pod).id(&format!("c{i}"));
                if i % 2 == 0 {
                    call.add(conf);
                } else {
                    call.env("CNI_TEST_FAIL_AT", "the end").fail("ADD", conf);
                }
            });
        }
    });
    assert_eq!(host.net.addresses("br0"), ["10.9.0.1/24", "fd00:9::1/64"]);
    assert_eq!(
        host.leased().len(),
        8,
        "two each for the four that succeeded"
    );
    for pod in pods.iter().step_by(2) {
        assert!(pod.reaches("10.9.0.1"));
    }
}

#[test]
fn what_a_bridge_was_given_stays_while_one_that_came_meanwhile_relies_on_it() {
    if !ready() || require::program("strace").is_none() {
        return;
    }
    let host = Host::new();
    host.net.ip("link add br0 type bridge");
    let conf = json!({
        "cniVersion": "1.0.0", "name": "net", "type": "bridge", "bridge": "br0", "promiscMode": true,
    });
    let (failing, staying) = (host.container(), host.container());
    // So slow that a whole ADD fits between its requests, and the other comes a little later each time.
    let pause = Duration::from_millis(60);
    let slowly = format!("inject=sendto,sendmsg:delay_enter={}", pause.as_micros());
    let strace = ["strace", "-f", "-qq", "-o", "/dev/null", "-e", &slowly];
    let has_port = || !host.net.ip_json("link show master br0")[0].is_null();
    for round in 0..12 {
        let stay = host.call("bridge", &staying).id(&format!("stay{round}"));
        thread::scope(|scope| {
            let failed = scope.spawn(|| {
                let call = host.call("bridge", &failing).id(&format!("fail{round}"));
                let call = call.env("CNI_TEST_FAIL_AT", "the end").through(&strace);
                call.fail("ADD", &conf)
            });
            while !has_port() && !failed.is_finished() {}
            while has_port() && !failed.is_finished() {}
            thread::sleep(pause / 2 * round);
            stay.add(&conf);
        });
        let bridge = host.net.link("br0");
        let flags = bridge["flags"].as_array().unwrap();
        for flag in ["UP", "PROMISC"] {
            assert!(flags.contains(&json!(flag)), "{round}: {bridge}");
        }
        stay.del(&conf);
        host.net.ip("link set br0 down promisc off");
    }
}

#[test]
fn a_gc_takes_no_spoofing_check_from_containers_that_come_meanwhile() {
    if !ready() || require::program("strace").is_none() {
        return;
    }
    let host = Host::new();
    let conf = json!({
        "cniVersion": "1.1.0", "name": "net", "type": "bridge", "bridge": "br0", "macspoofchk": true,
    });
    let gc = with(&conf, json!({"cni.dev/valid-attachments": []}));
    // Another network's, whose links this GC has nothing to do with.
    let other = with(&conf, json!({"name": "other"}));
    // Keeps the tables of masquerading: GC would try again and again to remove them while others change rules.
    let ipam = host.host_local(&["10.9.0.0/24", "fd00:9::/64"]);
    let masquerading = with(
        &other,
        json!({"cniVersion": "1.0.0", "ipMasq": true, "ipam": ipam}),
    );
    let first = host.container();
    host.call("bridge", &first).id("first").add(&masquerading);
    let pod = host.container();
    let ended = AtomicBool::new(false);
    let attached = thread::scope(|scope| {
        let joining = scope.spawn(|| {
            let attach = |n| {
                let call = host.call("bridge", &pod).ifname(&format!("eth{n}"));
                call.add(&other)
            };
            let until_ended = (0..MANY).take_while(|_| !ended.load(Ordering::Relaxed));
            until_ended.map(attach).collect::<Vec<_>>()
        });
        // So slow that whole ADDs fit between an answer and its next request.
        let pause = "inject=sendto,sendmsg:delay_enter=150000";
        host.call("bridge", &pod)
            .id("gc")
            .through(&["strace", "-f", "-qq", "-o", "/dev/null", "-e", pause])
            .succeed("GC", &gc);
        ended.store(true, Ordering::Relaxed);
        joining.join().unwrap()
    });
    let joined = attached.len();
    assert!((5..MANY).contains(&joined), "{joined} while GC ran");
    for (n, result) in attached.iter().enumerate() {
        let call = host.call("bridge", &pod).ifname(&format!("eth{n}"));
        call.check(&other, result);
    }
}
