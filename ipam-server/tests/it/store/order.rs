//! Verbs that overtake each other.

use std::time::Duration;

use ipam_server::Error;
use ipam_server::store::{Releasing, Store};

use super::conformance;
use super::support::*;

conformance!(
    a_claim_older_than_a_served_release_is_superseded,
    a_claim_newer_than_a_served_release_works_at_once,
    a_claim_overtaken_by_the_release_of_something_unknown_is_superseded,
    a_release_older_than_the_newest_claim_frees_nothing,
    a_repeated_claim_raises_what_a_release_must_be_newer_than,
    verbs_without_an_order_are_ordered_by_arrival,
    a_late_del_does_not_free_the_next_tenants_address,
    a_del_of_something_unknown_succeeds,
    a_claim_that_gives_up_frees_what_it_created,
    a_claim_that_gives_up_does_not_free_what_another_created,
    a_claim_that_gives_up_does_not_free_what_another_has_got_since,
    a_claim_that_gave_up_before_it_was_served_is_superseded,
    a_record_of_an_earlier_boot_frees_what_that_boot_left,
    a_record_of_an_earlier_boot_frees_nothing_of_a_later_one,
    a_del_in_a_new_boot_frees_what_an_earlier_one_left,
    a_new_boot_counts_anew,
    a_release_of_a_boot_that_is_not_known_yet_lets_no_claim_of_the_one_before_pass,
    a_release_marks_the_order_also_when_it_frees_nothing,
    marks_are_kept_by_the_tidying_of_the_day,
);

const BOOT: &str = "boot-1";
const NEXT: &str = "boot-2";

async fn one_pool(store: &Store) {
    create(store, &pool("a", "10.0.0.0/24")).await;
}

/// A record of the spool, sent in a later boot.
fn spooled(boot: &str, at: i64, container: &str) -> Releasing {
    Releasing {
        earlier_boot: true,
        ..del_issued(boot, at, container)
    }
}

/// The release that an ADD sends when it gives up.
fn give_up(boot: &str, claim_issued: i64, at: i64, container: &str) -> Releasing {
    let mut releasing = del_issued(boot, at, container);
    releasing.release.claim_issued = Some(claim_issued);
    releasing
}

async fn a_claim_older_than_a_served_release_is_superseded(store: Store) {
    one_pool(&store).await;
    grant(&store, &issued(BOOT, 5, claim("c1", &["a"]))).await;
    assert_eq!(release(&store, del_issued(BOOT, 10, "c1")).await, 1);
    let late = allocate(&store, &issued(BOOT, 7, claim("c1", &["a"]))).await;
    assert_refused!(late, Error::Superseded(attachment) if *attachment == key("c1"));
    assert!(all_leases(&store).await.is_empty());
}

async fn a_claim_newer_than_a_served_release_works_at_once(store: Store) {
    one_pool(&store).await;
    for start in 0..3 {
        let (added, deleted) = (10 * start + 1, 10 * start + 2);
        let granted = grant(&store, &issued(BOOT, added, claim("c1", &["a"]))).await;
        assert!(granted.fresh);
        assert_eq!(release(&store, del_issued(BOOT, deleted, "c1")).await, 1);
    }
}

async fn a_claim_overtaken_by_the_release_of_something_unknown_is_superseded(store: Store) {
    one_pool(&store).await;
    assert_eq!(release(&store, del_issued(BOOT, 10, "c1")).await, 0);
    let late = allocate(&store, &issued(BOOT, 9, claim("c1", &["a"]))).await;
    assert_refused!(late, Error::Superseded(_));
    grant(&store, &issued(BOOT, 11, claim("c1", &["a"]))).await;
}

async fn a_release_older_than_the_newest_claim_frees_nothing(store: Store) {
    one_pool(&store).await;
    grant(&store, &issued(BOOT, 10, claim("c1", &["a"]))).await;
    assert_eq!(release(&store, del_issued(BOOT, 9, "c1")).await, 0);
    assert_eq!(held(&store, "c1").await.len(), 1);
    assert_eq!(release(&store, del_issued(BOOT, 11, "c1")).await, 1);
}

async fn a_repeated_claim_raises_what_a_release_must_be_newer_than(store: Store) {
    one_pool(&store).await;
    let first = grant(&store, &issued(BOOT, 10, claim("c1", &["a"]))).await;
    let again = grant(&store, &issued(BOOT, 20, claim("c1", &["a"]))).await;
    assert_eq!(again.leases, first.leases);
    // A repeat that arrives late does not lower it.
    grant(&store, &issued(BOOT, 12, claim("c1", &["a"]))).await;
    assert_eq!(release(&store, del_issued(BOOT, 15, "c1")).await, 0);
    assert_eq!(held(&store, "c1").await, addresses(&first.leases));
    assert_eq!(release(&store, del_issued(BOOT, 21, "c1")).await, 1);
}

