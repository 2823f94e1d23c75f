//! GC: what the runtime does not know any more.

use ipam_api::{Attachment, Claim, GcRequest, ValidAttachment};
use ipam_server::store::Store;

use super::conformance;
use super::support::*;

conformance!(
    a_gc_frees_what_is_not_valid,
    a_gc_with_an_empty_list_frees_everything_in_its_scope,
    a_gc_touches_no_other_node_network_or_cluster,
    a_valid_attachment_is_a_container_and_an_interface,
    a_lease_claimed_after_the_gc_was_issued_stays,
    a_lease_claimed_again_after_the_gc_was_issued_stays,
    a_gc_frees_what_a_boot_that_the_node_has_left_held,
    a_gc_keeps_what_is_valid_also_of_an_earlier_boot,
    a_gc_does_not_free_what_it_cannot_order_against,
    a_gc_on_a_new_node_frees_nothing,
    a_gc_of_more_than_a_thousand_attachments_is_complete,
    a_gc_frees_every_entry_and_says_so_in_the_history,
    the_late_del_of_something_collected_succeeds,
);

const BOOT: &str = "boot-1";

async fn one_pool(store: &Store) {
    create(store, &pool("a", "10.0.0.0/16")).await;
}

async fn a_gc_frees_what_is_not_valid(store: Store) {
    one_pool(&store).await;
    for container in ["c1", "c2", "c3", "c4"] {
        lease(&store, container, "a").await;
    }
    assert_eq!(collect(&store, &gc(&["c1", "c3", "never-seen"])).await, 2);
    let left: Vec<_> = all_leases(&store).await;
    let mut left: Vec<_> = left
        .iter()
        .map(|lease| lease.attachment.container_id.as_str())
        .collect();
    left.sort_unstable();
    assert_eq!(left, ["c1", "c3"]);
    assert_eq!(collect(&store, &gc(&["c1", "c3"])).await, 0);
}

async fn a_gc_with_an_empty_list_frees_everything_in_its_scope(store: Store) {
    one_pool(&store).await;
    for container in ["c1", "c2"] {
        grant(&store, &issued(BOOT, 1, claim(container, &["a"]))).await;
    }
    assert_eq!(collect(&store, &gc_issued(BOOT, 2, &[])).await, 2);
    assert!(all_leases(&store).await.is_empty());
}

async fn a_gc_touches_no_other_node_network_or_cluster(store: Store) {
    one_pool(&store).await;
    let others = [
        Attachment {
            node: "n2".to_owned(),
            ..key("c1")
        },
        Attachment {
            network: "other".to_owned(),
            ..key("c1")
        },
        Attachment {
            cluster: "other".to_owned(),
            ..key("c1")
        },
        Attachment {
            node: "n".to_owned(),
            ..key("c1")
        },
        Attachment {
            node: "n11".to_owned(),
            ..key("c1")
        },
    ];
    for attachment in others.clone() {
        grant(
            &store,
            &Claim {
                attachment,
                ..claim("c1", &["a"])
            },
        )
        .await;
    }
    lease(&store, "c1", "a").await;
    assert_eq!(collect(&store, &gc(&[])).await, 1);
    assert_eq!(all_leases(&store).await.len(), others.len());
}

async fn a_valid_attachment_is_a_container_and_an_interface(store: Store) {
    one_pool(&store).await;
    for ifname in ["eth0", "eth1", "net1"] {
        let attachment = Attachment {
            ifname: ifname.to_owned(),
            ..key("c1")
        };
        grant(
            &store,
            &Claim {
                attachment,
                ..claim("c1", &["a"])
            },
        )
        .await;
    }
    let gc = GcRequest {
        valid: vec![ValidAttachment {
            container_id: "c1".to_owned(),
            ifname: "eth1".to_owned(),
        }],
        ..gc(&[])
    };
    assert_eq!(collect(&store, &gc).await, 2);
    let left = all_leases(&store).await;
    assert_eq!(left[0].attachment.ifname, "eth1");
}

async fn a_lease_claimed_after_the_gc_was_issued_stays(store: Store) {
    one_pool(&store).await;
    grant(&store, &issued(BOOT, 10, claim("old", &["a"]))).await;
    grant(&store, &issued(BOOT, 30, claim("new", &["a"]))).await;
    assert_eq!(collect(&store, &gc_issued(BOOT, 20, &[])).await, 1);
    assert_eq!(held(&store, "new").await.len(), 1);
    assert_eq!(collect(&store, &gc_issued(BOOT, 31, &[])).await, 1);
}

