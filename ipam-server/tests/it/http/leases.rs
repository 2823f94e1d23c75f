//! `/v1/leases`.

use serde_json::{Value, json};

use super::server::{Server, everywhere};
use super::{attachment, claim, pool, release};

async fn two_pools(server: &Server) {
    server
        .post("/v1/pools", pool("v4", "10.1.0.0/24"))
        .await
        .expect(201);
    server
        .post("/v1/pools", pool("v6", "fd00::/64"))
        .await
        .expect(201);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_claim_is_answered_in_full_and_the_same_again() {
    everywhere(async |server| {
        let mut v4 = pool("v4", "10.1.0.0/24");
        v4["routes"] = json!([{ "dst": "0.0.0.0/0", "gw": "10.1.0.1" }]);
        v4["dns"] = json!({ "nameservers": ["10.0.0.53"] });
        server.post("/v1/pools", v4).await.expect(201);
        server
            .post("/v1/pools", pool("v6", "fd00::/64"))
            .await
            .expect(201);
        let pod = json!({ "namespace": "prod", "name": "web-0", "uid": "u-1" });
        let claim = json!({
            "attachment": attachment("node-1", "c1"), "pod": pod, "owner": null,
            "machine_id": "m1", "boot_id": "b1", "issued": 5, "deadline_ms": 5000,
            "entries": [{ "pools": ["v4"] }, { "pools": ["v6"] }], "wanted": ["10.1.0.77/24"],
        });
        let first = server.post("/v1/leases", claim.clone()).await;
        let leases = first.expect(201)["leases"].as_array().expect("a list");
        assert_eq!(leases.len(), 2);
        let lease = &leases[0];
        assert_eq!(lease["address"], "10.1.0.77/24");
        assert_eq!(lease["vrf"], "default");
        assert_eq!(lease["pool"], "v4");
        assert_eq!(lease["gateway"], "10.1.0.1");
        assert_eq!(
            lease["routes"],
            json!([{ "dst": "0.0.0.0/0", "gw": "10.1.0.1" }])
        );
        assert_eq!(lease["dns"], json!({ "nameservers": ["10.0.0.53"] }));
        assert_eq!(lease["attachment"]["cluster"], "default");
        assert_eq!(lease["attachment"]["container_id"], "c1");
        assert_eq!(lease["pod"], pod);
        assert_eq!(lease["owner"], Value::Null);
        assert!(lease["created_at"].is_string());
        assert_eq!(leases[1]["pool"], "v6");

        let again = server.post("/v1/leases", claim).await;
        assert_eq!(again.expect(200), &first.body);
        server.post("/v1/release", release("c1")).await.expect(200);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_refusal_of_a_claim_has_its_code() {
    everywhere(async |server| {
        two_pools(server).await;
        let unknown = server.post("/v1/leases", claim("c1", "none")).await;
        assert!(unknown.problem(404, "pool_not_found").contains("none"));

        let mut wants = claim("c1", "v4");
        wants["wanted"] = json!(["10.9.9.9"]);
        let outside = server.post("/v1/leases", wants.clone()).await;
        assert!(outside.problem(400, "invalid_request").contains("10.9.9.9"));
        wants["wanted"] = json!(["10.1.0.77"]);
        server.post("/v1/leases", wants.clone()).await.expect(201);
        wants["attachment"]["container_id"] = json!("c2");
        let taken = server.post("/v1/leases", wants).await;
        let detail = taken.problem(409, "address_taken");
        assert!(
            detail.contains("10.1.0.77") && detail.contains("c1"),
            "{detail}"
        );

        let differs = server.post("/v1/leases", claim("c1", "v6")).await;
        assert!(
            differs
                .problem(409, "attachment_differs")
                .contains("10.1.0.77")
        );
        server.post("/v1/release", release("c1")).await.expect(200);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_exhausted_pool_tells_when_the_next_address_is_free() {
    everywhere(async |server| {
        server
            .post("/v1/pools", pool("tiny", "10.1.0.0/30"))
            .await
            .expect(201);
        server
            .post("/v1/leases", claim("c1", "tiny"))
            .await
            .expect(201);
        let full = server.post("/v1/leases", claim("c2", "tiny")).await;
        let detail = full.problem(507, "pool_exhausted");
        assert!(
            detail.starts_with("entries[0]: ") && detail.contains("tiny"),
            "{detail}"
        );
        assert_eq!(full.header("retry-after"), "");
        server.post("/v1/release", release("c1")).await.expect(200);
        let cooling = server.post("/v1/leases", claim("c2", "tiny")).await;
        cooling.problem(507, "pool_exhausted");
        let wait: u64 = cooling.header("retry-after").parse().expect("seconds");
        assert!((1..=60).contains(&wait), "{wait}");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn verbs_that_overtook_each_other_and_two_machines_of_one_name_are_told() {
    everywhere(async |server| {
        two_pools(server).await;
        let boot = |container: &str, boot: &str, issued: u64| {
            let mut claim = claim(container, "v4");
            claim["machine_id"] = json!("m1");
            claim["boot_id"] = json!(boot);
            claim["issued"] = json!(issued);
            claim
        };
        server
            .post("/v1/leases", boot("c1", "b1", 10))
            .await
            .expect(201);
        let mut del = release("c1");
        del["attachments"][0]["boot_id"] = json!("b1");
        del["attachments"][0]["issued"] = json!(20);
        let released = server.post("/v1/release", del).await;
        assert_eq!(released.expect(200), &json!({ "released": 1 }));
        let late = server.post("/v1/leases", boot("c1", "b1", 15)).await;
        assert!(late.problem(409, "superseded").contains("c1"));

        let mut twin = boot("c2", "b9", 30);
        twin["machine_id"] = json!("m2");
        let conflict = server.post("/v1/leases", twin).await;
        assert!(
            conflict
                .problem(409, "node_name_conflict")
                .contains("node-1")
        );
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn leases_are_listed_by_every_filter_and_in_pages() {
    everywhere(async |server| {
        two_pools(server).await;
        for (node, container, pod) in [("node-1", "c1", "web-0"), ("node-2", "c2", "web-1")] {
            let claim = json!({
                "attachment": attachment(node, container),
                "pod": { "namespace": "prod", "name": pod },
                "entries": [{ "pools": ["v4"] }, { "pools": ["v6"] }],
            });
            server.post("/v1/leases", claim).await.expect(201);
        }
        let all = server.get("/v1/leases").await;
        let all = all.expect(200)["items"].as_array().expect("a list").clone();
        let address = all[0]["address"].as_str().expect("an address");
        let address = address.split('/').next().expect("an address");
        for (filter, count) in [
            ("".to_owned(), 4),
            ("?vrf=default".to_owned(), 4),
            ("?pool=v6".to_owned(), 2),
            ("?cluster=default".to_owned(), 4),
            ("?cluster=other".to_owned(), 0),
            ("?node=node-2".to_owned(), 2),
            ("?network=mynet".to_owned(), 4),
            ("?container_id=c1&pool=v4".to_owned(), 1),
            (format!("?address={address}"), 1),
            ("?pod=web-1".to_owned(), 2),
            ("?pod=prod/web-1".to_owned(), 2),
            ("?pod=test/web-1".to_owned(), 0),
        ] {
            let found = server.get(&format!("/v1/leases{filter}")).await;
            let items = found.expect(200)["items"].as_array().expect("a list");
            assert_eq!(items.len(), count, "{filter}: {items:#?}");
        }
        let (mut pages, mut cursor) = (Vec::new(), String::new());
        loop {
            let page = server.get(&format!("/v1/leases?limit=3{cursor}")).await;
            pages.extend(
                page.expect(200)["items"]
                    .as_array()
                    .expect("a list")
                    .clone(),
            );
            let Some(next) = page.body["next_cursor"].as_str() else {
                break;
            };
            cursor = format!("&cursor={next}");
        }
        assert_eq!(pages, all);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_admin_shows_and_releases_one_lease_by_its_id() {
    everywhere(async |server| {
        two_pools(server).await;
        let held = server.post("/v1/leases", claim("c1", "v4")).await;
        let lease = held.expect(201)["leases"][0].clone();
        let path = format!("/v1/leases/{}", lease["id"].as_str().expect("an id"));
        assert_eq!(server.get(&path).await.expect(200), &lease);
        assert!(server.delete(&path).await.expect(204).is_null());
        server.get(&path).await.problem(404, "lease_not_found");
        server.delete(&path).await.problem(404, "lease_not_found");
        let odd = server.get("/v1/leases/nonsense").await;
        assert!(odd.problem(404, "lease_not_found").contains("nonsense"));
    })
    .await;
}
