//! One name, one machine.

use ipam_api::{Attachment, Claim, GcRequest};
use ipam_server::Error;
use ipam_server::store::Store;

use super::conformance;
use super::support::*;

conformance!(
    another_machine_under_a_nodes_name_is_refused,
    a_boot_that_comes_back_is_another_machine,
    a_late_first_claim_of_a_boot_that_is_over_does_not_take_the_node_away,
    a_boot_is_not_refused_because_the_one_before_began_about_then,
    a_gc_of_another_machine_frees_nothing,
    a_gc_of_a_boot_that_the_node_has_left_frees_nothing,
    a_machine_that_is_refused_does_not_take_over_the_name,
    a_release_is_served_whatever_the_machine,
    callers_that_tell_no_machine_are_served,
    the_same_name_in_another_cluster_is_another_node,
    boots_that_follow_each_other_are_one_machine,
    the_other_nodes_of_a_batch_are_served,
);

fn from(machine: &str, boot: &str, at: i64, container: &str) -> Claim {
    Claim {
        machine_id: Some(machine.to_owned()),
        ..issued(boot, at, claim(container, &["a"]))
    }
}

async fn one_pool(store: &Store) {
    create(store, &pool("a", "10.0.0.0/24")).await;
}

async fn assert_conflict(store: &Store, asked: &Claim) {
    let answer = allocate(store, asked).await;
    let named = |cluster: &str, node: &str| cluster == "default" && node == "n1";
    assert_refused!(answer, Error::NodeNameConflict { cluster, node, .. } if named(&cluster, &node));
}

async fn another_machine_under_a_nodes_name_is_refused(store: Store) {
    one_pool(&store).await;
    let first = grant(&store, &from("m1", "boot-1", 1, "c1")).await;
    assert_conflict(&store, &from("m2", "boot-2", 1, "c2")).await;
    assert_conflict(&store, &from("m2", "boot-1", 2, "c2")).await;
    // Not even what is held is told to it.
    assert_conflict(&store, &from("m2", "boot-2", 3, "c1")).await;
    assert_eq!(held(&store, "c1").await, addresses(&first.leases));
    assert_eq!(all_leases(&store).await.len(), 1);
    grant(&store, &from("m1", "boot-1", 2, "c2")).await;
}

async fn a_boot_that_comes_back_is_another_machine(store: Store) {
    one_pool(&store).await;
    grant(&store, &issued("boot-1", 1, claim("c1", &["a"]))).await;
    grant(&store, &issued("boot-2", 1, claim("c2", &["a"]))).await;
    assert_conflict(&store, &issued("boot-1", 2, claim("c3", &["a"]))).await;
    assert_conflict(&store, &issued("boot-1", 2, claim("c1", &["a"]))).await;
    assert_eq!(all_leases(&store).await.len(), 2);
    grant(&store, &issued("boot-2", 2, claim("c3", &["a"]))).await;
}

/// Nanoseconds.
const SECOND: i64 = 1_000_000_000;

async fn a_late_first_claim_of_a_boot_that_is_over_does_not_take_the_node_away(store: Store) {
    one_pool(&store).await;
    grant(&store, &from("m1", "boot-1", 5_000 * SECOND, "c1")).await;
    grant(&store, &from("m1", "boot-3", 10 * SECOND, "c3")).await;
    // Issued when boot 2 had lasted for ten minutes: it cannot have begun after boot 3.
    assert_conflict(&store, &from("m1", "boot-2", 600 * SECOND, "c2")).await;
    let late_gc = GcRequest {
        machine_id: Some("m1".to_owned()),
        ..gc_issued("boot-2", 600 * SECOND, &[])
    };
    assert_refused!(
        store.collect(&late_gc).await,
        Error::NodeNameConflict { .. }
    );
    grant(&store, &from("m1", "boot-3", 11 * SECOND, "c4")).await;
    grant(&store, &from("m1", "boot-4", SECOND, "c5")).await;
}

async fn a_boot_is_not_refused_because_the_one_before_began_about_then(store: Store) {
    one_pool(&store).await;
    // As where nodes are containers of one machine: their clocks go on from boot to boot.
    grant(&store, &from("m1", "boot-1", 5_000 * SECOND, "c1")).await;
    grant(&store, &from("m1", "boot-2", 5_020 * SECOND, "c2")).await;
    grant(&store, &from("m1", "boot-3", 5_055 * SECOND, "c3")).await;
}

async fn a_gc_of_another_machine_frees_nothing(store: Store) {
    one_pool(&store).await;
    grant(&store, &from("m1", "boot-1", 1, "c1")).await;
    let gc = GcRequest {
        machine_id: Some("m2".to_owned()),
        ..gc_issued("boot-2", 1_000, &[])
    };
    assert_refused!(store.collect(&gc).await, Error::NodeNameConflict { .. });
    assert_eq!(all_leases(&store).await.len(), 1);
    // It has not become the node's boot either.
    grant(&store, &from("m1", "boot-1", 2, "c2")).await;
}

async fn a_gc_of_a_boot_that_the_node_has_left_frees_nothing(store: Store) {
    one_pool(&store).await;
    grant(&store, &issued("boot-1", 1, claim("c1", &["a"]))).await;
    grant(&store, &issued("boot-2", 1, claim("c2", &["a"]))).await;
    let late = gc_issued("boot-1", 1_000, &[]);
    assert_refused!(store.collect(&late).await, Error::NodeNameConflict { .. });
    assert_eq!(all_leases(&store).await.len(), 2);
}

