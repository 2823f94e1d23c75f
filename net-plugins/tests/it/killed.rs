//! A plugin that dies at any point of an ADD leaves nothing that the runtime's DEL does not remove.

use std::os::unix::process::ExitStatusExt;

use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::call::Call;
use crate::world::{Host, Namespace, ready};

/// Makes the plugin die at its first point, its second, and so on until it gets through, and returns the number of points.
fn die_at_every_point(host: &Host, pod: &Namespace, plugin: &str, conf: &Value) -> u32 {
    let call = host.call(plugin, pod);
    // What all containers share stays after the last DEL: forwarding, answering for others, and the bridge.
    call.add(conf);
    call.del(conf);
    let without_bridge = || {
        if host.net.link("br0").is_object() {
            host.net.ip("link del br0");
        }
    };
    without_bridge();
    let before = host.snapshot();
    let inside = pod.inside();
    for point in 1.. {
        let dying = call.clone().env("CNI_TEST_DIE_AT", &point.to_string());
        let output = dying.run("ADD", conf);
        if output.status.success() {
            call.del(conf);
            return point - 1;
        }
        assert_eq!(output.status.signal(), Some(Signal::SIGABRT as i32));
        let when = format!("after a death at point {point}");
        call.del(conf);
        without_bridge();
        host.assert_like(&before, &when);
        assert_eq!(pod.inside(), inside, "{when}");
        call.del(conf);
        host.assert_like(&before, &format!("{when} and another DEL"));
    }
    0
}

/// Likewise, without putting anything back in between: in the end an ADD finds what all deaths before have left.
fn gets_through_after_deaths(call: &Call<'_>, conf: &Value) {
    for point in 1.. {
        let dying = call.clone().env("CNI_TEST_DIE_AT", &point.to_string());
        let output = dying.run("ADD", conf);
        if output.status.signal() != Some(Signal::SIGABRT as i32) {
            let told = String::from_utf8_lossy(&output.stdout);
            assert!(output.status.success(), "{told}");
            return;
        }
        call.del(conf);
    }
}

#[test]
fn bridge_with_everything() {
    if !ready() {
        return;
    }
    let host = Host::new();
    let pod = host.container();
    let conf = crate::failure::full_bridge(&host);
    let points = die_at_every_point(&host, &pod, "bridge", &conf);
    assert!(points >= 45, "{points}");
    // What stays of a bridge that was begun does for the next ADD.
    gets_through_after_deaths(&host.call("bridge", &pod), &conf);
    assert!(pod.reaches("10.9.0.1"));
}

#[test]
fn bridge_that_masquerades_by_iptables() {
    if !ready() {
        return;
    }
    let host = Host::new();
    let pod = host.container();
    crate::failure::make_tables_of_iptables(&host);
    let mut conf = crate::failure::full_bridge(&host);
    conf["ipMasqBackend"] = json!("iptables");
    let points = die_at_every_point(&host, &pod, "bridge", &conf);
    assert!(points >= 45, "{points}");
}

#[test]
fn macvlan_in_every_shape() {
    if !ready() {
        return;
    }
    for (more, least) in crate::macvlan::shapes() {
        let (host, _neighbour) = crate::macvlan::network();
        let pod = host.container();
        let conf = crate::macvlan::shape(&host, &pod, more);
        let points = die_at_every_point(&host, &pod, "macvlan", &conf);
        assert!(points >= least, "{points}");
    }
}

#[test]
fn routed_with_everything() {
    if !ready() {
        return;
    }
    let host = Host::new();
    let pod = host.container();
    let conf = crate::routed::full(&host);
    let points = die_at_every_point(&host, &pod, "routed", &conf);
    assert!(points >= 38, "{points}");
}

#[test]
fn a_macvlan_that_was_not_named_yet_is_in_nobodys_way() {
    if !ready() {
        return;
    }
    let (host, _neighbour) = crate::macvlan::network();
    let pod = host.container();
    let conf = crate::macvlan::shape(&host, &pod, json!({ "mode": "passthru" }));
    let call = host.call("macvlan", &pod);
    for point in 1.. {
        let dying = (call.clone()).env("CNI_TEST_DIE_AT", &point.to_string());
        assert!(!dying.run("ADD", &conf).status.success());
        if pod.ip_json("link").as_array().unwrap().len() == 2 {
            break;
        }
    }
    assert_eq!(pod.link("eth0"), Value::Null, "it has its name already");
    call.add(&conf);
    assert_eq!(pod.ip_json("link").as_array().unwrap().len(), 2);
}
