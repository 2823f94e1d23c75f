//! Both migrations give one schema, and opening a database does what the contract says.

use std::collections::BTreeSet;

use sqlx::migrate::{Migration, MigrationType, Migrator};
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions, Connection, PgConnection, Row, SqlSafeStr, SqliteConnection};

use super::{postgres_database, sqlite_database, sqlite_url};
use crate::error::Error;
use crate::store::changes::Changes;
use crate::store::database::Database;
use crate::store::schema::{Schema, migrate};
use crate::store::statements::{ChangeStatements, SpaceStatements};
use crate::store::{Store, postgres, sqlite};

/// Tables and views with their columns and whether they may be null, constraints, and indexes.
type Shape = BTreeSet<String>;

async fn schema_of_postgres(connection: &mut PgConnection) -> Shape {
    sqlx::query_scalar(
        "select format('column %s.%s %s', c.table_name, c.column_name,
             case when t.table_type = 'BASE TABLE' then c.is_nullable else 'view' end)
         from information_schema.columns c
         join information_schema.tables t using (table_schema, table_name)
         where c.table_schema = 'public'
         union all
         select format('constraint %s.%s', conrelid::regclass, conname)
         from pg_constraint
         where connamespace = 'public'::regnamespace
             and contype in ('p', 'u', 'f', 'c')
         union all
         select format('index %s.%s', tablename, indexname)
         from pg_indexes
         where schemaname = 'public'
             and not exists (select from pg_constraint where conname = indexname)",
    )
    .fetch_all(connection)
    .await
    .expect("reads")
    .into_iter()
    .filter(|line: &String| !line.contains("_sqlx_migrations"))
    .collect()
}

async fn schema_of_sqlite(database: &sqlite::Database) -> Shape {
    let mut tx = database.read().await.expect("begins");
    let columns: Vec<String> = sqlx::query_scalar(
        "select format('column %s.%s %s', m.name, c.name,
             case when m.type = 'view' then 'view' when c.\"notnull\" or c.pk then 'NO' else 'YES' end)
         from sqlite_master m
         join pragma_table_info(m.name) c
         where m.type in ('table', 'view')
         union all
         select format('index %s.%s', tbl_name, name)
         from sqlite_master
         where type = 'index'
             and sql is not null",
    )
    .fetch_all(tx.connection())
    .await
    .expect("reads");
    let tables = sqlx::query("select name, sql from sqlite_master where type = 'table'")
        .fetch_all(tx.connection())
        .await
        .expect("reads");
    let constraints = tables.iter().flat_map(|row| {
        let (table, sql): (String, String) = (row.get(0), row.get(1));
        sql.split("constraint ")
            .skip(1)
            .filter_map(|rest| rest.split_whitespace().next())
            // They stand for types that PostgreSQL has.
            .filter(|name| !name.ends_with("_type"))
            .map(|name| format!("constraint {table}.{name}"))
            .collect::<Vec<_>>()
    });
    columns
        .into_iter()
        .chain(constraints)
        .filter(|line| !line.contains("_sqlx_migrations") && !line.contains("sqlite_sequence"))
        .collect()
}

#[tokio::test]
async fn both_migrations_give_the_same_tables_columns_constraints_and_indexes() {
    let Some((_, url)) = postgres_database().await else {
        return;
    };
    let mut connection = PgConnection::connect(&url).await.expect("connects");
    let postgres = schema_of_postgres(&mut connection).await;
    let (database, _folder) = sqlite_database().await;
    let sqlite = schema_of_sqlite(&database).await;
    assert!(postgres.len() > 150, "{postgres:#?}");
    let only_there: Vec<_> = postgres.difference(&sqlite).collect();
    let only_here: Vec<_> = sqlite.difference(&postgres).collect();
    assert!(
        only_there.is_empty() && only_here.is_empty(),
        "only in PostgreSQL: {only_there:#?}, only in SQLite: {only_here:#?}"
    );
}

/// What a later release would bring: all that there is, and one more.
fn newer(present: Migrator) -> Migrator {
    let more = Migration::new(
        9999,
        "of a later release".into(),
        MigrationType::Simple,
        "alter table lease add column later text".into_sql_str(),
        false,
    );
    Migrator::with_migrations(present.iter().cloned().chain([more]).collect())
}

#[tokio::test]
async fn the_release_before_opens_a_postgres_that_a_later_one_migrated() {
    let Some((first, url)) = postgres_database().await else {
        return;
    };
    let mut connection = PgConnection::connect(&url).await.expect("connects");
    migrate(&mut connection, &newer(postgres::migrations()))
        .await
        .expect("migrates");
    let again = postgres::Database::open(&url, Schema::Migrate)
        .await
        .expect("opens");
    assert_eq!(again.service_id(), first.service_id());
    super::exercise::exercise(&mut again.begin().await.expect("begins")).await;
}

