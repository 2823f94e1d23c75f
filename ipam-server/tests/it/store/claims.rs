//! Claims: entries, families, fallback, idempotence.

use ipam_api::{Attachment, Claim};
use ipam_server::Error;
use ipam_server::store::Store;

use super::conformance;
use super::support::*;

conformance!(
    a_claim_gets_one_lease_per_entry_in_order,
    the_same_claim_again_gets_the_same_answer,
    a_claim_gets_all_of_its_addresses_or_none,
    pools_of_an_entry_are_tried_in_order,
    a_full_pool_does_not_hold_up_the_entries_after_it,
    entries_of_one_pool_get_different_addresses,
    one_container_id_on_two_nodes_is_two_attachments,
    interfaces_and_networks_and_clusters_are_told_apart,
    a_held_set_satisfies_a_claim_that_lists_its_pools,
    another_claim_of_a_holder_differs_in_the_same_boot,
    another_claim_of_a_holder_replaces_in_a_newer_boot,
    a_replacement_that_fails_leaves_what_was_held,
    the_same_claim_in_a_newer_boot_keeps_its_addresses,
    a_claim_after_its_release_is_a_new_lease,
    an_unknown_pool_anywhere_fails_the_claim,
);

async fn dual_stack(store: &Store) {
    create(store, &pool("v4", "10.0.0.0/24")).await;
    create(store, &pool("v6", "2001:db8::/64")).await;
}

async fn a_claim_gets_one_lease_per_entry_in_order(store: Store) {
    dual_stack(&store).await;
    let granted = grant(&store, &claim("c1", &["v6", "v4", "v6"])).await;
    assert!(granted.fresh);
    let pools: Vec<_> = granted
        .leases
        .iter()
        .map(|lease| lease.pool.as_str())
        .collect();
    assert_eq!(pools, ["v6", "v4", "v6"]);
    let families: Vec<_> = addresses(&granted.leases)
        .iter()
        .map(|ip| ip.is_ipv6())
        .collect();
    assert_eq!(families, [true, false, true]);
    let mut ids: Vec<_> = granted
        .leases
        .iter()
        .map(|lease| lease.id.clone())
        .collect();
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), 3, "each lease has an id of its own");
    for lease in &granted.leases {
        assert_eq!(&store.lease(&lease.id).await.expect("the lease"), lease);
    }
}

async fn the_same_claim_again_gets_the_same_answer(store: Store) {
    dual_stack(&store).await;
    let asked = claim("c1", &["v4", "v6"]);
    let first = grant(&store, &asked).await;
    for _ in 0..3 {
        let again = grant(&store, &asked).await;
        assert!(!again.fresh);
        assert_eq!(again.leases, first.leases);
    }
    assert_eq!(usage(&store, "v4").await.leased, 1);
    assert_eq!(usage(&store, "v6").await.leased, 1);
}

async fn a_claim_gets_all_of_its_addresses_or_none(store: Store) {
    create(&store, &pool("v4", "10.0.0.0/24")).await;
    create(&store, &without_gateway("v6", "2001:db8::/127")).await;
    for container in ["c1", "c2"] {
        grant(&store, &claim(container, &["v4", "v6"])).await;
    }
    for entries in [["v4", "v6"], ["v6", "v4"]] {
        let refused = allocate(&store, &claim("c3", &entries)).await;
        let position = usize::from(entries[0] == "v4");
        assert_refused!(refused, Error::PoolExhausted { entry, .. } if entry == position);
        assert_eq!(usage(&store, "v4").await.leased, 2, "nothing is kept");
        assert_eq!(usage(&store, "v4").await.cooling, 0);
    }
    assert!(held(&store, "c3").await.is_empty());
    release(&store, del("c1")).await;
    grant(&store, &claim("c3", &["v4", "v6"])).await;
}

async fn pools_of_an_entry_are_tried_in_order(store: Store) {
    create(&store, &pool("a", "10.0.0.0/30")).await;
    create(&store, &pool("b", "10.1.0.0/30")).await;
    create(&store, &pool("c", "10.2.0.0/30")).await;
    for (container, expected) in [("c1", "b"), ("c2", "a"), ("c3", "c")] {
        let granted = grant(&store, &claim(container, &["b,a,c"])).await;
        assert_eq!(granted.leases[0].pool, expected);
    }
    let error = refused(allocate(&store, &claim("c4", &["b,a,c"])).await).to_string();
    for name in ["\"b\"", "\"a\"", "\"c\""] {
        assert!(error.contains(name), "{error} does not name {name}");
    }
    release(&store, del("c2")).await;
    let granted = grant(&store, &claim("c4", &["b,a,c"])).await;
    assert_eq!(granted.leases[0].pool, "a");
}