async fn verbs_without_an_order_are_ordered_by_arrival(store: Store) {
    one_pool(&store).await;
    grant(&store, &issued(BOOT, 10, claim("c1", &["a"]))).await;
    assert_eq!(release(&store, del("c1")).await, 1);
    assert!(grant(&store, &claim("c1", &["a"])).await.fresh);
    assert_eq!(release(&store, del_issued(BOOT, 20, "c1")).await, 1);
    assert!(grant(&store, &claim("c1", &["a"])).await.fresh);
    assert_eq!(release(&store, del("c1")).await, 1);
    assert_eq!(release(&store, del("c1")).await, 0);
}

async fn a_late_del_does_not_free_the_next_tenants_address(store: Store) {
    create(&store, &pool("a", "10.0.0.0/30")).await;
    let first = grant(&store, &issued(BOOT, 1, claim("c1", &["a"]))).await;
    assert_eq!(release(&store, del_issued(BOOT, 2, "c1")).await, 1);
    let next = grant(&store, &issued(BOOT, 3, claim("c2", &["a"]))).await;
    assert_eq!(addresses(&first.leases), addresses(&next.leases));
    for late in [del_issued(BOOT, 4, "c1"), del("c1"), spooled(BOOT, 5, "c1")] {
        assert_eq!(release(&store, late).await, 0);
    }
    assert_eq!(held(&store, "c2").await, addresses(&next.leases));
}

async fn a_del_of_something_unknown_succeeds(store: Store) {
    assert_eq!(release(&store, del("nobody")).await, 0);
    assert_eq!(release(&store, del_issued(BOOT, 1, "nobody")).await, 0);
    assert_eq!(release(&store, spooled(BOOT, 1, "nobody")).await, 0);
    assert_eq!(release(&store, give_up(BOOT, 1, 2, "nobody")).await, 0);
}

async fn a_claim_that_gives_up_frees_what_it_created(store: Store) {
    one_pool(&store).await;
    grant(&store, &issued(BOOT, 10, claim("c1", &["a", "a"]))).await;
    assert_eq!(release(&store, give_up(BOOT, 10, 12, "c1")).await, 2);
    assert!(all_leases(&store).await.is_empty());
}

async fn a_claim_that_gives_up_does_not_free_what_another_created(store: Store) {
    one_pool(&store).await;
    let first = grant(&store, &issued(BOOT, 5, claim("c1", &["a"]))).await;
    // A repeated ADD: it got the set of the first, and then ran out of time.
    grant(&store, &issued(BOOT, 10, claim("c1", &["a"]))).await;
    assert_eq!(release(&store, give_up(BOOT, 10, 12, "c1")).await, 0);
    assert_eq!(held(&store, "c1").await, addresses(&first.leases));
    let again = grant(&store, &issued(BOOT, 13, claim("c1", &["a"]))).await;
    assert_eq!(again.leases, first.leases);
}

async fn a_claim_that_gives_up_does_not_free_what_another_has_got_since(store: Store) {
    one_pool(&store).await;
    let first = grant(&store, &issued(BOOT, 10, claim("c1", &["a"]))).await;
    let again = grant(&store, &issued(BOOT, 20, claim("c1", &["a"]))).await;
    assert_eq!(again.leases, first.leases);
    assert_eq!(release(&store, give_up(BOOT, 10, 15, "c1")).await, 0);
    assert_eq!(held(&store, "c1").await, addresses(&first.leases));
}

async fn a_claim_that_gave_up_before_it_was_served_is_superseded(store: Store) {
    one_pool(&store).await;
    assert_eq!(release(&store, give_up(BOOT, 10, 12, "c1")).await, 0);
    let late = allocate(&store, &issued(BOOT, 10, claim("c1", &["a"]))).await;
    assert_refused!(late, Error::Superseded(_));
    grant(&store, &issued(BOOT, 13, claim("c1", &["a"]))).await;
}

