//! A database whose time can be moved.

use sqlx::{AssertSqlSafe, Connection, PgConnection};

/// Stands before PostgreSQL's own function, whose process nobody can give another time without moving the timers by which
/// it ends statements too.
const SHADOW: &str = "
    create table clock_shift (by_seconds bigint not null);
    insert into clock_shift values (0);
    create function public.clock_timestamp() returns timestamptz language sql volatile as
    'select pg_catalog.clock_timestamp() + by_seconds * interval ''1 second'' from public.clock_shift';";

/// Lets the time of a new database be moved, for connections that are made after this.
///
/// # Errors
///
/// What the database answers.
pub async fn shadow_clock(url: &str) -> sqlx::Result<()> {
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

/// Sets the time of a database of [`shadow_clock`] so many seconds ahead of the true one.
///
/// # Errors
///
/// What the database answers.
pub async fn shift_clock(url: &str, seconds: i64) -> sqlx::Result<()> {
    let mut connection = PgConnection::connect(url).await?;
    sqlx::query("update public.clock_shift set by_seconds = $1")
        .bind(seconds)
        .execute(&mut connection)
        .await?;
    connection.close().await
}
