//! `/v1/vrfs`.

use serde_json::json;

use super::server::everywhere;

#[tokio::test(flavor = "multi_thread")]
async fn a_vrf_is_created_once_and_listed_in_pages() {
    everywhere(async |server| {
        let blue = json!({ "name": "blue" });
        let created = server.post("/v1/vrfs", blue.clone()).await;
        assert_eq!(created.expect(201), &blue);
        let again = server.post("/v1/vrfs", blue.clone()).await;
        assert_eq!(again.expect(200), &blue);

        let first = server.get("/v1/vrfs?limit=1").await;
        assert_eq!(first.expect(200)["items"], json!([{ "name": "blue" }]));
        let cursor = first.body["next_cursor"].as_str().expect("a second page");
        let second = server
            .get(&format!("/v1/vrfs?limit=1&cursor={cursor}"))
            .await;
        assert_eq!(second.expect(200)["items"], json!([{ "name": "default" }]));
        assert_eq!(second.body.get("next_cursor"), None);
    })
    .await;
}
