//! `/v1/pools`.

use serde_json::json;

use super::server::everywhere;
use super::{claim, pool};

#[tokio::test(flavor = "multi_thread")]
async fn a_pool_is_created_with_defaults_and_shown_with_usage() {
    everywhere(async |server| {
        let created = server.post("/v1/pools", pool("web", "10.1.0.0/24")).await;
        let body = created.expect(201).clone();
        assert_eq!(created.header("location"), "/v1/pools/web");
        let etag = created.header("etag").to_owned();
        assert!(etag.starts_with('"') && etag.ends_with('"'), "{etag}");
        for (field, value) in [
            ("name", json!("web")),
            ("vrf", json!("default")),
            ("subnet", json!("10.1.0.0/24")),
            ("gateway", json!("10.1.0.1")),
            ("exclude", json!([])),
            ("routes", json!([])),
            ("dns", json!({})),
            ("reuse_delay_s", json!(60)),
            ("state", json!("ready")),
            ("labels", json!({})),
        ] {
            assert_eq!(body[field], value, "{field} of {body:#}");
        }
        let usage = &body["usage"];
        assert_eq!(usage["leased"], 0);
        assert_eq!(usage["free"], 253);
        assert_eq!(usage["free_exact"], "253");

        let again = server.post("/v1/pools", pool("web", "10.1.0.0/24")).await;
        assert_eq!(again.expect(200), &body);
        assert_eq!(again.header("location"), "");
        assert_eq!(again.header("etag"), etag);
        let shown = server.get("/v1/pools/web").await;
        assert_eq!(shown.expect(200), &body);
        assert_eq!(shown.header("etag"), etag);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_collides_with_another_pool_is_refused() {
    everywhere(async |server| {
        server
            .post("/v1/pools", pool("web", "10.1.0.0/24"))
            .await
            .expect(201);
        let other = server.post("/v1/pools", pool("web", "10.2.0.0/24")).await;
        assert!(other.problem(409, "already_exists").contains("web"));
        let overlap = server.post("/v1/pools", pool("db", "10.1.0.0/24")).await;
        assert!(overlap.problem(409, "ranges_overlap").contains("web"));
        let nested = server.post("/v1/pools", pool("db", "10.1.0.128/25")).await;
        nested.problem(409, "ranges_overlap");
        let mut elsewhere = pool("db", "10.1.0.0/24");
        elsewhere["vrf"] = json!("blue");
        let unknown = server.post("/v1/pools", elsewhere.clone()).await;
        assert!(unknown.problem(404, "vrf_not_found").contains("blue"));
        server
            .post("/v1/vrfs", json!({ "name": "blue" }))
            .await
            .expect(201);
        server.post("/v1/pools", elsewhere).await.expect(201);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pools_are_listed_by_vrf_and_in_pages() {
    everywhere(async |server| {
        server
            .post("/v1/vrfs", json!({ "name": "blue" }))
            .await
            .expect(201);
        for (name, subnet, vrf) in [
            ("a", "10.1.0.0/24", "default"),
            ("b", "10.2.0.0/24", "default"),
            ("c", "10.1.0.0/24", "blue"),
        ] {
            let mut new = pool(name, subnet);
            new["vrf"] = json!(vrf);
            server.post("/v1/pools", new).await.expect(201);
        }
        let names = |answer: &super::rest::Answer| {
            let items = answer.expect(200)["items"].as_array().expect("a list");
            let names = items
                .iter()
                .map(|one| one["name"].as_str().expect("a name"));
            names.collect::<Vec<_>>().join(",")
        };
        assert_eq!(names(&server.get("/v1/pools").await), "a,b,c");
        assert_eq!(names(&server.get("/v1/pools?vrf=blue").await), "c");
        let first = server.get("/v1/pools?vrf=default&limit=1").await;
        assert_eq!(names(&first), "a");
        let cursor = first.body["next_cursor"].as_str().expect("a second page");
        let second = server
            .get(&format!("/v1/pools?vrf=default&limit=1&cursor={cursor}"))
            .await;
        assert_eq!(names(&second), "b");
        let nowhere = server.get("/v1/pools?vrf=green").await;
        nowhere.problem(404, "vrf_not_found");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_needs_the_version_that_its_if_match_names() {
    everywhere(async |server| {
        let created = server.post("/v1/pools", pool("web", "10.1.0.0/24")).await;
        let old = server.with("if-match", created.header("etag"));
        let patch = json!({ "labels": { "team": "a" }, "reuse_delay_s": 5 });
        let changed = old.patch("/v1/pools/web", patch.clone()).await;
        assert_eq!(changed.expect(200)["labels"], json!({ "team": "a" }));
        assert_eq!(changed.body["reuse_delay_s"], 5);
        assert_ne!(changed.header("etag"), created.header("etag"));

        let stale = old
            .patch("/v1/pools/web", json!({ "reuse_delay_s": 6 }))
            .await;
        assert!(stale.problem(412, "stale").contains("web"));
        old.delete("/v1/pools/web").await.problem(412, "stale");
        let any = server.with("if-match", "*");
        any.patch("/v1/pools/web", json!({ "reuse_delay_s": 7 }))
            .await
            .expect(200);
        server
            .patch("/v1/pools/web", json!({ "reuse_delay_s": 8 }))
            .await
            .expect(200);
        for odd in ["3", "\"three\"", "W/\"3\"", "\"1\", \"2\""] {
            let answer = server
                .with("if-match", odd)
                .patch("/v1/pools/web", patch.clone())
                .await;
            assert!(
                answer
                    .problem(400, "invalid_request")
                    .starts_with("If-Match: ")
            );
        }
        let shown = server.get("/v1/pools/web").await;
        assert_eq!(shown.expect(200)["reuse_delay_s"], 8);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dry_run_tells_what_would_happen_and_changes_nothing() {
    everywhere(async |server| {
        server
            .post("/v1/pools", pool("web", "10.1.0.0/24"))
            .await
            .expect(201);
        let held = server.post("/v1/leases", claim("c1", "web")).await;
        let address = held.expect(201)["leases"][0]["address"].clone();
        let bare = address
            .as_str()
            .and_then(|text| text.split('/').next())
            .expect("an address");
        let before = server.get("/v1/pools/web").await;

        let possible = server
            .patch("/v1/pools/web?dry_run=true", json!({ "state": "draining" }))
            .await;
        assert_eq!(possible.expect(200)["possible"], true);
        assert_eq!(possible.body["pool"]["state"], "draining");
        let blocked = server.delete("/v1/pools/web?dry_run=true").await;
        assert_eq!(blocked.expect(200)["possible"], false);
        assert_eq!(blocked.body["leases_in_the_way_total"], 1);
        assert_eq!(blocked.body["leases_in_the_way"][0]["address"], address);
        assert_eq!(blocked.body.get("pool"), None);
        let after = server.get("/v1/pools/web").await;
        assert_eq!(after.body, before.body);
        assert_eq!(after.header("etag"), before.header("etag"));

        let in_use = server.delete("/v1/pools/web").await;
        assert!(in_use.problem(409, "pool_in_use").contains(bare));
        let unknown = server.patch("/v1/pools/none?dry_run=true", json!({})).await;
        unknown.problem(404, "pool_not_found");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_pool_is_gone_and_its_changes_are_kept() {
    everywhere(async |server| {
        server
            .post("/v1/pools", pool("web", "10.1.0.0/24"))
            .await
            .expect(201);
        server
            .patch("/v1/pools/web", json!({ "state": "disabled" }))
            .await
            .expect(200);
        let deleted = server.delete("/v1/pools/web").await;
        assert!(deleted.expect(204).is_null());
        server
            .get("/v1/pools/web")
            .await
            .problem(404, "pool_not_found");
        server
            .delete("/v1/pools/web")
            .await
            .problem(404, "pool_not_found");
        server
            .patch("/v1/pools/web", json!({}))
            .await
            .problem(404, "pool_not_found");

        let changes = server.get("/v1/pools/web/changes").await;
        let items = changes.expect(200)["items"].as_array().expect("a list");
        let actions: Vec<_> = items.iter().map(|one| &one["action"]).collect();
        assert_eq!(actions, ["delete", "change", "create"]);
        assert_eq!(items[1]["pool"], "web");
        assert_eq!(items[1]["settings"]["state"], "disabled");
        let first = server.get("/v1/pools/web/changes?limit=1").await;
        let cursor = first.expect(200)["next_cursor"].as_str().expect("more");
        let second = server
            .get(&format!("/v1/pools/web/changes?limit=1&cursor={cursor}"))
            .await;
        assert_eq!(second.expect(200)["items"][0]["action"], "change");
    })
    .await;
}