async fn a_machine_that_is_refused_does_not_take_over_the_name(store: Store) {
    one_pool(&store).await;
    grant(&store, &from("m1", "boot-1", 1, "c1")).await;
    for attempt in 0..3 {
        assert_conflict(&store, &from("m2", &format!("other-{attempt}"), 1, "c2")).await;
        grant(&store, &from("m1", "boot-1", 10 + attempt, "c1")).await;
    }
}

async fn a_release_is_served_whatever_the_machine(store: Store) {
    one_pool(&store).await;
    grant(&store, &issued("boot-1", 1, claim("c1", &["a"]))).await;
    grant(&store, &issued("boot-2", 1, claim("c2", &["a"]))).await;
    // A boot that has ended: it frees what is its own, also when nobody says that it is an earlier one.
    assert_eq!(release(&store, del_issued("boot-1", 5, "c2")).await, 0);
    assert_eq!(release(&store, del_issued("boot-1", 5, "c1")).await, 1);
}

async fn callers_that_tell_no_machine_are_served(store: Store) {
    one_pool(&store).await;
    grant(&store, &from("m1", "boot-1", 1, "c1")).await;
    grant(&store, &claim("c2", &["a"])).await;
    grant(&store, &issued("boot-1", 2, claim("c3", &["a"]))).await;
    assert_eq!(collect(&store, &gc(&["c1", "c3"])).await, 1);
    grant(&store, &from("m1", "boot-1", 3, "c4")).await;
}

async fn the_same_name_in_another_cluster_is_another_node(store: Store) {
    one_pool(&store).await;
    grant(&store, &from("m1", "boot-1", 1, "c1")).await;
    let other = Claim {
        attachment: Attachment {
            cluster: "other".to_owned(),
            ..key("c1")
        },
        ..from("m2", "boot-9", 1, "c1")
    };
    grant(&store, &other).await;
    grant(&store, &from("m1", "boot-1", 2, "c2")).await;
}

async fn boots_that_follow_each_other_are_one_machine(store: Store) {
    one_pool(&store).await;
    for boot in 1..=5 {
        let name = format!("boot-{boot}");
        grant(&store, &from("m1", &name, 1, &format!("c{boot}"))).await;
        grant(&store, &from("m1", &name, 2, "steady")).await;
    }
    assert_conflict(&store, &from("m1", "boot-3", 9, "c9")).await;
}

async fn the_other_nodes_of_a_batch_are_served(store: Store) {
    one_pool(&store).await;
    grant(&store, &from("m1", "boot-1", 1, "c1")).await;
    let elsewhere = Claim {
        attachment: Attachment {
            node: "n2".to_owned(),
            ..key("c1")
        },
        ..from("m2", "boot-2", 1, "c1")
    };
    let batch = [
        from("m2", "boot-2", 1, "c2"),
        elsewhere,
        from("m1", "boot-1", 2, "c3"),
    ];
    let mut answers = store.allocate(&batch).await.into_iter();
    let mut next = || answers.next().expect("one answer per claim");
    assert_refused!(next(), Error::NodeNameConflict { .. });
    assert!(next().expect("another node").fresh);
    assert!(next().expect("the name's own machine").fresh);
}

mod set_clock {
    use super::*;

    conformance!(with_url:
        a_boot_after_the_clock_was_set_back_is_served,
        a_late_first_claim_is_refused_also_where_the_clock_is_a_little_behind,
    );

    async fn a_late_first_claim_is_refused_also_where_the_clock_is_a_little_behind(
        store: Store,
        url: String,
    ) {
        one_pool(&store).await;
        grant(&store, &from("m1", "boot-2", SECOND, "c2")).await;
        let ahead = if url.starts_with("sqlite") {
            "update node_boot set seen_at = seen_at + 1000000"
        } else {
            "update node_boot set seen_at = seen_at + interval '1 second'"
        };
        sql(&url, ahead).await.expect("an update");
        assert_conflict(&store, &from("m1", "boot-1", 600 * SECOND, "c1")).await;
    }

    async fn a_boot_after_the_clock_was_set_back_is_served(store: Store, url: String) {
        one_pool(&store).await;
        grant(&store, &from("m1", "boot-1", 5_000 * SECOND, "c1")).await;
        grant(&store, &from("m1", "boot-2", 10 * SECOND, "c2")).await;
        // Boot 2 was first seen when the clock was ahead by an hour.
        let ahead = if url.starts_with("sqlite") {
            "update node set booted_at = booted_at + 3600000000;
             update node_boot set seen_at = seen_at + 3600000000, booted_at = booted_at + 3600000000
             where boot_id = 'boot-2'"
        } else {
            "update node set booted_at = booted_at + interval '1 hour';
             update node_boot set seen_at = seen_at + interval '1 hour', booted_at = booted_at + interval '1 hour'
             where boot_id = 'boot-2'"
        };
        sql(&url, ahead).await.expect("an update");
        grant(&store, &from("m1", "boot-3", 10 * SECOND, "c3")).await;
        // And so is one that comes when the clock shows again what it did, and more.
        let long_ago = if url.starts_with("sqlite") {
            "update node set booted_at = booted_at + 3600000000;
             update node_boot set seen_at = seen_at - 300000000 where boot_id = 'boot-3'"
        } else {
            "update node set booted_at = booted_at + interval '1 hour';
             update node_boot set seen_at = seen_at - interval '5 minutes' where boot_id = 'boot-3'"
        };
        sql(&url, long_ago).await.expect("an update");
        grant(&store, &from("m1", "boot-4", 10 * SECOND, "c4")).await;
    }
}
