//! How long an ADD waits for the kernel's duplicate address detection.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::world::{Host, ready};

/// The kernel takes at least a second for a link-local address, on a link that it comes up on: a race, hence the many
/// ADDs.
#[test]
fn no_routed_add_waits_for_the_kernels_own_link_local_address() {
    if !ready() {
        return;
    }
    let host = Host::new();
    let ipam = host.host_local(&["10.9.0.0/24", "fd00:9::/64"]);
    let conf = json!({ "cniVersion": "1.0.0", "name": "net", "type": "routed", "ipam": ipam });
    for number in 0..12 {
        let pod = host.container();
        let begin = Instant::now();
        host.call("routed", &pod)
            .id(&format!("c{number}"))
            .add(&conf);
        let took = begin.elapsed();
        assert!(took < Duration::from_secs(1), "{took:?}");
    }
}
