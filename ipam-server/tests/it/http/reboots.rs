//! Nodes that rebooted, and a service that was not there.

use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use super::process::Process;
use super::{claim, pool};

const QUARANTINE: [(&str, &str); 1] = [("IPAM_QUARANTINE", "4")];
const PATIENCE: Duration = Duration::from_secs(30);

#[tokio::test(flavor = "multi_thread")]
async fn a_quarantine_that_ran_out_while_no_server_was_up_ends_only_after_one_has_listened() {
    let process = Process::start(&QUARANTINE).await;
    let made = process.rest.post("/v1/pools", pool("v4", "10.0.0.0/24"));
    made.await.expect(201);
    for (container, boot) in [("c1", "before"), ("c2", "after")] {
        let asked = claim_in(boot, container);
        process.rest.post("/v1/leases", asked).await.expect(201);
    }
    let end = Instant::now() + PATIENCE;
    while held(&process, "quarantined=true").await == 0 {
        assert!(Instant::now() < end, "the node has rebooted");
        sleep(Duration::from_millis(100)).await;
    }
    process.signal(Signal::SIGTERM);
    let stopped = process.ended_and_kept().await;
    sleep(Duration::from_secs(5)).await;
    let process = Process::start_in(stopped, &QUARANTINE).await;
    // Several rounds of background work.
    sleep(Duration::from_millis(2_500)).await;
    assert_eq!(held(&process, "container_id=c1").await, 1);
    let end = Instant::now() + PATIENCE;
    while held(&process, "container_id=c1").await == 1 {
        assert!(Instant::now() < end, "nobody gave a sign of life");
        sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(held(&process, "container_id=c2").await, 1);
    process.stop().await;
}

fn claim_in(boot: &str, container: &str) -> Value {
    let mut asked = claim(container, "v4");
    asked["machine_id"] = json!("machine");
    asked["boot_id"] = json!(boot);
    asked
}

async fn held(process: &Process, filter: &str) -> usize {
    let leases = process.rest.get(&format!("/v1/leases?{filter}")).await;
    leases.expect(200)["items"].as_array().map_or(0, Vec::len)
}
