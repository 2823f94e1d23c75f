//! A clone: a second machine with a node's name and machine id, which boots later and looks like a reboot.

use ipam_api::{Attachment, CheckRequest, Claim, GcRequest, Node};
use ipam_server::Error;
use ipam_server::store::Store;

use super::conformance;
use super::reclaim::{NOW, SOON, assert_split, from, reclaim};
use super::support::*;

conformance!(
    a_boot_that_lives_on_beside_a_clones_loses_nothing,
    a_third_boot_of_a_disputed_node_frees_nothing_either,
    a_gc_shows_the_dispute_as_well_as_a_claim,
    no_gc_of_a_disputed_node_frees_anything,
    a_gc_that_is_refused_for_a_dispute_leaves_its_boot_noted,
    the_other_claims_of_a_batch_that_shows_a_dispute_are_served,
    a_check_on_a_disputed_node_takes_nothing_over_to_the_present_boot,
    a_late_verb_of_the_boot_before_shows_no_dispute,
    a_late_verb_that_does_not_tell_when_it_was_issued_shows_no_dispute,
    a_dispute_ends_when_the_node_is_forgotten,
    a_clone_with_more_than_a_page_of_quarantined_leases_frees_nothing,
    of_containers_with_one_id_the_other_machines_is_not_released,
    of_containers_with_one_id_the_other_machines_address_is_not_shared,
);

/// Nanoseconds.
const SECOND: i64 = 1_000_000_000;
/// The age of the first machine's boot at its first claim, and well after the clone's.
const THEN: i64 = 1_000 * SECOND;
const LATER: i64 = 1_010 * SECOND;

/// The first machine holds c1 and c2, its clone c3; what looks left behind is quarantined.
async fn cloned(store: &Store) {
    create(store, &pool("a", "10.0.0.0/20")).await;
    grant(store, &from("boot-1", THEN, "c1")).await;
    grant(store, &from("boot-1", THEN + 1, "c2")).await;
    grant(store, &from("boot-2", SECOND, "c3")).await;
    reclaim(store, SOON).await;
    assert_split(store, &["c1", "c2"], &["c3"]).await;
}

async fn disputed(store: &Store) {
    cloned(store).await;
    assert_back(allocate(store, &from("boot-1", LATER, "c4")).await);
}

fn assert_back<T>(answer: ipam_server::Result<T>) {
    assert_refused!(answer, Error::NodeNameConflict { detail, .. } if detail.contains("boot-1 is back"));
}

async fn node(store: &Store) -> Node {
    store.node("default", "n1").await.expect("the node")
}

async fn a_boot_that_lives_on_beside_a_clones_loses_nothing(store: Store) {
    cloned(&store).await;
    assert_eq!(node(&store).await.disputed_at, None);
    assert_back(allocate(&store, &from("boot-1", LATER, "c4")).await);
    let shown = node(&store).await;
    assert!(shown.disputed_at >= shown.boot_seen_at && shown.disputed_at.is_some());
    let listed = store.nodes(None, &first_page(9)).await.expect("a list");
    assert_eq!(listed.items[0].disputed_at, shown.disputed_at);
    for _ in 0..3 {
        reclaim(&store, NOW).await;
        assert_split(&store, &[], &["c1", "c2", "c3"]).await;
    }
    // The one that was not told to go is served, and the other still is not.
    grant(&store, &from("boot-2", 2 * SECOND, "c5")).await;
    assert_back(allocate(&store, &from("boot-1", LATER + 1, "c1")).await);
    assert_eq!(node(&store).await.disputed_at, shown.disputed_at);
}

async fn a_third_boot_of_a_disputed_node_frees_nothing_either(store: Store) {
    disputed(&store).await;
    grant(&store, &from("boot-3", SECOND, "c4")).await;
    for _ in 0..3 {
        reclaim(&store, NOW).await;
        assert_split(&store, &[], &["c1", "c2", "c3", "c4"]).await;
    }
}

fn gc_of(boot: &str, at: i64) -> GcRequest {
    GcRequest {
        machine_id: Some("m1".to_owned()),
        ..gc_issued(boot, at, &[])
    }
}

