//! The judges: constraints refuse a second lease of an address, and the audit finds what is wrong with the tables.

use ipam_server::store::Store;

use super::conformance;
use super::support::*;

conformance!(with_url:
    the_database_refuses_a_second_lease_of_an_address,
    the_database_refuses_a_second_lease_of_an_entry,
    the_audit_finds_an_address_that_is_lost,
    the_audit_finds_an_address_that_is_free_and_leased,
    the_audit_finds_overlapping_free_space,
    the_audit_finds_a_wrong_count,
    the_audit_finds_a_lease_that_is_gone,
    the_audit_finds_free_space_below_the_head,
);

async fn two_leases(store: &Store) {
    create(store, &pool("a", "10.0.0.0/24")).await;
    lease(store, "c1", "a").await;
    lease(store, "c2", "a").await;
}

/// Does it, sees that the audit has something to say, and undoes it: every test ends with a clean audit.
async fn assert_found(store: &Store, url: &str, harm: &'static str, cure: &'static str) {
    audit(store).await;
    sql(url, harm).await.expect("the harm is done");
    let found = store.audit().await.expect("the audit runs");
    assert!(!found.is_empty(), "the audit does not see: {harm}");
    sql(url, cure).await.expect("it is cured");
}

async fn the_database_refuses_a_second_lease_of_an_address(store: Store, url: String) {
    two_leases(&store).await;
    let same = "update lease set address = (select min(address) from lease)";
    let error = sql(&url, same).await.expect_err("a constraint");
    let text = error.to_string();
    assert!(
        text.contains("lease_address_key") || text.contains("lease.vrf_id, lease.address"),
        "{text}"
    );
}

async fn the_database_refuses_a_second_lease_of_an_entry(store: Store, url: String) {
    create(&store, &pool("a", "10.0.0.0/24")).await;
    grant(&store, &claim("c1", &["a", "a"])).await;
    let error = sql(&url, "update lease set entry = 0")
        .await
        .expect_err("a constraint");
    let text = error.to_string();
    assert!(
        text.contains("lease_pkey") || text.contains("lease.attachment_id, lease.entry"),
        "{text}"
    );
}

async fn the_audit_finds_an_address_that_is_lost(store: Store, url: String) {
    two_leases(&store).await;
    release(&store, del("c1")).await;
    let harm = "create table kept as select * from free_range;
        delete from free_range where first = (select min(first) from free_range)";
    let cure = "delete from free_range; insert into free_range select * from kept";
    assert_found(&store, &url, harm, cure).await;
}

async fn the_audit_finds_an_address_that_is_free_and_leased(store: Store, url: String) {
    two_leases(&store).await;
    let harm = "insert into free_range select pool_id, address, address, created_at from lease where entry = 0";
    let cure = "delete from free_range where first in (select address from lease)";
    assert_found(&store, &url, harm, cure).await;
}

async fn the_audit_finds_overlapping_free_space(store: Store, url: String) {
    two_leases(&store).await;
    let harm = "insert into free_range select pool_id, last, last, free_at from free_range";
    let cure = "delete from free_range where first = last";
    assert_found(&store, &url, harm, cure).await;
}

async fn the_audit_finds_a_wrong_count(store: Store, url: String) {
    two_leases(&store).await;
    release(&store, del("c1")).await;
    for (harm, cure) in [
        (
            "update pool_counter set leased = leased + 1",
            "update pool_counter set leased = leased - 1",
        ),
        (
            "update pool_counter set returned = returned + 1",
            "update pool_counter set returned = returned - 1",
        ),
        (
            "update pool_counter set leased_reserved = 1",
            "update pool_counter set leased_reserved = 0",
        ),
        (
            "update pool_counter set quarantined = 1",
            "update pool_counter set quarantined = 0",
        ),
    ] {
        assert_found(&store, &url, harm, cure).await;
    }
}

async fn the_audit_finds_a_lease_that_is_gone(store: Store, url: String) {
    two_leases(&store).await;
    let harm = "create table kept as select * from lease; delete from lease";
    let cure = "insert into lease select * from kept";
    assert_found(&store, &url, harm, cure).await;
}

/// Picks begin at the head: what is below it would never be leased again.
async fn the_audit_finds_free_space_below_the_head(store: Store, url: String) {
    two_leases(&store).await;
    let harm = "create table kept as select * from pool_counter;
        update pool_counter set fresh_from = (select subnet_last from pool)";
    let cure = "update pool_counter set fresh_from = (select fresh_from from kept)";
    assert_found(&store, &url, harm, cure).await;
}
