//! The audit that an admin asks for at a prompt.

use std::process::Output;

use nix::sys::signal::Signal;
use sqlx::{Connection, PgConnection, SqliteConnection};

use super::process::Process;
use super::program::command;
use super::{claim, pool};

/// What the audit of a database says.
async fn audit(url: &str) -> Output {
    let folder = tempfile::tempdir().expect("a folder");
    let mut audit = command(folder.path());
    audit.args(["audit", "--database-url", url]);
    audit.output().await.expect("it runs")
}

/// Forgets what is free.
const SPOIL: &str = "delete from free_range";

async fn fill(process: &Process) {
    let created = process.rest.post("/v1/pools", pool("v4", "10.1.0.0/24"));
    created.await.expect(201);
    let claimed = process.rest.post("/v1/leases", claim("c1", "v4"));
    claimed.await.expect(201);
}

#[track_caller]
fn assert_right(audit: &Output) {
    assert!(audit.status.success(), "{audit:?}");
    assert!(audit.stdout.is_empty(), "{audit:?}");
    let log = String::from_utf8_lossy(&audit.stderr);
    assert!(log.contains("the books are right"), "{log}");
}

#[track_caller]
fn assert_wrong(audit: &Output) {
    assert_eq!(audit.status.code(), Some(1), "{audit:?}");
    let findings = String::from_utf8_lossy(&audit.stdout);
    assert!(findings.contains("v4"), "{findings}");
    let complaint = String::from_utf8_lossy(&audit.stderr);
    assert!(complaint.contains("the books are wrong"), "{complaint}");
}

#[tokio::test(flavor = "multi_thread")]
async fn audit_of_a_file_tells_what_is_wrong_and_fails() {
    let process = Process::start(&[]).await;
    fill(&process).await;
    let url = format!(
        "sqlite://{}",
        process.folder.path().join("ipam.db").display()
    );
    let refused = audit(&url).await;
    let complaint = String::from_utf8_lossy(&refused.stderr);
    assert!(!refused.status.success(), "{refused:?}");
    assert!(complaint.contains("another"), "{complaint}");
    process.signal(Signal::SIGTERM);
    let _folder = process.ended_and_kept().await;
    assert_right(&audit(&url).await);
    let mut file = SqliteConnection::connect(&url).await.expect("a connection");
    sqlx::query(SPOIL).execute(&mut file).await.expect("spoilt");
    file.close().await.expect("closed");
    assert_wrong(&audit(&url).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn audit_of_a_cluster_runs_beside_its_servers() {
    let Some(url) = harness::postgres::database() else {
        return;
    };
    let process = Process::start(&[("IPAM_DATABASE_URL", &url)]).await;
    fill(&process).await;
    assert_right(&audit(&url).await);
    let mut database = PgConnection::connect(&url).await.expect("a connection");
    let spoilt = sqlx::query(SPOIL).execute(&mut database).await;
    spoilt.expect("spoilt");
    assert_wrong(&audit(&url).await);
}

/// Fails without having found anything right.
#[track_caller]
fn assert_refused(audit: &Output, reason: &str) {
    assert_eq!(audit.status.code(), Some(1), "{audit:?}");
    let complaint = String::from_utf8_lossy(&audit.stderr);
    assert!(complaint.contains(reason), "{complaint}");
    assert!(!complaint.contains("are right"), "{complaint}");
}

#[tokio::test(flavor = "multi_thread")]
async fn audit_of_a_file_that_is_not_there_fails_and_makes_none() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("ipam.db");
    let refused = audit(&format!("sqlite://{}", file.display())).await;
    assert_refused(&refused, "does not exist");
    let left = folder.path().read_dir().expect("reads").count();
    assert_eq!(left, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn audit_of_a_file_that_is_no_servers_fails_and_leaves_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("ipam.db");
    std::fs::write(&file, "").expect("writes");
    let refused = audit(&format!("sqlite://{}", file.display())).await;
    assert_refused(&refused, "is no ipam-server's database");
    let left = std::fs::metadata(&file).expect("is there").len();
    assert_eq!(left, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn audit_of_an_empty_database_of_a_cluster_fails_and_leaves_it_empty() {
    let Some(url) = harness::postgres::database() else {
        return;
    };
    assert_refused(&audit(&url).await, "is no ipam-server's database");
    let mut database = PgConnection::connect(&url).await.expect("a connection");
    let tables: i64 = sqlx::query_scalar(
        "select count(*) from information_schema.tables where table_schema = 'public'",
    )
    .fetch_one(&mut database)
    .await
    .expect("counts");
    assert_eq!(tables, 0);
}
