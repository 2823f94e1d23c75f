//! Claims and releases that share a transaction.

use std::collections::BTreeSet;

use ipam_server::Error;
use ipam_server::store::Store;

use super::conformance;
use super::support::*;

conformance!(
    an_empty_batch_is_answered,
    each_claim_of_a_batch_is_answered_in_order,
    one_bad_claim_does_not_fail_its_neighbours,
    a_batch_shares_out_what_is_left,
    a_batch_falls_back_for_those_that_find_nothing,
    two_claims_of_a_batch_do_not_get_one_wanted_address,
    a_dynamic_claim_does_not_take_what_its_neighbour_wants,
    a_claim_that_fails_gives_its_addresses_to_its_neighbours,
    a_batch_with_repeats_and_new_claims_is_served,
    each_release_of_a_batch_is_counted,
    one_attachment_twice_in_a_batch_of_releases_is_freed_once,
);

async fn an_empty_batch_is_answered(store: Store) {
    assert!(store.allocate(&[]).await.is_empty());
    assert!(store.release(&[]).await.is_empty());
}

async fn each_claim_of_a_batch_is_answered_in_order(store: Store) {
    create(&store, &pool("a", "10.0.0.0/16")).await;
    create(&store, &pool("b", "2001:db8::/48")).await;
    // Not in the order of their keys.
    let claims: Vec<_> = (0..256)
        .map(|n| claim(&format!("c{}", (n * 97) % 256), &["a", "b"]))
        .collect();
    let mut seen = BTreeSet::new();
    for (asked, answer) in claims.iter().zip(store.allocate(&claims).await) {
        let granted = answer.expect("there is room");
        assert!(granted.fresh);
        assert_eq!(granted.leases.len(), 2);
        for lease in granted.leases {
            assert_eq!(lease.attachment, asked.attachment);
            assert!(seen.insert((lease.pool, lease.address)));
        }
    }
    assert_eq!(seen.len(), 512);
    assert_eq!(all_leases(&store).await.len(), 512);
}

async fn one_bad_claim_does_not_fail_its_neighbours(store: Store) {
    create(&store, &pool("a", "10.0.0.0/24")).await;
    create(&store, &pool("full", "10.1.0.0/30")).await;
    lease(&store, "holder", "full").await;
    lease(&store, "differs", "a").await;
    release(&store, del_issued("boot-1", 100, "late")).await;
    let claims = [
        claim("c1", &["a"]),
        claim("c2", &["nope"]),
        claim("c3", &["full"]),
        claim("differs", &["full"]),
        wanting("c4", &["a"], &["10.9.9.9"]),
        wanting("c5", &["full"], &["10.1.0.2"]),
        issued("boot-1", 50, claim("late", &["a"])),
        claim("c6", &["a"]),
    ];
    let mut answers = store.allocate(&claims).await.into_iter();
    let mut next = || answers.next().expect("one answer per claim");
    assert!(next().expect("a good claim").fresh);
    assert_refused!(next(), Error::PoolNotFound(_));
    assert_refused!(next(), Error::PoolExhausted { .. });
    assert_refused!(next(), Error::AttachmentDiffers { .. });
    assert_refused!(next(), Error::Invalid(_));
    assert_refused!(next(), Error::AddressTaken { .. });
    assert_refused!(next(), Error::Superseded(_));
    assert!(next().expect("a good claim").fresh);
    assert_eq!(all_leases(&store).await.len(), 4);
}

async fn a_batch_shares_out_what_is_left(store: Store) {
    create(&store, &pool("a", "10.0.0.0/29")).await;
    let claims: Vec<_> = (0..9).map(|n| claim(&format!("c{n}"), &["a"])).collect();
    let answers = store.allocate(&claims).await;
    let served = answers.iter().filter(|answer| answer.is_ok()).count();
    assert_eq!(served, 5);
    for answer in answers.into_iter().filter(|answer| answer.is_err()) {
        assert_refused!(answer, Error::PoolExhausted { .. });
    }
    assert_eq!(usage(&store, "a").await.free, 0);
}

async fn a_batch_falls_back_for_those_that_find_nothing(store: Store) {
    create(&store, &pool("a", "10.0.0.0/29")).await;
    create(&store, &pool("b", "10.1.0.0/29")).await;
    let claims: Vec<_> = (0..12)
        .map(|n| claim(&format!("c{n}"), &[["a,b", "b,a"][n % 2]]))
        .collect();
    let answers = store.allocate(&claims).await;
    let served = answers.iter().filter(|answer| answer.is_ok()).count();
    assert_eq!(served, 10, "nobody fails while an address is free");
    assert_eq!(usage(&store, "a").await.free, 0);
    assert_eq!(usage(&store, "b").await.free, 0);
}

