//! Nodes as an admin sees them, and a node that is gone for good.

use std::cell::Cell;
use std::time::Duration;

use ipam_api::Claim;
use ipam_server::Error;
use ipam_server::store::Store;

use super::conformance;
use super::support::*;

conformance!(
    nodes_are_listed_page_by_page_with_what_they_hold,
    a_node_is_shown_with_its_machine_and_boot,
    a_dry_run_lists_what_it_would_free_and_frees_nothing,
    a_node_that_is_forgotten_holds_nothing_and_may_be_another_machine,
    what_a_dead_node_held_of_a_full_pool_another_node_gets_once_it_is_forgotten,
    what_was_spooled_on_a_forgotten_node_frees_nothing_of_the_next_one,
    a_node_that_never_told_its_machine_can_be_forgotten,
    a_node_with_more_than_a_page_of_leases_is_forgotten,
    a_node_that_nobody_knows_is_told,
    a_node_that_goes_on_claiming_is_not_forgotten_for_ever,
);

fn from(node: &str, machine: &str, container: &str) -> Claim {
    let mut claim = Claim {
        machine_id: Some(machine.to_owned()),
        ..issued("boot-1", 1, claim(container, &["a"]))
    };
    claim.boot_id = Some(format!("boot-of-{machine}"));
    node.clone_into(&mut claim.attachment.node);
    claim
}

async fn three_nodes(store: &Store) {
    create(store, &pool("a", "10.0.0.0/20")).await;
    for (node, containers) in [("n1", 3), ("n2", 1), ("n3", 2)] {
        for n in 0..containers {
            grant(store, &from(node, node, &format!("{node}-{n}"))).await;
        }
    }
}

async fn nodes_are_listed_page_by_page_with_what_they_hold(store: Store) {
    three_nodes(&store).await;
    let mut other = from("n1", "n9", "c");
    "other".clone_into(&mut other.attachment.cluster);
    grant(&store, &other).await;
    let pages = async |cluster: Option<&'static str>| {
        let store = &store;
        let all = every_page(2, async |cursor| store.nodes(cluster, cursor).await).await;
        (all.into_iter().flatten())
            .map(|node| format!("{}/{}: {}", node.cluster, node.name, node.leases))
            .collect::<Vec<_>>()
    };
    let of_default = ["default/n1: 3", "default/n2: 1", "default/n3: 2"];
    assert_eq!(pages(Some("default")).await, of_default);
    assert_eq!(
        pages(None).await,
        [&of_default[..], &["other/n1: 1"]].concat()
    );
    assert_eq!(pages(Some("absent")).await, [""; 0]);
}

async fn a_node_is_shown_with_its_machine_and_boot(store: Store) {
    three_nodes(&store).await;
    let node = store.node("default", "n3").await.expect("a node");
    assert_eq!(node.machine_id.as_deref(), Some("n3"));
    assert_eq!(node.boot_id.as_deref(), Some("boot-of-n3"));
    assert_eq!((node.leases, node.quarantined), (2, 0));
    assert!(node.boot_seen_at.is_some() && node.last_claim_at >= node.boot_seen_at);
}

async fn a_dry_run_lists_what_it_would_free_and_frees_nothing(store: Store) {
    three_nodes(&store).await;
    let told = store.try_forget_node("default", "n1").await.expect("told");
    assert_eq!(told.leases_freed_total, 3);
    assert!((told.leases_freed.iter()).all(|lease| lease.attachment.node == "n1"));
    assert_eq!(told.leases_freed.len(), 3);
    assert_eq!(all_leases(&store).await.len(), 6);
}

async fn a_node_that_is_forgotten_holds_nothing_and_may_be_another_machine(store: Store) {
    three_nodes(&store).await;
    let reinstalled = from("n1", "new", "c");
    let refused = allocate(&store, &reinstalled).await;
    assert_refused!(refused, Error::NodeNameConflict { .. });
    assert_eq!(
        store.forget_node("default", "n1").await.expect("forgotten"),
        3
    );
    let left = all_leases(&store).await;
    assert!(left.iter().all(|lease| lease.attachment.node != "n1"));
    assert_eq!(left.len(), 3);
    grant(&store, &reinstalled).await;
    let past = store
        .history("default", ip("10.0.0.2"), None, &first_page(9))
        .await;
    assert_eq!(
        past.expect("a history").items[0].reason.as_deref(),
        Some("forgotten")
    );
}