async fn a_lease_claimed_again_after_the_gc_was_issued_stays(store: Store) {
    one_pool(&store).await;
    grant(&store, &issued(BOOT, 10, claim("c1", &["a"]))).await;
    grant(&store, &issued(BOOT, 30, claim("c1", &["a"]))).await;
    assert_eq!(collect(&store, &gc_issued(BOOT, 20, &[])).await, 0);
    assert_eq!(held(&store, "c1").await.len(), 1);
}

async fn a_gc_frees_what_a_boot_that_the_node_has_left_held(store: Store) {
    one_pool(&store).await;
    grant(&store, &issued(BOOT, 1_000_000, claim("old", &["a"]))).await;
    assert_eq!(collect(&store, &gc_issued("boot-2", 5, &[])).await, 1);
    // The gc was the first to be seen in the new boot: the old one is left by it.
    let back = store
        .allocate(&[issued(BOOT, 1_000_001, claim("c", &["a"]))])
        .await;
    assert!(back[0].is_err());
}

async fn a_gc_keeps_what_is_valid_also_of_an_earlier_boot(store: Store) {
    one_pool(&store).await;
    grant(&store, &issued(BOOT, 1_000_000, claim("old", &["a"]))).await;
    assert_eq!(collect(&store, &gc_issued("boot-2", 5, &["old"])).await, 0);
    assert_eq!(held(&store, "old").await.len(), 1);
}

async fn a_gc_does_not_free_what_it_cannot_order_against(store: Store) {
    one_pool(&store).await;
    // A claim without an order, by its arrival before the gc: not listed, so it goes.
    lease(&store, "c1", "a").await;
    assert_eq!(collect(&store, &gc_issued(BOOT, 5, &[])).await, 1);
    // A gc without an order comes after all that has arrived.
    grant(&store, &issued(BOOT, 1_000, claim("c2", &["a"]))).await;
    assert_eq!(collect(&store, &gc(&[])).await, 1);
}

async fn a_gc_on_a_new_node_frees_nothing(store: Store) {
    one_pool(&store).await;
    lease(&store, "c1", "a").await;
    let gc = GcRequest {
        node: "never-seen".to_owned(),
        ..gc(&[])
    };
    assert_eq!(collect(&store, &gc).await, 0);
    assert_eq!(all_leases(&store).await.len(), 1);
}

async fn a_gc_of_more_than_a_thousand_attachments_is_complete(store: Store) {
    one_pool(&store).await;
    let names: Vec<_> = (0..1_200).map(|n| format!("c{n:04}")).collect();
    let claims: Vec<_> = names.iter().map(|name| claim(name, &["a"])).collect();
    for chunk in claims.chunks(300) {
        for answer in store.allocate(chunk).await {
            answer.expect("there is room");
        }
    }
    let valid: Vec<_> = names.iter().step_by(100).map(String::as_str).collect();
    assert_eq!(collect(&store, &gc(&valid)).await, 1_188);
    let left = all_leases(&store).await;
    assert!(
        left.iter()
            .all(|lease| valid.contains(&lease.attachment.container_id.as_str()))
    );
    assert_eq!(left.len(), 12);
}

async fn a_gc_frees_every_entry_and_says_so_in_the_history(store: Store) {
    one_pool(&store).await;
    let granted = grant(&store, &claim("c1", &["a", "a"])).await;
    assert_eq!(collect(&store, &gc(&[])).await, 2);
    for address in addresses(&granted.leases) {
        let past = store
            .history("default", address, None, &first_page(10))
            .await;
        assert_eq!(
            past.expect("a history").items[0].reason.as_deref(),
            Some("gc")
        );
    }
}

async fn the_late_del_of_something_collected_succeeds(store: Store) {
    one_pool(&store).await;
    grant(&store, &issued(BOOT, 1, claim("c1", &["a"]))).await;
    assert_eq!(collect(&store, &gc_issued(BOOT, 2, &[])).await, 1);
    assert_eq!(release(&store, del_issued(BOOT, 3, "c1")).await, 0);
    assert!(
        grant(&store, &issued(BOOT, 4, claim("c1", &["a"])))
            .await
            .fresh
    );
}
