//! Boots that a machine has left: what they hold is quarantined, kept by a sign of life, and freed otherwise.

use std::time::Duration;

use ipam_api::{CheckRequest, Claim, Lease};
use ipam_server::Error;
use ipam_server::store::{LeaseFilter, Store};

use super::conformance;
use super::support::*;

conformance!(
    a_new_boot_of_a_machine_quarantines_what_the_one_before_holds,
    what_is_still_quarantined_in_the_end_is_freed,
    a_claim_ends_the_quarantine,
    a_check_ends_the_quarantine_for_good,
    a_check_that_fails_ends_no_quarantine,
    a_release_a_gc_and_an_admin_free_what_is_quarantined,
    a_quarantined_address_is_nobody_elses,
    a_pool_with_a_quarantined_lease_is_in_use,
    machines_that_are_not_known_to_be_the_same_are_left_alone,
    a_claim_without_a_boot_is_left_alone,
    a_node_with_more_than_a_page_of_leases_is_looked_through,
    a_boot_gets_what_the_one_before_has_filled_the_pools_with,
    a_boot_gets_the_wanted_address_that_the_one_before_holds,
);

pub(super) const SOON: Duration = Duration::from_secs(600);
/// So that what is quarantined is overdue at once.
pub(super) const NOW: Duration = Duration::ZERO;

pub(super) fn from(boot: &str, at: i64, container: &str) -> Claim {
    Claim {
        machine_id: Some("m1".to_owned()),
        ..issued(boot, at, claim(container, &["a"]))
    }
}

/// Two leases of the boot before, and one of the present boot.
async fn rebooted(store: &Store) {
    create(store, &pool("a", "10.0.0.0/24")).await;
    grant(store, &from("boot-1", 1, "c1")).await;
    grant(store, &from("boot-1", 2, "c2")).await;
    grant(store, &from("boot-2", 1, "c3")).await;
}

pub(super) async fn reclaim(store: &Store, quarantine: Duration) {
    store.reclaim(quarantine).await.expect("reclaims");
}

/// The containers that hold something quarantined, and that hold something else.
async fn split(store: &Store) -> (Vec<String>, Vec<String>) {
    let containers = async |quarantined| {
        let filter = LeaseFilter {
            quarantined: Some(quarantined),
            ..LeaseFilter::default()
        };
        let page = store.leases(&filter, &first_page(1000)).await;
        let leases = page.expect("a list").items;
        assert!((leases.iter()).all(|lease| lease.quarantined_until.is_some() == quarantined));
        let mut names: Vec<_> = (leases.into_iter())
            .map(|lease: Lease| lease.attachment.container_id)
            .collect();
        names.sort();
        names
    };
    (containers(true).await, containers(false).await)
}

pub(super) async fn assert_split(store: &Store, quarantined: &[&str], others: &[&str]) {
    let (found, rest) = split(store).await;
    assert_eq!((found.len(), rest.len()), (quarantined.len(), others.len()));
    assert_eq!(found, quarantined);
    assert_eq!(rest, others);
    let usage = usage(store, "a").await;
    let counted = (usage.quarantined as usize, usage.leased as usize);
    assert_eq!(counted, (quarantined.len(), others.len()));
}

async fn a_new_boot_of_a_machine_quarantines_what_the_one_before_holds(store: Store) {
    rebooted(&store).await;
    assert_split(&store, &[], &["c1", "c2", "c3"]).await;
    reclaim(&store, SOON).await;
    assert_split(&store, &["c1", "c2"], &["c3"]).await;
    // Again: nothing is counted twice, and nothing is freed before its time.
    reclaim(&store, SOON).await;
    assert_split(&store, &["c1", "c2"], &["c3"]).await;
}

async fn what_is_still_quarantined_in_the_end_is_freed(store: Store) {
    rebooted(&store).await;
    reclaim(&store, NOW).await;
    assert_split(&store, &["c1", "c2"], &["c3"]).await;
    reclaim(&store, NOW).await;
    assert_split(&store, &[], &["c3"]).await;
    let address = "10.0.0.2".parse().expect("an address");
    let past = store
        .history("default", address, None, &first_page(9))
        .await;
    let past = past.expect("a history").items;
    assert_eq!(past[0].reason.as_deref(), Some("reclaim"));
    // A container that is started after all gets an address as ever.
    grant(&store, &from("boot-2", 2, "c1")).await;
}

async fn a_claim_ends_the_quarantine(store: Store) {
    rebooted(&store).await;
    let before = held(&store, "c1").await;
    reclaim(&store, NOW).await;
    let again = grant(&store, &from("boot-2", 5, "c1")).await;
    assert!(!again.fresh);
    assert_eq!(addresses(&again.leases), before);
    assert_eq!(again.leases[0].quarantined_until, None);
    assert_split(&store, &["c2"], &["c1", "c3"]).await;
    reclaim(&store, NOW).await;
    assert_split(&store, &[], &["c1", "c3"]).await;
}

