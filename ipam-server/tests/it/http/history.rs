//! `/v1/history`.

use serde_json::json;

use super::server::everywhere;
use super::{claim, pool, release};

#[tokio::test(flavor = "multi_thread")]
async fn history_tells_who_held_an_address_at_a_time() {
    everywhere(async |server| {
        let mut new = pool("v4", "10.1.0.0/24");
        new["reuse_delay_s"] = json!(0);
        server.post("/v1/pools", new).await.expect(201);
        let wants = |container: &str| {
            let mut claim = claim(container, "v4");
            claim["wanted"] = json!(["10.1.0.50"]);
            claim
        };
        server.post("/v1/leases", wants("c1")).await.expect(201);
        server.post("/v1/release", release("c1")).await.expect(200);
        server.post("/v1/leases", wants("c2")).await.expect(201);

        let all = server.get("/v1/history?address=10.1.0.50").await;
        let items = all.expect(200)["items"].as_array().expect("a list");
        assert_eq!(items.len(), 2);
        assert_eq!(items[0]["attachment"]["container_id"], "c2");
        assert_eq!(items[0]["released_at"], json!(null));
        assert_eq!(items[0]["reason"], json!(null));
        assert_eq!(items[1]["attachment"]["container_id"], "c1");
        assert_eq!(items[1]["reason"], "release");
        assert_eq!(items[1]["address"], "10.1.0.50");
        assert_eq!(items[1]["vrf"], "default");
        assert_eq!(items[1]["pool"], "v4");

        let then = items[1]["created_at"].as_str().expect("a time");
        let plus = then.replace('Z', "+00:00");
        for at in [then, plus.as_str()] {
            let one = server
                .get(&format!(
                    "/v1/history?vrf=default&address=10.1.0.50&at={at}"
                ))
                .await;
            assert_eq!(one.expect(200)["items"], json!([items[1]]), "{at}");
        }
        let before = server
            .get("/v1/history?address=10.1.0.50&at=2001-01-01T00:00:00Z")
            .await;
        assert_eq!(before.expect(200)["items"], json!([]));
        let unknown = server.get("/v1/history?vrf=green&address=10.1.0.50").await;
        unknown.problem(404, "vrf_not_found");
    })
    .await;
}