async fn a_gc_shows_the_dispute_as_well_as_a_claim(store: Store) {
    cloned(&store).await;
    assert_back(store.collect(&gc_of("boot-1", LATER)).await);
    reclaim(&store, NOW).await;
    assert_split(&store, &[], &["c1", "c2", "c3"]).await;
}

async fn no_gc_of_a_disputed_node_frees_anything(store: Store) {
    disputed(&store).await;
    for gc in [
        gc_of("boot-1", LATER + 9),
        gc_of("boot-2", 9 * SECOND),
        gc_of("boot-3", SECOND),
        gc_issued("boot-2", 9 * SECOND, &[]),
        gc(&[]),
    ] {
        let answer = store.collect(&gc).await;
        assert_refused!(answer, Error::NodeNameConflict { .. });
    }
    assert_eq!(all_leases(&store).await.len(), 3);
}

async fn a_gc_that_is_refused_for_a_dispute_leaves_its_boot_noted(store: Store) {
    disputed(&store).await;
    let answer = store.collect(&gc_of("boot-3", SECOND)).await;
    assert_refused!(answer, Error::NodeNameConflict { .. });
    assert_eq!(node(&store).await.boot_id.as_deref(), Some("boot-3"));
}

async fn the_other_claims_of_a_batch_that_shows_a_dispute_are_served(store: Store) {
    cloned(&store).await;
    let elsewhere = Claim {
        attachment: Attachment {
            node: "n2".to_owned(),
            ..key("c1")
        },
        ..from("boot-of-n2", THEN, "c1")
    };
    let batch = [
        from("boot-1", LATER, "c4"),
        from("boot-2", 2 * SECOND, "c5"),
        elsewhere,
    ];
    let mut answers = store.allocate(&batch).await.into_iter();
    let mut next = || answers.next().expect("one answer per claim");
    assert_back(next());
    assert!(next().expect("the present boot").fresh);
    assert!(next().expect("another node").fresh);
    assert!(node(&store).await.disputed_at.is_some());
}

async fn a_check_on_a_disputed_node_takes_nothing_over_to_the_present_boot(store: Store) {
    disputed(&store).await;
    let check = CheckRequest {
        attachment: key("c1"),
        addresses: held(&store, "c1").await,
    };
    let answer = store.check(&check).await.expect("a check");
    assert!(answer.ok);
    // So the machine that made it can release it.
    let del = del_issued("boot-1", LATER + 9, "c1");
    assert_eq!(release(&store, del).await, 1);
}

async fn a_late_verb_of_the_boot_before_shows_no_dispute(store: Store) {
    cloned(&store).await;
    assert_back(allocate(&store, &from("boot-1", THEN + 2, "c4")).await);
    assert_back(store.collect(&gc_of("boot-1", THEN + 3)).await);
    assert_eq!(node(&store).await.disputed_at, None);
    assert_split(&store, &["c1", "c2"], &["c3"]).await;
}

async fn a_late_verb_that_does_not_tell_when_it_was_issued_shows_no_dispute(store: Store) {
    cloned(&store).await;
    let late = Claim {
        issued: None,
        ..from("boot-1", 0, "c4")
    };
    assert_back(allocate(&store, &late).await);
    assert_eq!(node(&store).await.disputed_at, None);
}

async fn a_dispute_ends_when_the_node_is_forgotten(store: Store) {
    disputed(&store).await;
    assert_eq!(
        store.forget_node("default", "n1").await.expect("forgotten"),
        3
    );
    grant(&store, &from("boot-1", LATER + 9, "c1")).await;
    assert_eq!(node(&store).await.disputed_at, None);
    assert_eq!(collect(&store, &gc_of("boot-1", LATER + 10)).await, 1);
}

