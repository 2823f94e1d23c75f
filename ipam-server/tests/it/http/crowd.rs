//! As many pods at once as a cluster may start after an outage, and just as many addresses.

use std::time::Duration;

use serde_json::json;
use tokio::time::Instant;

use super::server::everywhere;
use super::{attachment, claim};

/// With this many, other services took a minute for each, and pods were started again for ever.
const PODS: usize = 600;
const NODES: usize = 20;
/// After this a plugin gives up.
const PATIENCE: Duration = Duration::from_secs(10);

#[tokio::test(flavor = "multi_thread")]
async fn six_hundred_pods_at_once_get_the_last_address_each_before_any_plugin_gives_up() {
    everywhere(async |server| {
        let pool = json!({
            "name": "v4", "subnet": "10.1.0.0/22",
            "ranges": [{ "first": "10.1.0.2", "last": "10.1.2.89" }],
        });
        server.post("/v1/pools", pool).await.expect(201);
        let start = Instant::now();
        let pods = (0..PODS).map(|number| {
            let rest = (**server).clone();
            tokio::spawn(async move {
                let node = format!("node-{}", number % NODES);
                let mut claim = claim("", "v4");
                claim["attachment"] = attachment(&node, &format!("c{number}"));
                claim["deadline_ms"] = json!(PATIENCE.as_millis());
                rest.post("/v1/leases", claim).await.expect(201);
                start.elapsed()
            })
        });
        for pod in pods.collect::<Vec<_>>() {
            let took = pod.await.expect("it is served");
            assert!(took < PATIENCE, "one waited for {took:?}");
        }
        let pool = server.get("/v1/pools/v4").await;
        let usage = &pool.expect(200)["usage"];
        assert_eq!(
            (&usage["leased"], &usage["free"]),
            (&json!(PODS), &json!(0))
        );
        let one_more = server.post("/v1/leases", claim("one-more", "v4")).await;
        one_more.problem(507, "pool_exhausted");
    })
    .await;
}

/// After so long kubelet gives a sandbox up, and begins again with nothing.
const KUBELET_PATIENCE: Duration = Duration::from_secs(240);
const MANY_PODS: usize = 128;
const NETWORKS: usize = 16;

/// Each pod's networks one after the other, as multus attaches them.
#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_pods_on_sixteen_networks_each_start_long_before_kubelet_gives_up() {
    everywhere(async |server| {
        for network in 0..NETWORKS {
            let pool = json!({
                "name": format!("net-{network}"), "subnet": format!("10.{network}.0.0/24"),
                "ranges": [{ "first": format!("10.{network}.0.2"), "last": format!("10.{network}.0.129") }],
            });
            server.post("/v1/pools", pool).await.expect(201);
        }
        let start = Instant::now();
        let pods = (0..MANY_PODS).map(|pod| {
            let rest = (**server).clone();
            tokio::spawn(async move {
                for network in 0..NETWORKS {
                    let name = format!("net-{network}");
                    let mut claim = claim("", &name);
                    claim["attachment"] =
                        attachment(&format!("node-{}", pod % NODES), &format!("pod-{pod}"));
                    claim["attachment"]["network"] = json!(name);
                    claim["attachment"]["ifname"] = json!(format!("net{network}"));
                    rest.post("/v1/leases", claim).await.expect(201);
                }
                start.elapsed()
            })
        });
        for pod in pods.collect::<Vec<_>>() {
            let took = pod.await.expect("it is served");
            assert!(took < KUBELET_PATIENCE / 4, "one waited for {took:?}");
        }
        for network in 0..NETWORKS {
            let pool = server.get(&format!("/v1/pools/net-{network}")).await;
            let usage = &pool.expect(200)["usage"];
            assert_eq!((&usage["leased"], &usage["free"]), (&json!(MANY_PODS), &json!(0)));
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pools_usage_tells_at_every_step_how_near_its_end_is() {
    everywhere(async |server| {
        let pool = json!({
            "name": "v4", "subnet": "10.1.0.0/28", "exclude": ["10.1.0.9"], "reuse_delay_s": 3600,
        });
        server.post("/v1/pools", pool).await.expect(201);
        // Of 14 addresses one is the gateway's, and one of the others is not to be leased.
        let shows = async |leased: u64, cooling: u64| {
            let pool = server.get("/v1/pools/v4").await;
            let usage = pool.expect(200)["usage"].clone();
            let counts = json!({
                "leased": leased, "cooling": cooling, "reserved": 1, "quarantined": 0, "free": 12 - leased - cooling,
            });
            for (name, count) in counts.as_object().expect("an object") {
                assert_eq!(&usage[name], count, "{name} of {usage}");
            }
        };
        for number in 0..12 {
            shows(number, 0).await;
            let claim = claim(&format!("c{number}"), "v4");
            server.post("/v1/leases", claim).await.expect(201);
        }
        shows(12, 0).await;
        let release = super::release("c3");
        server.post("/v1/release", release).await.expect(200);
        shows(11, 1).await;
        let answer = server.post("/v1/leases", claim("one-more", "v4")).await;
        let why = answer.problem(507, "pool_exhausted");
        assert!(why.contains("leased 11") && why.contains("cooling 1"), "{why}");
        let wait: u64 = answer.header("retry-after").parse().expect("seconds");
        assert!((3500..=3600).contains(&wait), "{wait}");
    })
    .await;
}