async fn a_full_pool_does_not_hold_up_the_entries_after_it(store: Store) {
    create(&store, &pool("a", "10.0.0.0/30")).await;
    create(&store, &pool("b", "10.1.0.0/30")).await;
    create(&store, &pool("c", "10.2.0.0/24")).await;
    lease(&store, "full", "a").await;
    let granted = grant(&store, &claim("c1", &["a,b", "b,c", "a,c"])).await;
    let pools: Vec<_> = granted
        .leases
        .iter()
        .map(|lease| lease.pool.as_str())
        .collect();
    assert_eq!(pools, ["b", "c", "c"]);
}

async fn entries_of_one_pool_get_different_addresses(store: Store) {
    create(&store, &pool("a", "10.0.0.0/29")).await;
    let granted = grant(&store, &claim("c1", &["a", "a", "a", "a", "a"])).await;
    let mut leased = addresses(&granted.leases);
    leased.sort();
    leased.dedup();
    assert_eq!(leased.len(), 5);
    assert_eq!(usage(&store, "a").await.free, 0);
    assert_eq!(release(&store, del("c1")).await, 5);
}

async fn one_container_id_on_two_nodes_is_two_attachments(store: Store) {
    create(&store, &pool("a", "10.0.0.0/24")).await;
    let first = claim("c1", &["a"]);
    let second = Claim {
        attachment: Attachment {
            node: "n2".to_owned(),
            ..key("c1")
        },
        ..first.clone()
    };
    let one = grant(&store, &first).await;
    let two = grant(&store, &second).await;
    assert!(two.fresh);
    assert_ne!(addresses(&one.leases), addresses(&two.leases));
    let mut releasing = del("c1");
    releasing.release.node = "n2".to_owned();
    assert_eq!(release(&store, releasing).await, 1);
    let again = grant(&store, &first).await;
    assert!(!again.fresh);
    assert_eq!(again.leases, one.leases);
}

