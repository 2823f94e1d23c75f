//! Makes the database refuse the rows of some containers, for a reason that no other try can mend: it will not have the
//! container, or the container's lease comes to be on an address that is leased, as if the servers had a bug.
//! That one stays leased until the row is refused: were it released meanwhile, the row would be accepted.

use sqlx::{Connection, PgConnection, SqliteConnection};

const POSTGRES: &str = "
    create function refuse_poison() returns trigger language plpgsql as $$
    begin
        if new.container_id like 'poison-%' then raise exception 'poisoned'; end if;
        return new;
    end $$;
    create trigger refuse_poison before insert on attachment for each row execute function refuse_poison();
    create function mislead() returns trigger language plpgsql as $$
    begin
        if exists (select from attachment where id = new.attachment_id and container_id like 'misled-%') then
            new.address := (select address from lease where vrf_id = new.vrf_id limit 1 for key share skip locked);
            if new.address is null then raise exception 'nothing is leased'; end if;
        end if;
        return new;
    end $$;
    create trigger mislead before insert on lease for each row execute function mislead();";

const SQLITE: &str = "
    create trigger refuse_poison before insert on attachment when new.container_id like 'poison-%'
    begin select raise(abort, 'poisoned'); end;
    create trigger mislead after insert on lease
        when exists (select 1 from attachment where id = new.attachment_id and container_id like 'misled-%')
    begin
        update lease
        set address = (select address from lease where vrf_id = new.vrf_id and attachment_id <> new.attachment_id limit 1)
        where attachment_id = new.attachment_id and entry = new.entry;
    end;";

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
