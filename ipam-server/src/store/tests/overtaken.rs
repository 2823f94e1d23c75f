//! Verbs that wait for a lock while the node moves on. PostgreSQL only: SQLite's transactions run one after another.

use std::time::Duration;

use ipam_api::{Attachment, CheckRequest, Claim, GcRequest, Release};
use serde_json::json;
use sqlx::{Connection, PgConnection, Row};

use super::stage::{PAGE, claim, create, key};
use crate::error::Error;
use crate::store::{Granted, LeaseFilter, Releasing, Store};

/// Long enough for a task to reach the lock, which [`waits`] makes sure of.
const PAUSE: Duration = Duration::from_millis(20);

/// A store with one pool, and a connection of the test's own.
pub(super) async fn stage() -> Option<(Store, PgConnection)> {
    let url = harness::postgres::database()?;
    let store = Store::open(&url).await.expect("opens");
    create(&store, json!({"name": "p", "subnet": "10.0.0.0/22"})).await;
    let connection = PgConnection::connect(&url).await.expect("connects");
    Some((store, connection))
}

fn claim_in(boot: &str, issued: i64) -> Claim {
    Claim {
        boot_id: Some(boot.to_owned()),
        issued: Some(issued),
        ..claim("c", None)
    }
}

fn release_in(boot: &str, issued: i64) -> Releasing {
    let Attachment {
        cluster,
        node,
        network,
        container_id,
        ifname,
    } = key("c");
    Releasing {
        release: Release {
            cluster,
            node,
            network,
            container_id,
            ifname,
            boot_id: Some(boot.to_owned()),
            issued: Some(issued),
            claim_issued: None,
        },
        earlier_boot: false,
    }
}

fn gc(boot: Option<&str>) -> GcRequest {
    GcRequest {
        cluster: "default".to_owned(),
        node: "node-1".to_owned(),
        network: "net".to_owned(),
        machine_id: None,
        boot_id: boot.map(str::to_owned),
        issued: boot.map(|_| 100),
        valid: Vec::new(),
    }
}

pub(super) async fn one(store: &Store, claim: Claim) -> Result<Granted, Error> {
    store.allocate(&[claim]).await.remove(0)
}

/// Waits until a transaction of the server waits for a row of this connection's.
pub(super) async fn waits(connection: &mut PgConnection) {
    for _ in 0..500 {
        // A transaction would see the activity of its first look again and again.
        let refresh = sqlx::query("select pg_stat_clear_snapshot()");
        refresh.execute(&mut *connection).await.expect("clears");
        let row = sqlx::query(
            "select count(*) as waiting
             from pg_stat_activity
             where datname = current_database()
                 and wait_event_type = 'Lock'",
        );
        let waiting: i64 = row.fetch_one(&mut *connection).await.expect("reads").get(0);
        if waiting > 0 {
            return;
        }
        tokio::time::sleep(PAUSE).await;
    }
    panic!("nothing waits");
}

/// What a claim of the node's next boot for the same attachment leaves, but for new leases.
async fn move_on(connection: &mut PgConnection) {
    for statement in [
        "update attachment set claim_boot = 'next', claim_issued = 5 where container_id = 'c'",
        "update node set boot_id = 'next' where name = 'node-1'",
        "insert into node_boot (node_id, boot_id, seen_at) select id, 'next', now() from node",
        "commit",
    ] {
        (sqlx::query(statement).execute(&mut *connection))
            .await
            .expect(statement);
    }
}

/// Runs the verb so that it waits for the attachment while the node goes on to its next boot; what is held afterwards.
async fn overtake<T: Send + 'static>(
    verb: impl AsyncFnOnce(Store) -> T + Send + 'static,
) -> Option<(T, u64)> {
    let (store, mut connection) = stage().await?;
    one(&store, claim_in("boot", 1)).await.expect("leased");
    (sqlx::query("begin").execute(&mut connection))
        .await
        .expect("begins");
    (sqlx::query("select from attachment where container_id = 'c' for update"))
        .execute(&mut connection)
        .await
        .expect("locks");
    let interfere = async {
        waits(&mut connection).await;
        move_on(&mut connection).await;
    };
    let (answer, ()) = tokio::join!(verb(store.clone()), interfere);
    let usage = store.pool("p").await.expect("shown").pool.usage;
    assert_eq!(store.audit().await.expect("audited"), [""; 0]);
    store.close().await;
    Some((answer, usage.leased))
}

