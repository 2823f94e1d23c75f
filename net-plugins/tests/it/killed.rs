//! A plugin that dies after any step of an ADD leaves nothing that the runtime's DEL does not remove.

use std::os::unix::process::ExitStatusExt;

use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::call::Call;
use crate::world::{Host, Namespace, ready};

/// Makes the plugin die after its first step, its second, and so on until it gets through, and returns the number of
/// steps.
fn die_after_every_step(host: &Host, pod: &Namespace, plugin: &str, conf: &Value) -> u32 {
    let before = host.snapshot();
    let inside = pod.ip("-j addr");
    let call = host.call(plugin, pod);
    for step in 1.. {
        let dying = call
            .clone()
            .env("CNI_TEST_DIE_AFTER_STEP", &step.to_string());
        let output = dying.run("ADD", conf);
        if output.status.success() {
            call.del(conf);
            return step - 1;
        }
        assert_eq!(output.status.signal(), Some(Signal::SIGABRT as i32));
        let when = format!("after a death at step {step}");
        call.del(conf);
        // The bridge is everybody's, and made once.
        if host.net.link("br0").is_object() {
            host.net.ip("link del br0");
        }
        host.assert_like(&before, &when);
        assert_eq!(pod.ip("-j addr"), inside, "{when}");
        call.del(conf);
        host.assert_like(&before, &format!("{when} and another DEL"));
    }
    0
}

/// Likewise, without putting anything back in between: in the end an ADD finds what all deaths before have left.
fn gets_through_after_deaths(call: &Call<'_>, conf: &Value) {
    for step in 1.. {
        let dying = call
            .clone()
            .env("CNI_TEST_DIE_AFTER_STEP", &step.to_string());
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
    let steps = die_after_every_step(&host, &pod, "bridge", &conf);
    assert!(steps >= 15, "{steps}");
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
    let steps = die_after_every_step(&host, &pod, "bridge", &conf);
    assert!(steps >= 15, "{steps}");
}

#[test]
fn macvlan_in_every_shape() {
    if !ready() {
        return;
    }
    for more in crate::macvlan::shapes() {
        let (host, _neighbour) = crate::macvlan::network();
        let pod = host.container();
        let conf = crate::macvlan::shape(&host, &pod, more);
        let steps = die_after_every_step(&host, &pod, "macvlan", &conf);
        assert!(steps >= 7, "{steps}");
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
    let steps = die_after_every_step(&host, &pod, "routed", &conf);
    assert!(steps >= 15, "{steps}");
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
    let dying = call.clone().env("CNI_TEST_DIE_AFTER_STEP", "1");
    assert!(!dying.run("ADD", &conf).status.success());
    call.add(&conf);
    assert_eq!(pod.ip_json("link").as_array().unwrap().len(), 2);
}