#[tokio::test]
async fn a_counter_that_the_server_before_its_version_wrote_is_found_and_saved() {
    let Some(url) = harness::postgres::database() else {
        return;
    };
    let mut connection = PgConnection::connect(&url).await.expect("connects");
    let before = postgres::migrations().iter().take(1).cloned().collect();
    migrate(&mut connection, &Migrator::with_migrations(before))
        .await
        .expect("migrates");
    let pool = "insert into pool (id, name, vrf_id, subnet_first, subnet_last, prefix_len, exclude, routes, dns, labels,
             reuse_delay_s, state, version, created_at, updated_at)
         values (1, 'p', 1, '10.0.0.0', '10.0.0.255', 24, '[]', '[]', '{}', '{}', 60, 'ready', 1, now(), now());
         insert into pool_counter (pool_id, fresh_from, returned_from_at, returned_from, probe_at, last_at)
         values (1, '10.0.0.0', now(), '10.0.0.0', now(), now())";
    sqlx::raw_sql(pool)
        .execute(&mut connection)
        .await
        .expect("inserts");
    let database = postgres::Database::open(&url, Schema::Migrate)
        .await
        .expect("migrates");
    for leased in [1, 3, 5] {
        let mut tx = database.begin().await.expect("begins");
        let mut counters = tx.lock_counters(&[1]).await.expect("locks");
        assert_eq!(counters[0].leased, leased - 1);
        counters[0].leased = leased;
        let changes = Changes::of_counter(counters.remove(0));
        tx.write(&changes).await.expect("saves");
        postgres::Database::commit(tx).await.expect("commits");
        sqlx::raw_sql("update pool_counter set leased = leased + 1 where pool_id = 1")
            .execute(&mut connection)
            .await
            .expect("updates");
    }
}

#[tokio::test]
async fn the_release_before_opens_an_sqlite_file_that_a_later_one_migrated() {
    let (first, folder) = sqlite_database().await;
    let service_id = first.service_id().to_owned();
    first.close().await;
    drop(first);
    let file = folder.path().join("ipam.db");
    let mut connection = SqliteConnection::connect(&file.display().to_string())
        .await
        .expect("connects");
    migrate(&mut connection, &newer(sqlite::migrations()))
        .await
        .expect("migrates");
    connection.close().await.expect("closes");
    let again = sqlite::Database::open(&sqlite_url(&folder), Schema::Migrate)
        .await
        .expect("opens");
    assert_eq!(again.service_id(), service_id);
    super::exercise::exercise(&mut again.begin().await.expect("begins")).await;
}

/// What the first release had.
fn older(present: &Migrator) -> Migrator {
    Migrator::with_migrations(present.iter().take(1).cloned().collect())
}

/// Fails for want of the second migration, whichever database it is.
#[track_caller]
fn assert_lacks_migrations(opened: crate::error::Result<Store>) {
    let complaint = opened.expect_err("lacks migrations").to_string();
    assert!(
        complaint.contains("lacks migrations of this release, from 2 "),
        "{complaint}"
    );
    assert!(complaint.contains("ipam-server migrate"), "{complaint}");
}

#[tokio::test]
async fn a_postgres_that_is_opened_unchanged_is_of_this_release_or_a_later_one() {
    let Some(url) = harness::postgres::database() else {
        return;
    };
    let mut connection = PgConnection::connect(&url).await.expect("connects");
    let all = postgres::migrations();
    let migrated = migrate(&mut connection, &older(&all)).await;
    migrated.expect("migrates");
    let before = schema_of_postgres(&mut connection).await;
    assert_lacks_migrations(Store::open_unchanged(&url).await);
    assert_eq!(schema_of_postgres(&mut connection).await, before);
    let migrated = migrate(&mut connection, &newer(all)).await;
    migrated.expect("migrates");
    Store::open_unchanged(&url).await.expect("opens");
}

#[tokio::test]
async fn a_file_that_is_opened_unchanged_is_of_this_release_or_a_later_one() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("ipam.db").display().to_string();
    let options = SqliteConnectOptions::new().filename(&file);
    let options = options.create_if_missing(true);
    let mut connection = options.connect().await.expect("connects");
    let all = sqlite::migrations();
    let migrated = migrate(&mut connection, &older(&all)).await;
    migrated.expect("migrates");
    assert_lacks_migrations(Store::open_unchanged(&sqlite_url(&folder)).await);
    let migrated = migrate(&mut connection, &newer(all)).await;
    migrated.expect("migrates");
    Store::open_unchanged(&sqlite_url(&folder))
        .await
        .expect("opens");
}

