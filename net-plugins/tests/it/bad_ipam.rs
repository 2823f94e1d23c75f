//! IPAM plugins that misbehave, or answer what cannot be put on an interface.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::bad_input::bridge;
use crate::world::{Host, ready, with};

#[test]
fn an_ipam_plugin_that_misbehaves_is_named_and_asked_to_give_back() {
    if !ready() {
        return;
    }
    let cases = [
        ("silent", "exit 0", r#"plugin "silent" printed no result"#),
        (
            "garbled",
            "echo '{\"ips\": 7'",
            r#"plugin "garbled" printed no result"#,
        ),
        (
            "stingy",
            "echo '{}'",
            r#"IPAM plugin returned missing IP config; plugin "stingy""#,
        ),
        (
            "failing",
            "echo '{\"code\": 100, \"msg\": \"pool empty\"}'; exit 1",
            "pool empty",
        ),
        (
            "dying",
            "kill -9 $$",
            "netplugin failed with no error message",
        ),
        (
            "slow",
            "[ $CNI_COMMAND = DEL ] || exec sleep 30",
            r#"plugin "slow" did not finish ADD in time and was killed"#,
        ),
    ];
    for plugin in ["bridge", "macvlan", "routed"] {
        for (name, body, text) in &cases {
            let host = Host::new();
            let pod = host.container();
            host.net.ip("link add up0 type veth peer name up1");
            let before = host.snapshot();
            let conf = with(
                &bridge(host.script(name, body)),
                json!({"ipamTimeout": 1, "master": "up0"}),
            );
            let started = Instant::now();
            let (_, told) = host.call(plugin, &pod).fail("ADD", &conf);
            assert!(
                started.elapsed() < Duration::from_secs(5),
                "{plugin} {name}"
            );
            assert!(told.starts_with(text), "{plugin} {name}: {told}");
            assert_eq!(host.calls(), ["ADD", "DEL"], "{plugin} {name}");
            host.assert_like(&before, name);
            assert_eq!(pod.link("eth0"), Value::Null);
        }
    }
}

#[test]
fn an_ipam_plugin_that_hangs_on_del_too_does_not_hold_an_add_up_for_ever() {
    if !ready() {
        return;
    }
    let host = Host::new();
    host.net.ip("link add up0 type veth peer name up1");
    let before = host.snapshot();
    let ipam = host.script("stuck", "exec sleep 60");
    let conf = with(&bridge(ipam), json!({"ipamTimeout": 1, "master": "up0"}));
    std::thread::scope(|scope| {
        for plugin in ["bridge", "macvlan", "routed"] {
            let (host, conf) = (&host, with(&conf, json!({ "bridge": "br1" })));
            scope.spawn(move || {
                let pod = host.container();
                let started = Instant::now();
                let (code, told) = host.call(plugin, &pod).fail("ADD", &conf);
                // One second for the ADD, ten for what gives back.
                assert!(started.elapsed() < Duration::from_secs(15), "{plugin}");
                assert_eq!(code, 11, "{told}");
                let both = [
                    r#"plugin "stuck" did not finish ADD in time"#,
                    r#"cannot give back what "stuck" gave: plugin "stuck" did not finish DEL"#,
                ];
                assert!(both.iter().all(|text| told.contains(text)), "{told}");
                assert_eq!(pod.link("eth0"), Value::Null, "{plugin}");
            });
        }
    });
    host.assert_like(&before, "after all three");
}

#[test]
fn an_address_that_the_kernel_refuses_is_named() {
    if !ready() {
        return;
    }
    let host = Host::new();
    let pod = host.container();
    let before = host.snapshot();
    let told = |host: &Host, routes: Value| {
        let result = json!({"ips": [{"address": "10.9.0.5/24"}], "routes": routes});
        let ipam = host.script(
            "told",
            &format!("[ $CNI_COMMAND = ADD ] && echo '{result}'; exit 0"),
        );
        host.call("bridge", &pod).fail("ADD", &bridge(ipam)).1
    };
    let text = told(&host, json!([{"dst": "10.20.0.0/16", "gw": "192.0.2.1"}]));
    assert!(
        text.starts_with("failed to add route 10.20.0.0/16 via 192.0.2.1 dev \"eth0\" in netns"),
        "{text}"
    );
    assert!(text.contains("network is unreachable"), "{text}");
    let text = told(
        &host,
        json!([{"dst": "10.9.0.0/24", "scope": 253}, {"dst": "10.9.0.0/24", "scope": 253}]),
    );
    assert!(text.contains("file exists"), "{text}");
    host.assert_like(&before, "after the refusals");
}

#[test]
fn a_port_that_does_not_come_up_is_an_error() {
    if !ready() {
        return;
    }
    let host = Host::new();
    let pod = host.container();
    let before = host.snapshot();
    let ipam = host.script(
        "spoiler",
        r#"[ $CNI_COMMAND = ADD ] || exit 0
        ip link set $(ip -o link show type veth | cut -d: -f2 | cut -d@ -f1) down
        echo '{"cniVersion":"1.0.0","ips":[{"address":"10.9.0.5/24"}]}'"#,
    );
    let (_, told) = host.call("bridge", &pod).fail("ADD", &bridge(ipam));
    assert!(
        told.starts_with("bridge port in error state: down"),
        "{told}"
    );
    host.assert_like(&before, "after the refusal");
}