fn check(container: &str, address: std::net::IpAddr) -> CheckRequest {
    CheckRequest {
        attachment: key(container),
        addresses: vec![address],
    }
}

async fn a_check_ends_the_quarantine_for_good(store: Store) {
    rebooted(&store).await;
    let address = held(&store, "c1").await[0];
    reclaim(&store, NOW).await;
    let answer = store.check(&check("c1", address)).await.expect("a check");
    assert!(answer.ok);
    assert_eq!(answer.leases[0].quarantined_until, None);
    assert_split(&store, &["c2"], &["c1", "c3"]).await;
    reclaim(&store, NOW).await;
    assert_split(&store, &[], &["c1", "c3"]).await;
    // A record of the boot before does not free it, a DEL of this boot does.
    let late = del_issued("boot-1", 99, "c1");
    assert_eq!(release(&store, late).await, 0);
    assert_eq!(release(&store, del_issued("boot-2", 99, "c1")).await, 1);
}

async fn a_check_that_fails_ends_no_quarantine(store: Store) {
    rebooted(&store).await;
    reclaim(&store, SOON).await;
    let answer = store.check(&check("c1", ip("10.0.0.99"))).await;
    assert!(!answer.expect("a check").ok);
    assert_split(&store, &["c1", "c2"], &["c3"]).await;
}

async fn a_release_a_gc_and_an_admin_free_what_is_quarantined(store: Store) {
    rebooted(&store).await;
    grant(&store, &from("boot-2", 2, "c4")).await;
    grant(&store, &from("boot-3", 1, "c5")).await;
    reclaim(&store, SOON).await;
    assert_split(&store, &["c1", "c2", "c3", "c4"], &["c5"]).await;
    assert_eq!(release(&store, del_issued("boot-3", 9, "c1")).await, 1);
    assert_eq!(release(&store, del_issued("boot-1", 9, "c2")).await, 1);
    let leases = all_leases(&store).await;
    let of_c3 = leases
        .iter()
        .find(|lease| lease.attachment.container_id == "c3");
    store
        .release_lease(&of_c3.expect("a lease").id)
        .await
        .expect("released");
    assert_split(&store, &["c4"], &["c5"]).await;
    assert_eq!(collect(&store, &gc_issued("boot-3", 9, &["c5"])).await, 1);
    assert_split(&store, &[], &["c5"]).await;
}

async fn a_quarantined_address_is_nobody_elses(store: Store) {
    rebooted(&store).await;
    let address = held(&store, "c1").await[0];
    reclaim(&store, SOON).await;
    let wanted = wanting("other", &["a"], &[&address.to_string()]);
    assert_refused!(allocate(&store, &wanted).await, Error::AddressTaken { .. });
    for n in 0..250 {
        grant(&store, &claim(&format!("more-{n}"), &["a"])).await;
    }
    let full = allocate(&store, &claim("one-more", &["a"])).await;
    assert_refused!(full, Error::PoolExhausted { detail, .. } if detail.contains("quarantined 2"));
}

async fn a_pool_with_a_quarantined_lease_is_in_use(store: Store) {
    rebooted(&store).await;
    release(&store, del_issued("boot-2", 9, "c3")).await;
    reclaim(&store, SOON).await;
    assert_split(&store, &["c1", "c2"], &[]).await;
    let refused = store.delete_pool("a", None).await;
    assert_refused!(refused, Error::PoolInUse { total: 2, .. });
}

async fn machines_that_are_not_known_to_be_the_same_are_left_alone(store: Store) {
    create(&store, &pool("a", "10.0.0.0/24")).await;
    grant(&store, &issued("boot-1", 1, claim("c1", &["a"]))).await;
    grant(&store, &issued("boot-2", 1, claim("c2", &["a"]))).await;
    grant(&store, &from("boot-3", 1, "c3")).await;
    reclaim(&store, NOW).await;
    reclaim(&store, NOW).await;
    assert_split(&store, &[], &["c1", "c2", "c3"]).await;
}

async fn a_claim_without_a_boot_is_left_alone(store: Store) {
    create(&store, &pool("a", "10.0.0.0/24")).await;
    grant(&store, &from("boot-1", 1, "c1")).await;
    grant(&store, &claim("c2", &["a"])).await;
    grant(&store, &from("boot-2", 1, "c3")).await;
    reclaim(&store, NOW).await;
    assert_split(&store, &["c1"], &["c2", "c3"]).await;
}