async fn interfaces_and_networks_and_clusters_are_told_apart(store: Store) {
    create(&store, &pool("a", "10.0.0.0/24")).await;
    let keys = [
        key("c1"),
        Attachment {
            ifname: "eth1".to_owned(),
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
        key("c2"),
    ];
    for attachment in keys {
        let asked = Claim {
            attachment,
            ..claim("c1", &["a"])
        };
        assert!(grant(&store, &asked).await.fresh);
    }
    assert_eq!(usage(&store, "a").await.leased, 5);
    assert_eq!(release(&store, del("c1")).await, 1);
    assert_eq!(usage(&store, "a").await.leased, 4);
}

async fn a_held_set_satisfies_a_claim_that_lists_its_pools(store: Store) {
    create(&store, &pool("a", "10.0.0.0/24")).await;
    create(&store, &pool("b", "10.1.0.0/24")).await;
    let first = grant(&store, &wanting("c1", &["a", "b"], &["10.0.0.9"])).await;
    for again in [
        claim("c1", &["a", "b"]),
        claim("c1", &["b,a", "a,b"]),
        wanting("c1", &["a", "b"], &["10.0.0.9"]),
        wanting("c1", &["a", "b"], &["10.1.0.2"]),
        wanting("c1", &["a", "b"], &["10.1.0.2", "10.0.0.9"]),
    ] {
        let answer = grant(&store, &again).await;
        assert!(!answer.fresh, "{again:?}");
        assert_eq!(answer.leases, first.leases);
    }
}

async fn another_claim_of_a_holder_differs_in_the_same_boot(store: Store) {
    create(&store, &pool("a", "10.0.0.0/24")).await;
    create(&store, &pool("b", "10.1.0.0/24")).await;
    let first = grant(&store, &issued("boot-1", 1, claim("c1", &["a"]))).await;
    for other in [
        claim("c1", &["b"]),
        claim("c1", &["a", "b"]),
        claim("c1", &["a", "a"]),
        wanting("c1", &["a"], &["10.0.0.99"]),
    ] {
        let same_boot = issued("boot-1", 2, other.clone());
        for differing in [same_boot, other] {
            let refused = allocate(&store, &differing).await;
            assert_refused!(refused, Error::AttachmentDiffers { attachment, .. } if *attachment == key("c1"));
        }
    }
    assert_eq!(held(&store, "c1").await, addresses(&first.leases));
    let again = grant(&store, &issued("boot-1", 3, claim("c1", &["a"]))).await;
    assert_eq!(again.leases, first.leases);
}

async fn another_claim_of_a_holder_replaces_in_a_newer_boot(store: Store) {
    create(&store, &resting(3600, pool("a", "10.0.0.0/24"))).await;
    create(&store, &pool("b", "10.1.0.0/24")).await;
    let first = grant(&store, &issued("boot-1", 1000, claim("c1", &["a", "a"]))).await;
    let second = grant(&store, &issued("boot-2", 1, claim("c1", &["b"]))).await;
    assert!(second.fresh);
    assert_eq!(second.leases[0].pool, "b");
    assert_eq!(held(&store, "c1").await, addresses(&second.leases));
    let usage = usage(&store, "a").await;
    assert_eq!((usage.leased, usage.cooling), (0, 2), "the old ones rest");
    for old in &first.leases {
        assert_refused!(store.lease(&old.id).await, Error::LeaseNotFound(_));
        let past = store
            .history("default", old.address.ip(), None, &first_page(10))
            .await;
        let past = past.expect("a history").items;
        assert_eq!(past[0].reason.as_deref(), Some("replaced"));
    }
}

async fn a_replacement_that_fails_leaves_what_was_held(store: Store) {
    create(&store, &pool("a", "10.0.0.0/24")).await;
    create(&store, &pool("full", "10.1.0.0/30")).await;
    lease(&store, "other", "full").await;
    let first = grant(&store, &issued("boot-1", 1, claim("c1", &["a"]))).await;
    let refused = allocate(&store, &issued("boot-2", 1, claim("c1", &["full"]))).await;
    assert_refused!(refused, Error::PoolExhausted { .. });
    assert_eq!(held(&store, "c1").await, addresses(&first.leases));
    let again = grant(&store, &issued("boot-2", 2, claim("c1", &["a"]))).await;
    assert_eq!(again.leases, first.leases);
}

async fn the_same_claim_in_a_newer_boot_keeps_its_addresses(store: Store) {
    create(&store, &pool("a", "10.0.0.0/24")).await;
    let first = grant(&store, &issued("boot-1", 1000, claim("c1", &["a"]))).await;
    let again = grant(&store, &issued("boot-2", 5, claim("c1", &["a"]))).await;
    assert!(!again.fresh);
    assert_eq!(again.leases, first.leases);
    // It is the newer boot's by now: what the earlier boot left behind does not free it.
    let mut late = del_issued("boot-1", 2000, "c1");
    late.earlier_boot = true;
    assert_eq!(release(&store, late).await, 0);
    assert_eq!(held(&store, "c1").await, addresses(&first.leases));
}

async fn a_claim_after_its_release_is_a_new_lease(store: Store) {
    create(&store, &pool("a", "10.0.0.0/30")).await;
    let first = grant(&store, &claim("c1", &["a"])).await;
    release(&store, del("c1")).await;
    let second = grant(&store, &claim("c1", &["a"])).await;
    assert!(second.fresh);
    assert_eq!(addresses(&first.leases), addresses(&second.leases));
    assert_ne!(
        first.leases[0].id, second.leases[0].id,
        "ids are never used again"
    );
    assert_refused!(
        store.lease(&first.leases[0].id).await,
        Error::LeaseNotFound(_)
    );
    assert_refused!(
        store.release_lease(&first.leases[0].id).await,
        Error::LeaseNotFound(_)
    );
}

async fn an_unknown_pool_anywhere_fails_the_claim(store: Store) {
    create(&store, &pool("a", "10.0.0.0/24")).await;
    for entries in [["a", "nope"], ["a,nope", "a"], ["nope,a", "a"]] {
        let refused = allocate(&store, &claim("c1", &entries)).await;
        assert_refused!(refused, Error::PoolNotFound(name) if name == "nope");
    }
    assert_eq!(usage(&store, "a").await.leased, 0);
}