#[tokio::test]
async fn a_release_that_waited_for_a_claim_of_the_next_boot_frees_nothing_of_it() {
    let verb = async |store: Store| store.release(&[release_in("boot", 50)]).await.remove(0);
    let Some((freed, leased)) = overtake(verb).await else {
        return;
    };
    assert_eq!((freed.expect("released"), leased), (0, 1));
}

#[tokio::test]
async fn a_gc_that_waited_for_a_claim_of_the_next_boot_frees_nothing_of_it() {
    let verb = async |store: Store| store.collect(&gc(Some("boot"))).await;
    let Some((freed, leased)) = overtake(verb).await else {
        return;
    };
    assert!(
        matches!(freed, Err(Error::NodeNameConflict { .. })),
        "{freed:?}"
    );
    assert_eq!(leased, 1);
}

#[tokio::test]
async fn a_claim_that_waited_for_one_of_the_next_boot_does_not_replace_its_leases() {
    let verb = async |store: Store| {
        let two = Claim {
            entries: vec![claim("c", None).entries.remove(0); 2],
            ..claim_in("boot", 50)
        };
        one(&store, two).await
    };
    let Some((granted, leased)) = overtake(verb).await else {
        return;
    };
    assert!(
        matches!(granted, Err(Error::NodeNameConflict { .. })),
        "{granted:?}"
    );
    assert_eq!(leased, 1);
}

#[tokio::test]
async fn a_gc_without_an_order_spares_what_was_claimed_after_it_arrived() {
    let Some((store, mut connection)) = stage().await else {
        return;
    };
    // More than one page, the first container of it locked.
    let claims: Vec<_> = (0..500).map(|n| claim(&format!("c{n:03}"), None)).collect();
    for claims in claims.chunks(100) {
        for answer in store.allocate(claims).await {
            answer.expect("leased");
        }
    }
    (sqlx::query("begin").execute(&mut connection))
        .await
        .expect("begins");
    (sqlx::query("select from attachment where container_id = 'c000' for update"))
        .execute(&mut connection)
        .await
        .expect("locks");
    let interfere = async {
        waits(&mut connection).await;
        one(&store, claim("later", None)).await.expect("leased");
        (sqlx::query("commit").execute(&mut connection))
            .await
            .expect("commits");
    };
    let collecting = gc(None);
    let (freed, ()) = tokio::join!(store.collect(&collecting), interfere);
    assert_eq!(freed.expect("collected"), 500);
    let usage = store.pool("p").await.expect("shown").pool.usage;
    assert_eq!(usage.leased, 1);
    assert_eq!(store.audit().await.expect("audited"), [""; 0]);
    store.close().await;
}

/// Two boots of a machine, the first of which holds the quarantined lease of container c.
async fn quarantined() -> Option<(Store, PgConnection)> {
    let (store, connection) = stage().await?;
    for (boot, container) in [("boot", "c"), ("next", "another")] {
        let claim = Claim {
            machine_id: Some("m1".to_owned()),
            boot_id: Some(boot.to_owned()),
            issued: Some(1),
            ..claim(container, None)
        };
        one(&store, claim).await.expect("leased");
    }
    store.reclaim(Duration::ZERO).await.expect("quarantined");
    Some((store, connection))
}

/// What a claim of container c in the present boot leaves, but for its end.
async fn claim_again(connection: &mut PgConnection) {
    for statement in [
        "begin",
        "update attachment set claim_boot = 'next', claim_issued = 9 where container_id = 'c'",
        "update pool_counter set leased = 2, quarantined = 0",
        "update lease set quarantined_until = null",
    ] {
        (sqlx::query(statement).execute(&mut *connection))
            .await
            .expect(statement);
    }
}

#[tokio::test]
async fn a_check_that_waited_for_a_claim_does_not_blur_its_order() {
    let Some((store, mut connection)) = quarantined().await else {
        return;
    };
    let leases = store.leases(&LeaseFilter::default(), &PAGE).await;
    let leases = leases.expect("a list").items;
    let held = leases
        .iter()
        .find(|lease| lease.attachment.container_id == "c");
    let check = CheckRequest {
        attachment: key("c"),
        addresses: vec![held.expect("a lease").address.ip()],
    };
    claim_again(&mut connection).await;
    let interfere = async {
        waits(&mut connection).await;
        (sqlx::query("commit").execute(&mut connection))
            .await
            .expect("commits");
    };
    let (answer, ()) = tokio::join!(store.check(&check), interfere);
    assert!(answer.expect("checked").ok);
    let older = store.release(&[release_in("next", 5)]).await.remove(0);
    assert_eq!(older.expect("released"), 0);
    store.close().await;
}

