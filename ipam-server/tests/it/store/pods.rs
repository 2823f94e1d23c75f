//! Whose sandbox it is: told, kept, and never what anything is found by.

use ipam_api::{Claim, Pod};
use ipam_server::store::{Releasing, Store};

use super::conformance;
use super::support::*;

conformance!(
    the_pod_is_recorded_on_the_lease,
    what_ends_a_pods_old_sandbox_leaves_the_address_of_its_new_one,
);

async fn the_pod_is_recorded_on_the_lease(store: Store) {
    create(&store, &pool("a", "10.0.0.0/24")).await;
    let pod = Pod {
        namespace: Some("shop".to_owned()),
        name: Some("web-0".to_owned()),
        uid: Some("7f".to_owned()),
    };
    let asked = Claim {
        pod: Some(pod.clone()),
        ..claim("c1", &["a"])
    };
    let granted = grant(&store, &asked).await;
    assert_eq!(granted.leases[0].pod, pod);
    let again = grant(&store, &claim("c1", &["a"])).await;
    assert_eq!(again.leases[0].pod, pod, "what was told once stays");
    let address = granted.leases[0].address.ip();
    release(&store, del("c1")).await;
    let past = store
        .history("default", address, None, &first_page(1))
        .await;
    assert_eq!(past.expect("a history").items[0].pod, pod);
    // The next sandbox of this attachment may be another pod's.
    let next = grant(&store, &claim("c1", &["a"])).await;
    assert_eq!(next.leases[0].pod, Pod::default());
}

/// A pod of a stateful set: the same name again, on the same node or on another, while the old sandbox is not yet gone.
async fn what_ends_a_pods_old_sandbox_leaves_the_address_of_its_new_one(store: Store) {
    create(&store, &pool("a", "10.0.0.0/24")).await;
    let of_the_pod = |node: &str, at: i64, container: &str, uid: &str| {
        let mut claim = Claim {
            pod: Some(Pod {
                namespace: Some("shop".to_owned()),
                name: Some("web-0".to_owned()),
                uid: Some(uid.to_owned()),
            }),
            ..issued("boot-1", at, claim(container, &["a"]))
        };
        node.clone_into(&mut claim.attachment.node);
        claim
    };
    let old = of_the_pod("n1", 1, "old", "uid-1");
    let other = of_the_pod("n2", 1, "new", "uid-2");
    let new = of_the_pod("n1", 2, "new", "uid-2");
    for claim in [&old, &other, &new] {
        grant(&store, claim).await;
    }
    let holders = async || {
        let leases = all_leases(&store).await.into_iter();
        let mut holders: Vec<_> = leases
            .map(|lease| (lease.attachment.node, lease.attachment.container_id))
            .collect();
        holders.sort();
        holders
    };
    let holder = |node: &str, container: &str| (node.to_owned(), container.to_owned());
    assert_eq!(
        holders().await,
        [
            holder("n1", "new"),
            holder("n1", "old"),
            holder("n2", "new")
        ]
    );
    let new_ones = [holder("n1", "new"), holder("n2", "new")];
    assert_eq!(release(&store, del_issued("boot-1", 3, "old")).await, 1);
    assert_eq!(holders().await, new_ones);
    // Again, late, and from the spool of the boot before.
    assert_eq!(release(&store, del_issued("boot-1", 4, "old")).await, 0);
    let spooled = Releasing {
        earlier_boot: true,
        ..del_issued("boot-0", 9, "old")
    };
    assert_eq!(release(&store, spooled).await, 0);
    // What the runtime of n1 still has.
    let valid = gc_issued("boot-1", 5, &["new"]);
    assert_eq!(collect(&store, &valid).await, 0);
    assert_eq!(holders().await, new_ones);
}
