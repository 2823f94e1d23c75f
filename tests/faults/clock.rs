//! The clock that a service reckons with, and how it is moved.

use std::cell::Cell;
use std::thread;

use sqlx::{AssertSqlSafe, Connection, PgConnection};

use crate::dice::Dice;
use crate::postgres::block_on;
use crate::record::Record;

/// Stands before PostgreSQL's own function, whose process nobody can give another time without moving the timers by which
/// it ends statements too.
const SHADOW: &str = "
    create table clock_shift (by_seconds bigint not null);
    insert into clock_shift values (0);
    create function public.clock_timestamp() returns timestamptz language sql volatile as
    'select pg_catalog.clock_timestamp() + by_seconds * interval ''1 second'' from public.clock_shift';";

/// A clock that can be moved.
pub(crate) struct Clock<'a> {
    /// Seconds that it is ahead now.
    base: Cell<i64>,
    set: Box<dyn Fn(i64) + 'a>,
}

impl<'a> Clock<'a> {
    /// `set` puts so many seconds between it and the true time.
    pub(crate) fn new(set: impl Fn(i64) + 'a) -> Self {
        Self {
            base: Cell::new(0),
            set: Box::new(set),
        }
    }

    /// Back by minutes, or ahead by hours and back: neither may end any address's rest. (A step ahead that is shorter than
    /// the tolerance does.)
    pub(crate) fn step(&self, record: &Record, dice: &mut Dice) {
        if dice.once_in(2) {
            self.base.set(self.base.get() - 600);
            record.count("fault: clock: ten minutes back");
        } else {
            (self.set)(self.base.get() + 3 * 3600);
            record.count("fault: clock: three hours ahead, for a moment");
            thread::sleep(dice.millis(100..400));
        }
        (self.set)(self.base.get());
    }
}

/// Lets the time of a new database be moved, for connections that are made after this.
pub(crate) async fn shadow(url: &str) -> Result<(), sqlx::Error> {
    let mut connection = PgConnection::connect(url).await?;
    sqlx::raw_sql(SHADOW).execute(&mut connection).await?;
    let name: String = sqlx::query_scalar("select quote_ident(current_database())")
        .fetch_one(&mut connection)
        .await?;
    let order = format!("alter database {name} set search_path = public, pg_catalog");
    sqlx::raw_sql(AssertSqlSafe(order))
        .execute(&mut connection)
        .await?;
    connection.close().await
}

/// Moves the time of a database of [`shadow`].
pub(crate) fn shift(url: &str, seconds: i64) {
    block_on(async {
        let mut connection = PgConnection::connect(url).await?;
        sqlx::query("update public.clock_shift set by_seconds = $1")
            .bind(seconds)
            .execute(&mut connection)
            .await?;
        connection.close().await
    });
}