async fn a_record_of_an_earlier_boot_frees_what_that_boot_left(store: Store) {
    one_pool(&store).await;
    grant(&store, &issued(BOOT, 10, claim("c1", &["a"]))).await;
    grant(&store, &issued(NEXT, 1, claim("c2", &["a"]))).await;
    assert_eq!(
        release(&store, spooled(BOOT, 9, "c1")).await,
        0,
        "older than the claim"
    );
    assert_eq!(release(&store, spooled(BOOT, 11, "c1")).await, 1);
    assert_eq!(held(&store, "c2").await.len(), 1);
}

async fn a_record_of_an_earlier_boot_frees_nothing_of_a_later_one(store: Store) {
    one_pool(&store).await;
    let first = grant(&store, &issued(NEXT, 1, claim("c1", &["a"]))).await;
    assert_eq!(release(&store, spooled(BOOT, 1_000_000, "c1")).await, 0);
    assert_eq!(held(&store, "c1").await, addresses(&first.leases));
    // Nor does it keep the later boot's claims away.
    let again = grant(&store, &issued(NEXT, 2, claim("c1", &["a"]))).await;
    assert_eq!(again.leases, first.leases);
    assert_eq!(release(&store, del_issued(NEXT, 3, "c1")).await, 1);
    assert_eq!(release(&store, spooled(BOOT, 2_000_000, "c1")).await, 0);
    assert!(
        grant(&store, &issued(NEXT, 4, claim("c1", &["a"])))
            .await
            .fresh
    );
}

async fn a_del_in_a_new_boot_frees_what_an_earlier_one_left(store: Store) {
    one_pool(&store).await;
    grant(&store, &issued(BOOT, 1_000_000, claim("c1", &["a"]))).await;
    assert_eq!(release(&store, del_issued(NEXT, 5, "c1")).await, 1);
    assert!(all_leases(&store).await.is_empty());
}

async fn a_new_boot_counts_anew(store: Store) {
    one_pool(&store).await;
    grant(&store, &issued(BOOT, 1_000_000, claim("c1", &["a"]))).await;
    assert_eq!(release(&store, del_issued(BOOT, 2_000_000, "c1")).await, 1);
    let granted = grant(&store, &issued(NEXT, 5, claim("c1", &["a"]))).await;
    assert!(granted.fresh);
    assert_eq!(release(&store, del_issued(NEXT, 4, "c1")).await, 0);
    assert_eq!(release(&store, del_issued(NEXT, 6, "c1")).await, 1);
    let late = allocate(&store, &issued(NEXT, 5, claim("c1", &["a"]))).await;
    assert_refused!(late, Error::Superseded(_));
}

async fn a_release_marks_the_order_also_when_it_frees_nothing(store: Store) {
    one_pool(&store).await;
    grant(&store, &issued(BOOT, 1, claim("c1", &["a"]))).await;
    assert_eq!(release(&store, del_issued(BOOT, 2, "c1")).await, 1);
    assert_eq!(release(&store, del_issued(BOOT, 9, "c1")).await, 0);
    // A smaller one that comes late does not lower the mark.
    assert_eq!(release(&store, del_issued(BOOT, 3, "c1")).await, 0);
    let late = allocate(&store, &issued(BOOT, 8, claim("c1", &["a"]))).await;
    assert_refused!(late, Error::Superseded(_));
}

async fn marks_are_kept_by_the_tidying_of_the_day(store: Store) {
    one_pool(&store).await;
    assert_eq!(release(&store, del_issued(BOOT, 10, "c1")).await, 0);
    while store.tidy(Duration::ZERO).await.expect("tidy") {}
    let late = allocate(&store, &issued(BOOT, 9, claim("c1", &["a"]))).await;
    assert_refused!(late, Error::Superseded(_));
}

/// After a reboot a runtime deletes first: the service knows the new boot only by its first claim.
async fn a_release_of_a_boot_that_is_not_known_yet_lets_no_claim_of_the_one_before_pass(
    store: Store,
) {
    one_pool(&store).await;
    grant(&store, &issued(BOOT, 1, claim("c0", &["a"]))).await;
    assert_eq!(release(&store, del_issued(BOOT, 10, "c1")).await, 0);
    assert_eq!(release(&store, del_issued(NEXT, 2, "c1")).await, 0);
    assert_eq!(release(&store, del_issued(BOOT, 12, "c1")).await, 0);
    for late in [7, 11] {
        let late = allocate(&store, &issued(BOOT, late, claim("c1", &["a"]))).await;
        assert_refused!(late, Error::Superseded(_));
    }
    let late = allocate(&store, &issued(NEXT, 1, claim("c1", &["a"]))).await;
    assert_refused!(late, Error::Superseded(_));
    grant(&store, &issued(NEXT, 3, claim("c1", &["a"]))).await;
}
