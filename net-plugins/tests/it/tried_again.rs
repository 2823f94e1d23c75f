//! A DEL or a GC that fails, or is killed, at any point is finished by the next one.

use std::os::unix::process::ExitStatusExt;

use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::failure::full_bridge;
use crate::world::{Host, ready, with};

/// Makes the command end at its first point, its second, and so on until it gets through, each time with an attachment to
/// remove and followed by one that is left alone.
fn is_finished_by_the_next(plugin: &str, command: &str, make: impl Fn(&Host) -> Value) {
    if !ready() {
        return;
    }
    for variable in ["CNI_TEST_FAIL_AT", "CNI_TEST_DIE_AT"] {
        let host = Host::new();
        let pod = host.container();
        let conf = make(&host);
        let removing = with(&conf, json!({ "cni.dev/valid-attachments": [] }));
        let call = host.call(plugin, &pod);
        call.add(&conf);
        call.del(&conf);
        let before = host.snapshot();
        let inside = pod.inside();
        for point in 1.. {
            call.add(&conf);
            let ending = (call.clone()).env(variable, &point.to_string());
            let output = ending.run(command, &removing);
            let log = String::from_utf8_lossy(&output.stderr);
            let when = format!("{variable} {point}: {log}");
            let died = output.status.signal() == Some(Signal::SIGABRT as i32);
            let did_end = died || log.contains("injected");
            if !output.status.success() {
                assert!(did_end, "{when}");
                call.succeed(command, &removing);
            }
            host.assert_like(&before, &when);
            assert_eq!(pod.inside(), inside, "{when}");
            if !did_end {
                assert!(point > 4, "{point}");
                break;
            }
        }
    }
}

#[test]
fn del_of_bridge_is() {
    is_finished_by_the_next("bridge", "DEL", full_bridge);
}

#[test]
fn del_of_macvlan_is() {
    is_finished_by_the_next("macvlan", "DEL", macvlan);
}

#[test]
fn del_of_routed_is() {
    is_finished_by_the_next("routed", "DEL", crate::routed::full);
}

#[test]
fn gc_of_bridge_is() {
    is_finished_by_the_next("bridge", "GC", |host| on_script(host, full_bridge(host)));
}

#[test]
fn gc_of_routed_is() {
    is_finished_by_the_next("routed", "GC", |host| {
        let conf = crate::routed::full(host);
        on_script(host, conf)
    });
}

fn macvlan(host: &Host) -> Value {
    for line in [
        "add up0 type veth peer name up1",
        "set up0 up",
        "set up1 up",
    ] {
        host.net.ip(&format!("link {line}"));
    }
    json!({
        "cniVersion": "1.0.0", "name": "net", "master": "up0",
        "ipam": host.host_local(&["10.9.0.0/24", "fd00:9::/64"]),
    })
}

/// The same addresses from a script: upstream's host-local knows no GC.
fn on_script(host: &Host, conf: Value) -> Value {
    let answer = r#"{"cniVersion":"1.0.0","ips":[{"address":"10.9.0.5/24","gateway":"10.9.0.1"},{"address":"fd00:9::5/64","gateway":"fd00:9::1"}]}"#;
    let body = format!("[ $CNI_COMMAND = ADD ] && echo '{answer}'; exit 0");
    with(
        &conf,
        json!({ "cniVersion": "1.1.0", "ipam": host.script("told", &body) }),
    )
}