async fn a_node_with_more_than_a_page_of_leases_is_looked_through(store: Store) {
    create(&store, &pool("a", "10.0.0.0/20")).await;
    let claims: Vec<_> = (0..1_100)
        .map(|n| from("boot-1", n + 1, &format!("c{n}")))
        .collect();
    for batch in claims.chunks(256) {
        for answer in store.allocate(batch).await {
            answer.expect("granted");
        }
    }
    grant(&store, &from("boot-2", 1, "alive")).await;
    reclaim(&store, NOW).await;
    assert_eq!(usage(&store, "a").await.quarantined, 1_100);
    while store.reclaim(NOW).await.expect("reclaims") {}
    let usage = usage(&store, "a").await;
    assert_eq!((usage.quarantined, usage.leased), (0, 1));
}

/// What boot 1 holds, boot 2 gets in the end, though at first it is refused.
async fn assert_handed_on(store: &Store, next: &Claim) {
    let node = store.node("default", "n1").await.expect("the node");
    assert_eq!(node.boot_id.as_deref(), Some("boot-2"));
    // Begun, and over.
    reclaim(store, NOW).await;
    reclaim(store, NOW).await;
    assert!(grant(store, next).await.fresh);
}

async fn a_boot_gets_what_the_one_before_has_filled_the_pools_with(store: Store) {
    for (name, address) in [("a", "10.0.0.5"), ("b", "10.0.0.6")] {
        create(&store, &ranged(name, "10.0.0.0/24", address, address)).await;
    }
    let of_either = |boot: &str, container: &str| Claim {
        entries: claim(container, &["a,b"]).entries,
        ..from(boot, 1, container)
    };
    grant(&store, &of_either("boot-1", "c1")).await;
    grant(&store, &of_either("boot-1", "c2")).await;
    let next = of_either("boot-2", "c3");
    let answer = allocate(&store, &next).await;
    assert_refused!(answer, Error::PoolExhausted { .. });
    assert_handed_on(&store, &next).await;
}

async fn a_boot_gets_the_wanted_address_that_the_one_before_holds(store: Store) {
    create(&store, &pool("a", "10.0.0.0/24")).await;
    let of_one = |boot: &str, container: &str| Claim {
        wanted: vec![ip("10.0.0.5")],
        ..from(boot, 1, container)
    };
    grant(&store, &of_one("boot-1", "c1")).await;
    let next = of_one("boot-2", "c2");
    let answer = allocate(&store, &next).await;
    assert_refused!(answer, Error::AddressTaken { .. });
    assert_handed_on(&store, &next).await;
}

mod all_servers_away {
    use super::*;

    conformance!(with_url: a_quarantine_begins_when_a_server_is_there_to_hear_a_sign_of_life);

    async fn a_quarantine_begins_when_a_server_is_there_to_hear_a_sign_of_life(
        store: Store,
        url: String,
    ) {
        rebooted(&store).await;
        let an_hour_ago = if url.starts_with("sqlite") {
            "update node set reclaim_at = reclaim_at - 3600000000; update node_boot set seen_at = seen_at - 3600000000"
        } else {
            "update node set reclaim_at = reclaim_at - interval '1 hour';
             update node_boot set seen_at = seen_at - interval '1 hour'"
        };
        sql(&url, an_hour_ago).await.expect("an update");
        for _ in 0..3 {
            reclaim(&store, SOON).await;
            assert_split(&store, &["c1", "c2"], &["c3"]).await;
        }
    }
}

mod second_look {
    use super::*;

    conformance!(with_url: what_the_first_look_missed_is_found_by_the_second);

    /// A claim of the boot before may have been under way at the first look.
    async fn what_the_first_look_missed_is_found_by_the_second(store: Store, url: String) {
        rebooted(&store).await;
        reclaim(&store, SOON).await;
        let missed = "update attachment set claim_boot = 'boot-1' where container_id = 'c3'";
        sql(&url, missed).await.expect("an update");
        reclaim(&store, SOON).await;
        assert_split(&store, &["c1", "c2"], &["c3"]).await;
        let a_minute_later = if url.starts_with("sqlite") {
            "update node set reclaim_at = reclaim_at - 60000000; update node_boot set seen_at = seen_at - 60000000"
        } else {
            "update node set reclaim_at = reclaim_at - interval '1 minute';
         update node_boot set seen_at = seen_at - interval '1 minute'"
        };
        sql(&url, a_minute_later).await.expect("an update");
        reclaim(&store, SOON).await;
        assert_split(&store, &["c1", "c2", "c3"], &[]).await;
        // That was the last look.
        let missed = "update attachment set claim_boot = 'boot-2' where container_id = 'c3'";
        sql(&url, missed).await.expect("an update");
        assert!(!store.reclaim(SOON).await.expect("reclaims"));
    }
}