async fn a_clone_with_more_than_a_page_of_quarantined_leases_frees_nothing(store: Store) {
    create(&store, &pool("a", "10.0.0.0/20")).await;
    let claims: Vec<_> = (0..1_100)
        .map(|n| from("boot-1", THEN + n, &format!("c{n}")))
        .collect();
    for batch in claims.chunks(256) {
        for answer in store.allocate(batch).await {
            answer.expect("granted");
        }
    }
    grant(&store, &from("boot-2", SECOND, "other")).await;
    reclaim(&store, NOW).await;
    assert_eq!(usage(&store, "a").await.quarantined, 1_100);
    assert_back(allocate(&store, &from("boot-1", LATER, "c1")).await);
    for _ in 0..3 {
        reclaim(&store, NOW).await;
        let usage = usage(&store, "a").await;
        assert_eq!((usage.quarantined, usage.leased), (0, 1_101));
    }
}

/// As where podman's containers were cloned with the disk.
async fn of_containers_with_one_id_the_other_machines_is_not_released(store: Store) {
    disputed(&store).await;
    for boot in ["boot-2", "boot-3"] {
        let other = del_issued(boot, 9 * SECOND, "c1");
        assert_eq!(release(&store, other).await, 0);
    }
    let own = del_issued("boot-1", LATER + 9, "c1");
    assert_eq!(release(&store, own).await, 1);
    // An admin's, which tells no boot.
    assert_eq!(release(&store, del("c2")).await, 1);
}

async fn of_containers_with_one_id_the_other_machines_address_is_not_shared(store: Store) {
    disputed(&store).await;
    let before = held(&store, "c1").await;
    let same = from("boot-2", 9 * SECOND, "c1");
    let other = Claim {
        entries: claim("c1", &["a", "a"]).entries,
        ..same.clone()
    };
    for claim in [same, other, from("boot-3", SECOND, "c1")] {
        let answer = allocate(&store, &claim).await;
        assert_refused!(answer, Error::NodeNameConflict { .. });
    }
    assert_eq!(held(&store, "c1").await, before);
    // The machine that made it has it still.
    let del = del_issued("boot-1", LATER + 9, "c1");
    assert_eq!(release(&store, del).await, 1);
}

mod a_minute_after {
    use super::*;

    conformance!(with_url: a_verb_of_the_boot_before_is_too_late_to_have_been_on_its_way);

    /// Whatever the clock showed when its boot began.
    async fn a_verb_of_the_boot_before_is_too_late_to_have_been_on_its_way(
        store: Store,
        url: String,
    ) {
        cloned(&store).await;
        let a_minute_ago = if url.starts_with("sqlite") {
            "update node_boot set seen_at = seen_at - 60000000"
        } else {
            "update node_boot set seen_at = seen_at - interval '1 minute'"
        };
        sql(&url, a_minute_ago).await.expect("an update");
        assert_back(allocate(&store, &from("boot-1", THEN + 2, "c4")).await);
        assert!(node(&store).await.disputed_at.is_some());
    }
}

mod before_the_upgrade {
    use super::*;

    conformance!(with_url: a_late_verb_of_a_boot_that_is_not_known_to_have_begun_shows_no_dispute);

    async fn a_late_verb_of_a_boot_that_is_not_known_to_have_begun_shows_no_dispute(
        store: Store,
        url: String,
    ) {
        cloned(&store).await;
        let noted_by_an_older_server = "update node_boot set booted_at = null";
        sql(&url, noted_by_an_older_server)
            .await
            .expect("an update");
        assert_back(allocate(&store, &from("boot-1", THEN + 2, "c4")).await);
        assert_eq!(node(&store).await.disputed_at, None);
    }
}

mod on_a_host_whose_clock_is_behind {
    use super::*;

    conformance!(with_url: a_late_verb_of_the_boot_before_shows_no_dispute);

    /// By a second: the present boot was seen before the database moved there.
    async fn a_late_verb_of_the_boot_before_shows_no_dispute(store: Store, url: String) {
        cloned(&store).await;
        let ahead = if url.starts_with("sqlite") {
            "update node_boot set seen_at = seen_at + 1000000 where boot_id = 'boot-2'"
        } else {
            "update node_boot set seen_at = seen_at + interval '1 second' where boot_id = 'boot-2'"
        };
        sql(&url, ahead).await.expect("an update");
        assert_back(allocate(&store, &from("boot-1", THEN + 2, "c4")).await);
        assert_eq!(node(&store).await.disputed_at, None);
    }
}