#[tokio::test]
async fn a_reclaim_that_waited_for_a_sign_of_life_frees_nothing() {
    let Some((store, mut connection)) = quarantined().await else {
        return;
    };
    claim_again(&mut connection).await;
    let interfere = async {
        waits(&mut connection).await;
        (sqlx::query("commit").execute(&mut connection))
            .await
            .expect("commits");
    };
    let (freed, ()) = tokio::join!(store.reclaim(Duration::ZERO), interfere);
    freed.expect("reclaimed");
    let usage = store.pool("p").await.expect("shown").pool.usage;
    assert_eq!((usage.leased, usage.quarantined), (2, 0));
    assert_eq!(store.audit().await.expect("audited"), [""; 0]);
    store.close().await;
}

#[tokio::test]
async fn forgetting_a_node_frees_what_is_claimed_behind_its_back() {
    let Some((store, mut connection)) = stage().await else {
        return;
    };
    // More than one page, a container of the second one locked.
    let of_a_boot = |claim: Claim| Claim {
        machine_id: Some("m1".to_owned()),
        boot_id: Some("boot".to_owned()),
        ..claim
    };
    let claims: Vec<_> = (0..600)
        .map(|n| of_a_boot(claim(&format!("c{n:03}"), None)))
        .collect();
    for claims in claims.chunks(100) {
        for answer in store.allocate(claims).await {
            answer.expect("leased");
        }
    }
    (sqlx::query("begin").execute(&mut connection))
        .await
        .expect("begins");
    (sqlx::query("select from attachment where container_id = 'c550' for update"))
        .execute(&mut connection)
        .await
        .expect("locks");
    let interfere = async {
        waits(&mut connection).await;
        // It sorts before all that is left, and its node is known: nothing has it wait.
        let granted = one(&store, of_a_boot(claim("a", None))).await;
        granted.expect("leased");
        (sqlx::query("commit").execute(&mut connection))
            .await
            .expect("commits");
    };
    let (freed, ()) = tokio::join!(store.forget_node("default", "node-1"), interfere);
    assert_eq!(freed.expect("forgotten"), 601);
    let left = store.leases(&LeaseFilter::default(), &PAGE).await;
    assert_eq!(left.expect("a list").items.len(), 0);
    assert_eq!(store.audit().await.expect("audited"), [""; 0]);
    store.close().await;
}

/// Runs the verb so that it waits for the quarantined attachment while its node becomes disputed; what is held afterwards.
async fn dispute_meanwhile(verb: impl AsyncFnOnce(Store)) -> Option<u64> {
    let (store, mut connection) = quarantined().await?;
    for statement in [
        "begin",
        "select from attachment where container_id = 'c' for update",
    ] {
        (sqlx::query(statement).execute(&mut connection))
            .await
            .expect(statement);
    }
    let interfere = async {
        waits(&mut connection).await;
        for statement in ["update node set disputed_at = now()", "commit"] {
            (sqlx::query(statement).execute(&mut connection))
                .await
                .expect(statement);
        }
    };
    tokio::join!(verb(store.clone()), interfere);
    // What was not freed then, is not freed later.
    store.reclaim(Duration::ZERO).await.expect("reclaimed");
    let usage = store.pool("p").await.expect("shown").pool.usage;
    assert_eq!(store.audit().await.expect("audited"), [""; 0]);
    store.close().await;
    Some(usage.leased)
}

#[tokio::test]
async fn a_reclaim_that_waited_while_its_node_became_disputed_frees_nothing() {
    let verb = async |store: Store| {
        let reclaimed = store.reclaim(Duration::ZERO).await;
        reclaimed.expect("reclaimed");
    };
    if let Some(leased) = dispute_meanwhile(verb).await {
        assert_eq!(leased, 2);
    }
}

#[tokio::test]
async fn a_gc_that_waited_while_its_node_became_disputed_frees_nothing() {
    let verb = async |store: Store| {
        let freed = store.collect(&gc(Some("next"))).await;
        assert!(
            matches!(freed, Err(Error::NodeNameConflict { .. })),
            "{freed:?}"
        );
    };
    if let Some(leased) = dispute_meanwhile(verb).await {
        assert_eq!(leased, 2);
    }
}
