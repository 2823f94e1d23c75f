//! Whether an attachment holds what its runtime believes.

use std::net::IpAddr;

use ipam_api::{CheckAnswer, CheckRequest};
use ipam_server::store::Store;

use super::conformance;
use super::support::*;

conformance!(
    what_is_held_is_confirmed,
    what_is_missing_is_named,
    an_unknown_attachment_is_not_ok,
    an_address_of_somebody_else_is_missing,
);

async fn check(store: &Store, container: &str, addresses: &[IpAddr]) -> CheckAnswer {
    let request = CheckRequest {
        attachment: key(container),
        addresses: addresses.to_vec(),
    };
    store.check(&request).await.expect("an answer")
}

async fn what_is_held_is_confirmed(store: Store) {
    create(&store, &pool("a", "10.0.0.0/24")).await;
    create(&store, &pool("b", "2001:db8::/64")).await;
    let granted = grant(&store, &claim("c1", &["a", "b"])).await;
    let held = addresses(&granted.leases);
    for asked in [&held[..], &held[..1], &held[1..], &[]] {
        let answer = check(&store, "c1", asked).await;
        assert!(answer.ok && answer.missing.is_empty(), "{asked:?}");
        assert_eq!(answer.leases, granted.leases);
    }
}

async fn what_is_missing_is_named(store: Store) {
    create(&store, &pool("a", "10.0.0.0/24")).await;
    let held = lease(&store, "c1", "a").await;
    let answer = check(&store, "c1", &[held, ip("10.0.0.99"), ip("10.9.9.9")]).await;
    assert!(!answer.ok);
    assert_eq!(answer.missing, [ip("10.0.0.99"), ip("10.9.9.9")]);
    assert_eq!(addresses(&answer.leases), [held]);
}

async fn an_unknown_attachment_is_not_ok(store: Store) {
    create(&store, &pool("a", "10.0.0.0/24")).await;
    let answer = check(&store, "nobody", &[]).await;
    assert!(!answer.ok && answer.leases.is_empty());
    let held = lease(&store, "c1", "a").await;
    release(&store, del("c1")).await;
    let answer = check(&store, "c1", &[held]).await;
    assert!(!answer.ok);
    assert_eq!(answer.missing, [held]);
}

async fn an_address_of_somebody_else_is_missing(store: Store) {
    create(&store, &pool("a", "10.0.0.0/24")).await;
    let own = lease(&store, "c1", "a").await;
    let other = lease(&store, "c2", "a").await;
    let answer = check(&store, "c1", &[own, other]).await;
    assert!(!answer.ok);
    assert_eq!(answer.missing, [other]);
}