#[tokio::test]
async fn servers_that_open_an_empty_postgres_at_once_agree_on_the_service() {
    let Some(url) = harness::postgres::database() else {
        return;
    };
    let (a, b, c) = tokio::join!(Store::open(&url), Store::open(&url), Store::open(&url));
    let ids = [a, b, c].map(|store| store.expect("opens").service_id().to_owned());
    assert_eq!(ids[0].len(), 36);
    assert_eq!(ids, [ids[0].clone(), ids[0].clone(), ids[0].clone()]);
}

#[tokio::test]
async fn a_second_server_on_an_sqlite_file_is_refused_by_whatever_path() {
    let (first, folder) = sqlite_database().await;
    let link = folder.path().join("link.db");
    std::os::unix::fs::symlink(folder.path().join("ipam.db"), &link).expect("links");
    for url in [
        sqlite_url(&folder),
        format!("sqlite://{}", link.display()),
        format!("sqlite://{}/./ipam.db", folder.path().display()),
    ] {
        let error = Store::open(&url).await.expect_err("refused");
        let text = error.to_string();
        assert!(text.contains("ipam.db.lock"), "{text}");
        assert!(text.contains("in use by another"), "{text}");
    }
    let service_id = first.service_id().to_owned();
    first.close().await;
    let again = Store::open(&sqlite_url(&folder)).await.expect("opens");
    assert_eq!(again.service_id(), service_id);
}

#[tokio::test]
async fn a_database_url_that_cannot_be_opened_says_why_and_never_the_password() {
    let folder = tempfile::tempdir().expect("a folder");
    let here = folder.path().display();
    for (url, word) in [
        ("mysql://root:secret@localhost/x".to_owned(), "mysql"),
        ("sqlite://".to_owned(), "sqlite:///var/lib"),
        ("sqlite://:memory:".to_owned(), "sqlite:///var/lib"),
        (format!("sqlite://{here}/a.db?mode=ro"), "mode=ro"),
        (format!("sqlite://{here}/absent/a.db"), "absent"),
        (format!("sqlite://{here}"), "directory"),
        ("postgres://u:secret@localhost:port/x".to_owned(), "port"),
    ] {
        let error = Store::open(&url).await.expect_err("refused");
        let text = error.to_string();
        assert!(text.contains(word), "{url}: {text}");
        assert!(!text.contains("secret"), "{text}");
    }
}

#[tokio::test]
async fn a_postgres_database_that_does_not_exist_is_named_at_once() {
    let Some(url) = harness::postgres::database() else {
        return;
    };
    let joint = if url.contains('?') { '&' } else { '?' };
    let start = std::time::Instant::now();
    // The last one counts, and beats the path.
    let error = Store::open(&format!("{url}{joint}dbname=absent"))
        .await
        .expect_err("refused");
    assert!(start.elapsed().as_secs() < 5);
    assert!(matches!(error, Error::Unavailable { .. }), "{error:?}");
    let text = error.to_string();
    assert!(text.contains("database \"absent\""), "{text}");
}

#[tokio::test]
async fn people_at_a_prompt_see_addresses_in_sqlite() {
    let (database, _folder) = sqlite_database().await;
    let mut tx = database.begin().await.expect("begins");
    sqlx::raw_sql(
        "insert into pool (id, name, vrf_id, subnet_first, subnet_last, prefix_len, exclude, routes, dns, labels,
             reuse_delay_s, state, version, created_at, updated_at)
         values (1, 'p', 1, zeroblob(16), zeroblob(16), 0, '[]', '[]', '{}', '{}', 0, 'ready', 1, 0, 0);
         insert into free_range values
             (1, x'00000000000000000000ffff0a00ff01', x'00000000000000000000ffffffffffff', 0),
             (1, x'20010db800000000000000000000abcd', x'ffffffffffffffffffffffffffffffff', 1500000)",
    )
    .execute(tx.connection())
    .await
    .expect("inserts");
    let rows: Vec<(String, String, String)> =
        sqlx::query_as("select first, last, free_at from free_range_view order by free_at")
            .fetch_all(tx.connection())
            .await
            .expect("reads");
    let shown = |first: &str, last: &str, free_at: &str| {
        (first.to_owned(), last.to_owned(), free_at.to_owned())
    };
    assert_eq!(
        rows,
        [
            shown("10.0.255.1", "255.255.255.255", "1970-01-01T00:00:00.000Z"),
            shown(
                "2001:0db8:0000:0000:0000:0000:0000:abcd",
                "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
                "1970-01-01T00:00:01.500Z"
            ),
        ]
    );
}
