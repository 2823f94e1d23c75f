//! `/v1/release` and `/v1/gc`.

use serde_json::json;

use super::server::everywhere;
use super::{attachment, claim, pool, release};

#[tokio::test(flavor = "multi_thread")]
async fn a_release_counts_what_it_frees_and_unknown_ones_succeed() {
    everywhere(async |server| {
        server
            .post("/v1/pools", pool("v4", "10.1.0.0/24"))
            .await
            .expect(201);
        for container in ["c1", "c2", "c3"] {
            server
                .post("/v1/leases", claim(container, "v4"))
                .await
                .expect(201);
        }
        let list = ["c1", "c2", "c1", "unknown"].map(|name| attachment("node-1", name));
        let released = server
            .post("/v1/release", json!({ "attachments": list }))
            .await;
        assert_eq!(released.expect(200), &json!({ "released": 2 }));
        let none = server
            .post("/v1/release", json!({ "attachments": [] }))
            .await;
        assert_eq!(none.expect(200), &json!({ "released": 0 }));
        let left = server.get("/v1/leases").await;
        let items = left.expect(200)["items"].as_array().expect("a list");
        assert_eq!(items.len(), 1);
        assert_eq!(items[0]["attachment"]["container_id"], "c3");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_of_an_earlier_boot_frees_only_leases_of_that_boot() {
    everywhere(async |server| {
        server
            .post("/v1/pools", pool("v4", "10.1.0.0/24"))
            .await
            .expect(201);
        let mut now = claim("c1", "v4");
        now["boot_id"] = json!("new");
        now["issued"] = json!(1);
        server.post("/v1/leases", now).await.expect(201);
        let mut spooled = release("c1");
        spooled["boot_id"] = json!("new");
        spooled["attachments"][0]["boot_id"] = json!("old");
        spooled["attachments"][0]["issued"] = json!(999);
        let released = server.post("/v1/release", spooled.clone()).await;
        assert_eq!(released.expect(200), &json!({ "released": 0 }));
        spooled["attachments"][0]["boot_id"] = json!("new");
        let released = server.post("/v1/release", spooled).await;
        assert_eq!(released.expect(200), &json!({ "released": 1 }));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn gc_frees_what_is_not_valid_and_needs_the_list() {
    everywhere(async |server| {
        server
            .post("/v1/pools", pool("v4", "10.1.0.0/24"))
            .await
            .expect(201);
        for container in ["c1", "c2"] {
            server
                .post("/v1/leases", claim(container, "v4"))
                .await
                .expect(201);
        }
        let elsewhere =
            json!({ "attachment": attachment("node-2", "c1"), "entries": [{ "pools": ["v4"] }] });
        server.post("/v1/leases", elsewhere).await.expect(201);

        let missing = server
            .post("/v1/gc", json!({ "node": "node-1", "network": "mynet" }))
            .await;
        assert!(
            missing
                .problem(400, "invalid_request")
                .contains("missing field `valid`")
        );
        let null = server
            .post(
                "/v1/gc",
                json!({ "node": "node-1", "network": "mynet", "valid": null }),
            )
            .await;
        assert!(null.problem(400, "invalid_request").starts_with("valid: "));
        let valid = json!([{ "container_id": "c2", "ifname": "eth0" }]);
        let freed = server
            .post(
                "/v1/gc",
                json!({ "node": "node-1", "network": "mynet", "valid": valid }),
            )
            .await;
        assert_eq!(freed.expect(200), &json!({ "released": 1 }));
        let left = server.get("/v1/leases").await;
        assert_eq!(left.expect(200)["items"].as_array().map(Vec::len), Some(2));
    })
    .await;
}
