//! Nodes that come back with another boot, or as another machine.

use std::thread;
use std::time::{Duration, Instant};

use harness::namespaces::Namespace;
use harness::server::Launch;

use crate::cluster::{Cluster, runtimes};
use crate::pods::ready;

/// How long the server of these tests withholds the leases of a boot that is over.
const QUARANTINE_S: u64 = 12;

fn cluster() -> Cluster {
    let quarantine = ["--quarantine".to_owned(), QUARANTINE_S.to_string()];
    Cluster::around(
        Launch::new()
            .args(quarantine)
            .start()
            .expect("the server starts"),
    )
}

/// Gives the node another boot id, as a boot does.
fn reboot(node: &Namespace, boot_id: &str) {
    let file = node.folder().join("boot_id");
    std::fs::write(&file, boot_id).expect("a file");
    let over = format!(
        "mount --bind {} /proc/sys/kernel/random/boot_id",
        file.display()
    );
    node.run(&over).expect("mounted");
}

fn holders(cluster: &Cluster) -> Vec<String> {
    let mut holders: Vec<_> = cluster.leases().into_values().collect();
    holders.sort();
    holders
}

#[track_caller]
fn eventually_hold(cluster: &Cluster, expected: &[&str]) {
    let end = Instant::now() + Duration::from_secs(60);
    while holders(cluster) != expected {
        assert!(
            Instant::now() < end,
            "{:?}, not {expected:?}",
            holders(cluster)
        );
        thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn what_a_machine_held_before_its_reboot_is_freed_but_for_what_is_started_again() {
    if !ready() {
        return;
    }
    let cluster = cluster();
    let [mut a, mut b] = runtimes(&cluster.nodes, &cluster.ipam(&["v4", "v6"]));
    b.start("other").expect("ADD");
    for container in ["lost", "again", "checked"] {
        a.start(container).expect("ADD");
    }
    let rest = cluster.server.rest();
    let quarantined = || {
        let page = rest.get("/v1/leases?node=node-a&quarantined=true");
        let items = page.expect("an answer").expect(200)["items"].clone();
        items.as_array().expect("a list").len()
    };
    // As a boot does to containers; the third one is left, so that there is something to check.
    for container in ["lost", "again"] {
        a.node().remove_container(container).expect("removed");
    }
    reboot(a.node(), "8d6f1f0e-0000-4000-8000-000000000002");
    thread::sleep(Duration::from_secs(2));
    assert_eq!(
        quarantined(),
        0,
        "nothing is suspected before the machine shows its new boot"
    );

    a.start("again").expect("ADD");
    let end = Instant::now() + Duration::from_secs(60);
    while quarantined() != 4 {
        assert!(
            Instant::now() < end,
            "the leases of the boot before are not quarantined"
        );
        thread::sleep(Duration::from_millis(20));
    }
    a.check("checked").expect("CHECK");
    let left = ["node-a/again", "node-a/checked", "node-b/other"];
    eventually_hold(&cluster, &left.map(|holder| [holder; 2]).concat());
}
