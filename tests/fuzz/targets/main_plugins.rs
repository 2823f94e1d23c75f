//! The configurations of the main plugins: an ADD into a network namespace that does not exist ends before it touches
//! the machine, and never by a panic.

#![no_main]

mod call;

use cni::Plugin;
use libfuzzer_sys::fuzz_target;
use net_plugins::bridge::Bridge;
use net_plugins::macvlan::Macvlan;
use net_plugins::routed::Routed;

fuzz_target!(|input: &[u8]| {
    let Some((mut invocation, conf)) = call::read(input) else {
        return;
    };
    invocation.netns = "/nonexistent/netns".to_owned();
    invocation.path = Vec::new();
    let plugins: [&dyn Plugin; 3] = [&Bridge, &Macvlan, &Routed];
    for plugin in plugins {
        assert!(plugin.add(&invocation, &conf).is_err(), "{conf:?}");
    }
    let _ = conf.read_prev_result();
});
