//! Makes the database refuse the rows of some containers, for a reason that no other try can mend.

use sqlx::{Connection, PgConnection, SqliteConnection};

const POSTGRES: &str = "
    create function refuse_poison() returns trigger language plpgsql as $$
    begin
        if new.container_id like 'poison-%' then raise exception 'poisoned'; end if;
        return new;
    end $$;
    create trigger refuse_poison before insert on attachment for each row execute function refuse_poison();";

const SQLITE: &str = "
    create trigger refuse_poison before insert on attachment when new.container_id like 'poison-%'
    begin select raise(abort, 'poisoned'); end;";

pub(crate) async fn postgres(url: &str) -> Result<(), sqlx::Error> {
    let mut connection = PgConnection::connect(url).await?;
    sqlx::raw_sql(POSTGRES).execute(&mut connection).await?;
    connection.close().await
}

pub(crate) async fn sqlite(url: &str) -> Result<(), sqlx::Error> {
    let mut connection = SqliteConnection::connect(url).await?;
    sqlx::raw_sql(SQLITE).execute(&mut connection).await?;
    connection.close().await
}
