//! Lists of leases.

use std::collections::BTreeSet;

use ipam_api::{Attachment, Claim, Lease, Pod};
use ipam_server::store::{Cursor, LeaseFilter, Store};

use super::conformance;
use super::support::*;

conformance!(
    each_filter_shows_what_it_names,
    filters_are_joined_by_and,
    a_filter_that_nothing_matches_shows_nothing,
    pages_show_every_lease_once,
    pages_of_a_filtered_list_are_full,
    a_cursor_that_is_none_is_refused,
    leases_that_come_and_go_between_pages_do_not_hide_the_others,
);

fn text(text: &str) -> Option<String> {
    Some(text.to_owned())
}

async fn list(store: &Store, filter: LeaseFilter) -> Vec<Lease> {
    let page = store.leases(&filter, &first_page(100)).await;
    page.expect("a list").items
}

/// Six leases that differ in everything that can be filtered by.
async fn six(store: &Store) {
    store.create_vrf("blue").await.expect("a vrf");
    create(store, &pool("a", "10.0.0.0/24")).await;
    create(store, &pool("b", "2001:db8::/64")).await;
    let blue = ipam_api::NewPool {
        vrf: text("blue"),
        ..pool("c", "10.0.0.0/24")
    };
    create(store, &blue).await;
    let pod = |namespace: &str, name: &str| {
        Some(Pod {
            namespace: text(namespace),
            name: text(name),
            uid: None,
        })
    };
    let claims = [
        Claim {
            pod: pod("shop", "web-0"),
            ..claim("c1", &["a"])
        },
        Claim {
            pod: pod("blog", "web-0"),
            ..claim("c2", &["b"])
        },
        Claim {
            attachment: Attachment {
                node: "n2".to_owned(),
                ..key("c1")
            },
            ..claim("c1", &["c"])
        },
        Claim {
            attachment: Attachment {
                network: "other".to_owned(),
                ..key("c3")
            },
            ..claim("c3", &["a"])
        },
        Claim {
            attachment: Attachment {
                cluster: "east".to_owned(),
                ..key("c4")
            },
            pod: pod("shop", "db-0"),
            ..claim("c4", &["a", "b"])
        },
    ];
    for claim in &claims {
        grant(store, claim).await;
    }
}

async fn each_filter_shows_what_it_names(store: Store) {
    six(&store).await;
    let none = LeaseFilter::default;
    assert_eq!(list(&store, none()).await.len(), 6);
    for (filter, count) in [
        (
            LeaseFilter {
                vrf: text("default"),
                ..none()
            },
            5,
        ),
        (
            LeaseFilter {
                vrf: text("blue"),
                ..none()
            },
            1,
        ),
        (
            LeaseFilter {
                pool: text("a"),
                ..none()
            },
            3,
        ),
        (
            LeaseFilter {
                pool: text("b"),
                ..none()
            },
            2,
        ),
        (
            LeaseFilter {
                cluster: text("east"),
                ..none()
            },
            2,
        ),
        (
            LeaseFilter {
                node: text("n2"),
                ..none()
            },
            1,
        ),
        (
            LeaseFilter {
                network: text("other"),
                ..none()
            },
            1,
        ),
        (
            LeaseFilter {
                container_id: text("c1"),
                ..none()
            },
            2,
        ),
        (
            LeaseFilter {
                address: Some(ip("10.0.0.2")),
                ..none()
            },
            2,
        ),
        (
            LeaseFilter {
                pod: text("web-0"),
                ..none()
            },
            2,
        ),
        (
            LeaseFilter {
                pod: text("shop/web-0"),
                ..none()
            },
            1,
        ),
        (
            LeaseFilter {
                pod: text("shop/db-0"),
                ..none()
            },
            2,
        ),
    ] {
        let found = list(&store, filter.clone()).await;
        assert_eq!(found.len(), count, "{filter:?}: {found:#?}");
    }
    let by_node = LeaseFilter {
        node: text("n2"),
        ..none()
    };
    assert_eq!(list(&store, by_node).await[0].vrf, "blue");
}

