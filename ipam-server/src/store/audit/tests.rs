//! The audit sees what is wrong: each kind of damage, done by hand.

use serde_json::json;

use crate::store::Store;
use crate::store::addr::Addr;
use crate::store::changes::Changes;
use crate::store::database::Database;
use crate::store::moment::Moment;
use crate::store::retry::finish;
use crate::store::rows::{CounterRow, FreeRow, PoolRow};
use crate::store::statements::{Answer, Statements};
use crate::store::tests::stage::{create, hold, lease, let_go, on_each};

/// What is done to the pool behind the store's back.
#[derive(Clone, Copy, Debug)]
enum Damage {
    LoseFree,
    FreeTwice,
    FreeLeased,
    FreeExcluded,
    Counter(fn(&mut CounterRow)),
    ReleaseAttachment,
    LoseAttachment,
    LoseRange,
    LosePoolState,
}

fn addr(last: u8) -> Addr {
    std::net::IpAddr::from([10, 0, 0, last]).into()
}

fn free(pool: &PoolRow, first: u8, last: u8) -> FreeRow {
    FreeRow {
        pool_id: pool.id,
        first: addr(first),
        last: addr(last),
        free_at: Moment::NEVER,
    }
}

async fn add<T: Statements>(tx: &mut T, row: FreeRow) -> Answer<()> {
    tx.write(&Changes::of_space(Vec::new(), vec![row])).await
}

async fn damage<T: Statements>(tx: &mut T, damage: Damage) -> Answer<()> {
    let pools = tx.pools_by_name(&["p".to_owned()]).await?;
    let mut pool = pools.into_iter().next().expect("the pool");
    match damage {
        Damage::LoseFree => {
            let row = tx.free_at_or_before(pool.id, addr(14)).await?;
            let gone = vec![row.expect("a row")];
            tx.write(&Changes::of_space(gone, Vec::new())).await
        }
        Damage::FreeTwice => add(tx, free(&pool, 13, 13)).await,
        Damage::FreeLeased => add(tx, free(&pool, 3, 3)).await,
        Damage::FreeExcluded => add(tx, free(&pool, 9, 9)).await,
        Damage::Counter(change) => {
            let mut counters = tx.lock_counters(&[pool.id]).await?;
            change(&mut counters[0]);
            tx.write(&Changes::of_counter(counters.remove(0))).await
        }
        Damage::ReleaseAttachment | Damage::LoseAttachment => {
            let held = tx.lease_on(pool.vrf_id, addr(3)).await?.expect("held");
            let mut attachment = held.attachment;
            attachment.released_at = Some(pool.created_at);
            match damage {
                Damage::LoseAttachment => tx.delete_attachments(&[attachment.id]).await,
                _ => {
                    let changes = Changes {
                        attachments: vec![attachment],
                        ..Changes::default()
                    };
                    tx.write(&changes).await
                }
            }
        }
        Damage::LoseRange => tx.replace_ranges(pool.vrf_id, pool.id, &[]).await,
        Damage::LosePoolState => {
            "deleting".clone_into(&mut pool.state);
            tx.update_pool(&pool).await
        }
    }
}

async fn damage_in<D: Database>(db: &D, what: Damage) {
    let mut tx = db.begin().await.expect("begins");
    let outcome = damage(&mut tx, what).await;
    let outcome = outcome.map_err(Into::into);
    finish::<D, _>(tx, outcome).await.expect("damaged");
}

/// .1 is the gateway, .3 is leased, .4 rests, .8 to .9 are excluded, .9 is leased.
async fn prepare(store: &Store) {
    create(
        store,
        json!({ "name": "p", "subnet": "10.0.0.0/28", "reuse_delay_s": 3600 }),
    )
    .await;
    for address in ["10.0.0.3", "10.0.0.4", "10.0.0.9"] {
        hold(store, address).await;
    }
    let_go(store, &["10.0.0.4"]).await;
    let exclude = serde_json::from_value(json!({ "exclude": ["10.0.0.8/31"] }));
    let exclude = exclude.expect("well-formed");
    store
        .change_pool("p", &exclude, None)
        .await
        .expect("changed");
}

#[test]
fn every_kind_of_damage_is_seen() {
    let kinds: [(Damage, &str); 13] = [
        (Damage::LoseFree, "but the size is 13"),
        (Damage::FreeTwice, "free rows overlap"),
        (Damage::FreeLeased, "10.0.0.3 is both leased and free"),
        (Damage::FreeExcluded, "is not within leasable space"),
        (
            Damage::Counter(|row| row.leased += 1),
            "counter.leased is 3, but 2 are counted",
        ),
        (
            Damage::Counter(|row| row.leased_reserved = 0),
            "counter.leased_reserved is 0, but 1",
        ),
        (
            Damage::Counter(|row| row.returned = 7),
            "counter.returned is 7, but 1",
        ),
        (
            Damage::Counter(|row| row.fresh_from = addr(14)),
            "is below the head of fresh rows",
        ),
        (
            Damage::Counter(|row| row.returned_from_at = Moment::LAST),
            "is below the head of returned rows",
        ),
        (
            Damage::ReleaseAttachment,
            "its attachment counts as released",
        ),
        (Damage::LoseAttachment, "of 2 leases 1 have an attachment"),
        (
            Damage::LoseRange,
            "pool_range does not have 10.0.0.2-10.0.0.14",
        ),
        (Damage::LosePoolState, "is not there"),
    ];
    for (what, words) in kinds {
        on_each(async |store: Store| {
            prepare(&store).await;
            assert_eq!(store.audit().await.expect("audited"), [""; 0]);
            match &store {
                Store::Postgres(db) => damage_in(db, what).await,
                Store::Sqlite(db) => damage_in(db, what).await,
            }
            let found = store.audit().await.expect("audited");
            assert!(
                found.iter().any(|finding| finding.contains(words)),
                "{what:?}: {found:?}"
            );
        });
    }
}

#[test]
fn pages_of_leases_and_free_rows_are_put_together() {
    on_each(async |store: Store| {
        create(
            &store,
            json!({ "name": "p", "subnet": "10.0.0.0/16", "reuse_delay_s": 0 }),
        )
        .await;
        let names: Vec<_> = (0..10_001).map(|number| format!("c{number}")).collect();
        for names in names.chunks(1000) {
            let claims: Vec<_> = names.iter().map(|name| (name.as_str(), None)).collect();
            let leased = lease(&store, &claims).await;
            assert!(leased.iter().all(Result::is_ok));
        }
        let odd: Vec<_> = names.iter().step_by(2).map(String::as_str).collect();
        for names in odd.chunks(1000) {
            let_go(&store, names).await;
        }
        assert_eq!(store.audit().await.expect("audited"), [""; 0]);
    });
}
