//! Addresses and times are the same before and after a database, and in the same order.

use std::net::IpAddr;
use std::time::Duration;

use time::OffsetDateTime;

use super::{postgres_database, sqlite_database};
use crate::store::addr::Addr;
use crate::store::changes::Changes;
use crate::store::database::Database;
use crate::store::moment::Moment;
use crate::store::rows::FreeRow;
use crate::store::statements::{ChangeStatements, SpaceStatements};

/// In order.
const V4: [&str; 5] = [
    "0.0.0.0",
    "9.255.255.255",
    "10.0.0.0",
    "127.255.255.255",
    "255.255.255.255",
];
const V6: [&str; 6] = [
    "::",
    "::1",
    "::1:0:0:0",
    "2001:db8::ffff",
    "7fff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
    "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
];
/// In order: never, the first that counts, one with microseconds, the last that can be printed, and beyond.
const TIMES: [Moment; 5] = [
    Moment::NEVER,
    Moment::RETURNED,
    Moment(1_764_000_000_123_457),
    Moment(253_402_300_799_999_999),
    Moment(i64::MAX),
];

async fn round_trip<D: Database>(database: &D) {
    let mut tx = database.begin().await.expect("begins");
    for (pool_id, family) in [(1, &V4[..]), (2, &V6[..])] {
        let addresses: Vec<Addr> = family
            .iter()
            .map(|text| text.parse::<IpAddr>().expect("an address").into())
            .collect();
        let rows: Vec<_> = addresses
            .iter()
            .zip(TIMES.iter().cycle())
            .map(|(&address, &free_at)| FreeRow {
                pool_id,
                first: address,
                last: address,
                free_at,
            })
            .collect();
        let mut backwards = rows.clone();
        backwards.reverse();
        let changes = Changes::of_space(Vec::new(), backwards);
        tx.write(&changes).await.expect("inserts");
        let (lowest, highest) = (addresses[0], addresses[addresses.len() - 1]);
        assert_eq!(lowest, highest.family_lowest());
        let found = tx
            .free_between(pool_id, lowest, highest, 99)
            .await
            .expect("reads");
        assert_eq!(found, rows, "in the order of addresses");
        let found = tx
            .returned_ranges(pool_id, (Moment::NEVER, lowest), Moment(i64::MAX), 99)
            .await
            .expect("reads");
        let times: Vec<_> = found.iter().map(|row| row.free_at).collect();
        assert_eq!(times, TIMES[1..], "in the order of times");
    }
    D::rollback(tx).await.expect("rolls back");
}

#[tokio::test]
async fn addresses_and_times_come_back_from_sqlite_in_their_order() {
    let (database, _folder) = sqlite_database().await;
    round_trip(&database).await;
}

#[tokio::test]
async fn addresses_and_times_come_back_from_postgres_in_their_order() {
    let Some((database, _)) = postgres_database().await else {
        return;
    };
    round_trip(&database).await;
}

#[test]
fn a_moment_beyond_what_can_be_printed_is_printed_as_the_last() {
    let last = OffsetDateTime::from(Moment(i64::MAX));
    assert_eq!(last.year(), 9999);
    assert_eq!(OffsetDateTime::from(Moment(i64::MIN)).year(), 1);
    assert_eq!(Moment(i64::MAX).plus(Duration::MAX), Moment(i64::MAX));
    for moment in &TIMES[..4] {
        assert_eq!(Moment::from(OffsetDateTime::from(*moment)), *moment);
    }
}
