//! What `cluster-ipam` reads before it asks a server: never a panic, whatever it is given.

#![no_main]

mod call;

use ipam_client_plugin::config::Config;
use ipam_client_plugin::request::Request;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let Some((invocation, conf)) = call::read(input) else {
        return;
    };
    let strict = Config::strict(&conf);
    let lenient = Config::lenient(&conf);
    assert!(
        strict.is_err() || lenient.is_ok(),
        "what ADD takes, DEL takes"
    );
    let _ = Request::read(&invocation, &conf);
    let _ = conf.read_prev_result();
});