async fn what_a_dead_node_held_of_a_full_pool_another_node_gets_once_it_is_forgotten(store: Store) {
    create(&store, &pool("a", "10.0.0.0/29")).await;
    let dead: Vec<_> = (0..5)
        .map(|n| from("dead", "dead", &format!("c{n}")))
        .collect();
    let mut held = Vec::new();
    for claim in &dead {
        held.extend(addresses(&grant(&store, claim).await.leases));
    }
    let refused = allocate(&store, &from("n2", "n2", "c0")).await;
    assert_refused!(refused, Error::PoolExhausted { .. });
    let shown = store.node("default", "dead").await.expect("a node");
    assert_eq!(shown.leases, 5, "an admin sees who has them all");
    let freed = store.forget_node("default", "dead").await;
    assert_eq!(freed.expect("forgotten"), 5);
    let mut got = Vec::new();
    for n in 0..5 {
        let granted = grant(&store, &from("n2", "n2", &format!("c{n}"))).await;
        got.extend(addresses(&granted.leases));
    }
    held.sort_unstable();
    got.sort_unstable();
    assert_eq!(got, held);
}

async fn what_was_spooled_on_a_forgotten_node_frees_nothing_of_the_next_one(store: Store) {
    three_nodes(&store).await;
    store.forget_node("default", "n1").await.expect("forgotten");
    grant(&store, &from("n1", "new", "n1-0")).await;
    let mut late = del_issued("boot-of-n1", 99, "n1-0");
    late.earlier_boot = true;
    assert_eq!(release(&store, late).await, 0);
    assert_eq!(held(&store, "n1-0").await.len(), 1);
}

async fn a_node_that_never_told_its_machine_can_be_forgotten(store: Store) {
    create(&store, &pool("a", "10.0.0.0/24")).await;
    lease(&store, "c1", "a").await;
    let told = store.try_forget_node("default", "n1").await.expect("told");
    assert_eq!(told.leases_freed_total, 1);
    assert_eq!(
        store.forget_node("default", "n1").await.expect("forgotten"),
        1
    );
}

async fn a_node_with_more_than_a_page_of_leases_is_forgotten(store: Store) {
    three_nodes(&store).await;
    let claims: Vec<_> = (0..1_100)
        .map(|n| from("n1", "n1", &format!("c{n}")))
        .collect();
    for batch in claims.chunks(256) {
        for answer in store.allocate(batch).await {
            answer.expect("granted");
        }
    }
    let told = store.try_forget_node("default", "n1").await.expect("told");
    assert_eq!(
        (told.leases_freed_total, told.leases_freed.len()),
        (1_103, 100)
    );
    assert_eq!(
        store.forget_node("default", "n1").await.expect("forgotten"),
        1_103
    );
    assert_eq!(all_leases(&store).await.len(), 3);
}

async fn a_node_that_nobody_knows_is_told(store: Store) {
    three_nodes(&store).await;
    for answer in [
        store.node("default", "n9").await.map(drop),
        store.node("other", "n1").await.map(drop),
        store.try_forget_node("default", "n9").await.map(drop),
        store.forget_node("default", "n9").await.map(drop),
    ] {
        assert_refused!(answer, Error::NodeNotFound { name, .. } if name.starts_with('n'));
    }
}

async fn a_node_that_goes_on_claiming_is_not_forgotten_for_ever(store: Store) {
    three_nodes(&store).await;
    let stopped = Cell::new(false);
    let claiming = async |lane: u32| {
        for n in 0.. {
            if stopped.get() {
                return;
            }
            let claims = [0, 1].map(|one| from("n1", "n1", &format!("{lane}-{n}-{one}")));
            store.allocate(&claims).await;
        }
    };
    let forgetting = async {
        let goes_on = |error: &Error| matches!(error, Error::NodeNameConflict { detail, .. } if detail.contains("goes on claiming"));
        // When it finds nothing once, by chance, it is over.
        while !matches!(&store.forget_node("default", "n1").await, Err(error) if goes_on(error)) {}
    };
    let forgetting = async {
        let in_time = tokio::time::timeout(Duration::from_secs(60), forgetting).await;
        stopped.set(true);
        in_time.expect("an answer, though the node goes on claiming");
    };
    tokio::join!(forgetting, claiming(1), claiming(2), claiming(3));
    (store.forget_node("default", "n1").await).expect("forgotten when it has stopped");
    assert_eq!(all_leases(&store).await.len(), 3);
}