async fn filters_are_joined_by_and(store: Store) {
    six(&store).await;
    let none = LeaseFilter::default;
    for (filter, count) in [
        (
            LeaseFilter {
                container_id: text("c1"),
                node: text("n1"),
                ..none()
            },
            1,
        ),
        (
            LeaseFilter {
                pool: text("a"),
                network: text("net"),
                ..none()
            },
            2,
        ),
        (
            LeaseFilter {
                vrf: text("blue"),
                address: Some(ip("10.0.0.2")),
                ..none()
            },
            1,
        ),
        (
            LeaseFilter {
                pool: text("b"),
                pod: text("shop/web-0"),
                ..none()
            },
            0,
        ),
    ] {
        assert_eq!(
            list(&store, filter.clone()).await.len(),
            count,
            "{filter:?}"
        );
    }
}

async fn a_filter_that_nothing_matches_shows_nothing(store: Store) {
    six(&store).await;
    let none = LeaseFilter::default;
    for filter in [
        LeaseFilter {
            node: text("nowhere"),
            ..none()
        },
        LeaseFilter {
            address: Some(ip("10.0.0.250")),
            ..none()
        },
        LeaseFilter {
            address: Some(ip("192.0.2.1")),
            ..none()
        },
        LeaseFilter {
            pod: text("shop/"),
            ..none()
        },
        LeaseFilter {
            pod: text("no/such/pod"),
            ..none()
        },
        LeaseFilter {
            owner: text("nobody"),
            ..none()
        },
    ] {
        assert!(list(&store, filter.clone()).await.is_empty(), "{filter:?}");
    }
}

async fn many(store: &Store) -> BTreeSet<String> {
    create(store, &pool("a", "10.0.0.0/24")).await;
    create(store, &pool("b", "2001:db8::/64")).await;
    let claims: Vec<_> = (0..30)
        .map(|n| claim(&format!("c{n}"), &["a", "b"]))
        .collect();
    let answers = store.allocate(&claims).await;
    let leases = answers
        .into_iter()
        .flat_map(|answer| answer.expect("there is room").leases);
    leases.map(|lease| lease.id).collect()
}

async fn pages_show_every_lease_once(store: Store) {
    let expected = many(&store).await;
    let filter = LeaseFilter::default();
    for limit in [1, 7, 30, 60, 61] {
        let pages = every_page(limit, async |cursor| store.leases(&filter, cursor).await).await;
        assert!(pages.iter().all(|page| page.len() <= limit as usize));
        let ids: Vec<_> = pages.into_iter().flatten().map(|lease| lease.id).collect();
        assert_eq!(ids.len(), expected.len(), "limit {limit}");
        assert_eq!(BTreeSet::from_iter(ids), expected, "limit {limit}");
    }
}

async fn pages_of_a_filtered_list_are_full(store: Store) {
    many(&store).await;
    let filter = LeaseFilter {
        pool: text("b"),
        ..LeaseFilter::default()
    };
    let pages = every_page(8, async |cursor| store.leases(&filter, cursor).await).await;
    let sizes: Vec<_> = pages
        .iter()
        .map(Vec::len)
        .filter(|size| *size > 0)
        .collect();
    assert_eq!(sizes, [8, 8, 8, 6]);
    assert!(pages.iter().flatten().all(|lease| lease.pool == "b"));
}

async fn a_cursor_that_is_none_is_refused(store: Store) {
    many(&store).await;
    for after in [
        "",
        "x",
        "1",
        "-1,10.0.0.1",
        "\u{1F980}",
        "1:2:3",
        "9999999999999999999999",
    ] {
        let cursor = Cursor {
            after: text(after),
            limit: 5,
        };
        let answer = store.leases(&LeaseFilter::default(), &cursor).await;
        assert_invalid(answer, &["cursor"]);
    }
}

async fn leases_that_come_and_go_between_pages_do_not_hide_the_others(store: Store) {
    let expected = many(&store).await;
    let filter = LeaseFilter::default();
    let first = store
        .leases(&filter, &first_page(10))
        .await
        .expect("a page");
    let last = &first.items[9].attachment.container_id;
    release(&store, del(last)).await;
    lease(&store, "another", "a").await;
    let mut seen: BTreeSet<_> = first.items.iter().map(|lease| lease.id.clone()).collect();
    let mut cursor = Cursor {
        after: first.next_cursor,
        limit: 10,
    };
    while cursor.after.is_some() {
        let page = store.leases(&filter, &cursor).await.expect("a page");
        seen.extend(page.items.into_iter().map(|lease| lease.id));
        cursor.after = page.next_cursor;
    }
    let missed = expected.difference(&seen).count();
    assert!(
        missed <= 1,
        "only the released set's other lease may be missed"
    );
}
