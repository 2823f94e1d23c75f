//! Every statement does on both databases what its contract says.

mod holders;
mod leases;
mod nodes;
mod pools;
mod space;

use std::net::IpAddr;

use super::{postgres_database, sqlite_database};
use crate::store::addr::Addr;
use crate::store::database::Database;
use crate::store::moment::Moment;
use crate::store::statements::Statements;

pub(in crate::store::tests) const NOW: Moment = Moment(1_750_000_000_000_001);

pub(in crate::store::tests) fn addr(text: &str) -> Addr {
    text.parse::<IpAddr>().expect("an address").into()
}

fn later(seconds: i64) -> Moment {
    Moment(NOW.0 + seconds * 1_000_000)
}

async fn exercise_on<D: Database>(database: &D) {
    let mut tx = database.begin().await.expect("begins");
    exercise(&mut tx).await;
    D::commit(tx).await.expect("commits");
}

#[tokio::test]
async fn every_statement_does_what_it_says_on_sqlite() {
    let (database, _folder) = sqlite_database().await;
    exercise_on(&database).await;
}

#[tokio::test]
async fn every_statement_does_what_it_says_on_postgres() {
    let Some((database, _)) = postgres_database().await else {
        return;
    };
    exercise_on(&database).await;
}

/// Runs every statement with rows of its own, and leaves none but vrfs, history and what is noted for good.
pub(in crate::store::tests) async fn exercise<T: Statements>(tx: &mut T) {
    let vrf_id = pools::vrfs(tx).await;
    let pool = pools::pools(tx, vrf_id).await;
    pools::ranges(tx, &pool).await;
    space::counters(tx, pool.id).await;
    space::free_space(tx, pool.id).await;
    space::removals(tx, pool.id).await;
    holders::attachments(tx).await;
    leases::leases(tx, &pool).await;
    leases::lists(tx, &pool).await;
    leases::history(tx, &pool).await;
    nodes::nodes(tx).await;
    tx.delete_pool(pool.id).await.expect("deletes");
    let left = tx.pools_by_id(&[pool.id]).await.expect("reads");
    assert_eq!(left.len(), 0);
}
