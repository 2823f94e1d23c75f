//! Releases by attachment, and the admin's by lease.

use ipam_server::Error;
use ipam_server::store::Store;

use super::conformance;
use super::support::*;

conformance!(
    a_release_frees_all_of_an_attachments_leases,
    a_released_address_can_be_leased_again,
    a_release_names_every_part_of_the_attachment,
    an_admin_releases_one_lease,
    an_admins_release_of_something_unknown_is_not_found,
    after_an_admins_release_the_attachment_can_claim_again,
    after_an_admins_release_of_one_entry_the_rest_is_still_held,
);

async fn two_pools(store: &Store) {
    create(store, &pool("a", "10.0.0.0/24")).await;
    create(store, &pool("b", "2001:db8::/64")).await;
}

async fn a_release_frees_all_of_an_attachments_leases(store: Store) {
    two_pools(&store).await;
    let granted = grant(&store, &claim("c1", &["a", "b"])).await;
    grant(&store, &claim("c2", &["a", "b"])).await;
    assert_eq!(release(&store, del("c1")).await, 2);
    for lease in &granted.leases {
        assert_refused!(store.lease(&lease.id).await, Error::LeaseNotFound(_));
    }
    assert_eq!(held(&store, "c2").await.len(), 2);
    assert_eq!(release(&store, del("c1")).await, 0);
}

async fn a_released_address_can_be_leased_again(store: Store) {
    create(&store, &pool("a", "10.0.0.0/30")).await;
    for number in 0..20 {
        let container = format!("c{}", number % 3);
        assert_eq!(lease(&store, &container, "a").await, ip("10.0.0.2"));
        assert_eq!(release(&store, del(&container)).await, 1);
    }
}

async fn a_release_names_every_part_of_the_attachment(store: Store) {
    two_pools(&store).await;
    lease(&store, "c1", "a").await;
    let mut others = vec![del("c2"); 5];
    others[1] = del("c1");
    others[1].release.node = "n2".to_owned();
    others[2] = del("c1");
    others[2].release.network = "other".to_owned();
    others[3] = del("c1");
    others[3].release.ifname = "eth1".to_owned();
    others[4] = del("c1");
    others[4].release.cluster = "other".to_owned();
    for other in others {
        assert_eq!(release(&store, other).await, 0);
    }
    assert_eq!(release(&store, del("c1")).await, 1);
}

async fn an_admin_releases_one_lease(store: Store) {
    two_pools(&store).await;
    let address = lease(&store, "c1", "a").await;
    lease(&store, "c2", "a").await;
    let found = all_leases(&store).await;
    let own = found.iter().find(|lease| lease.address.ip() == address);
    let id = &own.expect("the lease").id;
    store.release_lease(id).await.expect("it is held");
    assert!(held(&store, "c1").await.is_empty());
    assert_eq!(held(&store, "c2").await.len(), 1);
    assert_refused!(store.release_lease(id).await, Error::LeaseNotFound(_));
    let past = store
        .history("default", address, None, &first_page(10))
        .await;
    let past = past.expect("a history").items;
    assert_eq!(past[0].reason.as_deref(), Some("admin"));
    assert_eq!(&past[0].lease_id, id);
    assert_eq!(release(&store, del("c1")).await, 0, "the late DEL");
}

async fn an_admins_release_of_something_unknown_is_not_found(store: Store) {
    let unknown = "0192aaaabbbb7ccc8dddeeeeffff0000-0";
    for id in [
        unknown,
        "",
        "-",
        "x-0",
        "\u{1F980}",
        "0192aaaabbbb7ccc8dddeeeeffff0000-99999999999",
    ] {
        assert_refused!(store.release_lease(id).await, Error::LeaseNotFound(named) if named == id);
        assert_refused!(store.lease(id).await, Error::LeaseNotFound(named) if named == id);
    }
}

async fn after_an_admins_release_the_attachment_can_claim_again(store: Store) {
    two_pools(&store).await;
    let asked = issued("boot-1", 10, claim("c1", &["a"]));
    let first = grant(&store, &asked).await;
    store
        .release_lease(&first.leases[0].id)
        .await
        .expect("it is held");
    let second = grant(&store, &issued("boot-1", 11, claim("c1", &["a"]))).await;
    assert!(second.fresh);
    assert_ne!(first.leases[0].id, second.leases[0].id);
    assert_eq!(release(&store, del_issued("boot-1", 12, "c1")).await, 1);
}

async fn after_an_admins_release_of_one_entry_the_rest_is_still_held(store: Store) {
    two_pools(&store).await;
    let first = grant(&store, &claim("c1", &["a", "b"])).await;
    store
        .release_lease(&first.leases[0].id)
        .await
        .expect("it is held");
    assert_eq!(held(&store, "c1").await, [first.leases[1].address.ip()]);
    let again = allocate(&store, &claim("c1", &["a", "b"])).await;
    assert_refused!(again, Error::AttachmentDiffers { .. });
    assert_eq!(release(&store, del("c1")).await, 1);
    assert!(grant(&store, &claim("c1", &["a", "b"])).await.fresh);
}
