//! Boots that wait for their node while another one is noted. PostgreSQL only: SQLite's transactions run one after another.

use ipam_api::Claim;
use sqlx::{PgConnection, Row};

use super::overtaken::{one, stage, waits};
use super::stage::claim;
use crate::error::{Error, Result};
use crate::store::Granted;

/// Nanoseconds.
const SECOND: i64 = 1_000_000_000;

fn first_of(boot: &str, age: i64) -> Claim {
    Claim {
        machine_id: Some("m1".to_owned()),
        boot_id: Some(boot.to_owned()),
        issued: Some(age),
        ..claim(boot, None)
    }
}

async fn run(connection: &mut PgConnection, statements: &[&'static str]) {
    for &statement in statements {
        (sqlx::query(statement).execute(&mut *connection))
            .await
            .expect(statement);
    }
}

/// Makes the claim while another transaction holds the node, does that, and commits.
async fn introduce_after(
    that: &[&'static str],
    claim: Claim,
) -> Option<(Result<Granted>, PgConnection)> {
    let (store, mut connection) = stage().await?;
    (one(&store, first_of("boot", SECOND)).await).expect("leased");
    let lock = "select from node for update";
    run(&mut connection, &["begin", lock]).await;
    let interfere = async {
        waits(&mut connection).await;
        run(&mut connection, that).await;
        run(&mut connection, &["commit"]).await;
    };
    let (answer, ()) = tokio::join!(one(&store, claim), interfere);
    assert_eq!(store.audit().await.expect("audited"), [""; 0]);
    store.close().await;
    Some((answer, connection))
}

#[tokio::test]
async fn a_late_verb_that_waited_for_the_first_sight_of_the_next_boot_does_not_take_its_node() {
    let note_the_next = [
        "update node set boot_id = 'next', booted_at = clock_timestamp()",
        "insert into node_boot (node_id, boot_id, seen_at, booted_at)
         select id, boot_id, clock_timestamp(), booted_at from node",
    ];
    let late = first_of("between", 600 * SECOND);
    let Some((answer, _)) = introduce_after(&note_the_next, late).await else {
        return;
    };
    assert!(
        matches!(answer, Err(Error::NodeNameConflict { .. })),
        "{answer:?}"
    );
}

#[tokio::test]
async fn a_boot_that_waited_for_its_node_is_first_seen_when_the_wait_is_over() {
    let note_the_time = ["create table let_in as select clock_timestamp() as at"];
    let next = first_of("next", SECOND);
    let Some((answer, mut connection)) = introduce_after(&note_the_time, next).await else {
        return;
    };
    answer.expect("leased");
    let row = sqlx::query("select seen_at >= at from node_boot, let_in where boot_id = 'next'");
    let row = row.fetch_one(&mut connection).await.expect("reads");
    assert!(row.get::<bool, _>(0), "it was seen before it was let in");
}