async fn two_claims_of_a_batch_do_not_get_one_wanted_address(store: Store) {
    create(&store, &pool("a", "10.0.0.0/24")).await;
    let claims = ["c1", "c2"].map(|name| wanting(name, &["a"], &["10.0.0.7"]));
    let answers = store.allocate(&claims).await;
    let served = answers.iter().filter(|answer| answer.is_ok()).count();
    assert_eq!(served, 1);
    for answer in answers.into_iter().filter(|answer| answer.is_err()) {
        assert_refused!(answer, Error::AddressTaken { .. });
    }
}

async fn a_dynamic_claim_does_not_take_what_its_neighbour_wants(store: Store) {
    create(&store, &pool("a", "10.0.0.0/29")).await;
    // The dynamic ones come first, and would get the lowest.
    let claims = [
        claim("c1", &["a"]),
        claim("c2", &["a"]),
        wanting("c3", &["a"], &["10.0.0.2"]),
        wanting("c4", &["a"], &["10.0.0.3"]),
        claim("c5", &["a"]),
    ];
    let answers = store.allocate(&claims).await;
    let served = answers.iter().filter(|answer| answer.is_ok()).count();
    // Either order of service is right, as long as nobody gets another's address and what was not given is still there.
    let left = usage(&store, "a").await.free;
    assert_eq!(served as u64 + left, 5);
    for (asked, answer) in claims.iter().zip(answers) {
        match answer {
            Ok(granted) if !asked.wanted.is_empty() => {
                assert_eq!(addresses(&granted.leases), asked.wanted);
            }
            Ok(_) => {}
            Err(error) => {
                assert!(!asked.wanted.is_empty(), "a dynamic claim failed: {error}");
                assert!(matches!(error, Error::AddressTaken { .. }), "{error:?}");
            }
        }
    }
}

async fn a_claim_that_fails_gives_its_addresses_to_its_neighbours(store: Store) {
    create(&store, &pool("a", "10.0.0.0/30")).await;
    create(&store, &pool("full", "10.1.0.0/30")).await;
    lease(&store, "holder", "full").await;
    let claims = [claim("c1", &["a", "full"]), claim("c2", &["a"])];
    let mut answers = store.allocate(&claims).await;
    answers.remove(1).expect("the only address is free");
    assert_refused!(answers.remove(0), Error::PoolExhausted { entry: 1, .. });
}

async fn a_batch_with_repeats_and_new_claims_is_served(store: Store) {
    create(&store, &pool("a", "10.0.0.0/24")).await;
    let old: Vec<_> = (0..10).map(|n| claim(&format!("c{n}"), &["a"])).collect();
    let first = store.allocate(&old).await;
    let both: Vec<_> = (0..20).map(|n| claim(&format!("c{n}"), &["a"])).collect();
    let second = store.allocate(&both).await;
    for (number, answer) in second.iter().enumerate() {
        let granted = answer.as_ref().expect("there is room");
        assert_eq!(granted.fresh, number >= 10);
    }
    for (before, after) in first.iter().zip(&second) {
        let leases = |answer: &ipam_server::Result<ipam_server::store::Granted>| {
            answer.as_ref().expect("granted").leases.clone()
        };
        assert_eq!(leases(before), leases(after));
    }
    assert_eq!(usage(&store, "a").await.leased, 20);
}

async fn each_release_of_a_batch_is_counted(store: Store) {
    create(&store, &pool("a", "10.0.0.0/24")).await;
    create(&store, &pool("b", "10.1.0.0/24")).await;
    grant(&store, &claim("c1", &["a", "b"])).await;
    grant(&store, &claim("c2", &["a"])).await;
    grant(&store, &claim("c3", &["b", "b", "a"])).await;
    let batch = ["c3", "unknown", "c1", "c2"].map(del);
    let counts: Vec<_> = store
        .release(&batch)
        .await
        .into_iter()
        .map(|count| count.expect("freed"))
        .collect();
    assert_eq!(counts, [3, 0, 2, 1]);
    assert!(all_leases(&store).await.is_empty());
}

async fn one_attachment_twice_in_a_batch_of_releases_is_freed_once(store: Store) {
    create(&store, &pool("a", "10.0.0.0/24")).await;
    lease(&store, "c1", "a").await;
    let batch = ["c1", "c1", "c1"].map(del);
    let counts = store.release(&batch).await.into_iter();
    assert_eq!(counts.map(|count| count.expect("freed")).sum::<u64>(), 1);
    assert_eq!(usage(&store, "a").await.free, 253);
}
