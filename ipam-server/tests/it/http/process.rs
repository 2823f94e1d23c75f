//! A real server process, and how it starts, stops and logs.

use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use reqwest::Method;
use serde_json::json;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, timeout};

use super::program::{SERVER, command, command_of, refused};
use super::rest::Rest;
use super::writer::Writer;
use super::{claim, pool};

pub(super) const PATIENCE: Duration = Duration::from_secs(30);

/// A running server with a SQLite file of its own; killed when dropped.
pub(super) struct Process {
    pub(super) rest: Rest,
    pub(super) folder: TempDir,
    child: Child,
    lines: mpsc::UnboundedReceiver<String>,
    log: String,
}

impl Process {
    /// Starts a server on a free port.
    pub(super) async fn start(environment: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        Self::start_in(folder, environment).await
    }

    pub(super) async fn start_in(folder: TempDir, environment: &[(&str, &str)]) -> Self {
        let command = command(folder.path());
        Self::run(command, folder, environment).await
    }

    /// Starts a server that may have so many files open unless it asks for more.
    pub(super) async fn start_with_few_files(limit: u32) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let mut shell = command_of("sh", folder.path());
        let script = format!("ulimit -Sn {limit} && exec \"$0\"");
        shell.args(["-c", &script, SERVER]);
        Self::run(shell, folder, &[]).await
    }

    async fn run(mut command: Command, folder: TempDir, environment: &[(&str, &str)]) -> Self {
        command.env("IPAM_LISTEN", "127.0.0.1:0");
        command.envs(environment.iter().copied());
        let mut child = command.spawn().expect("the server starts");
        let stderr = child.stderr.take().expect("piped");
        let (sender, lines) = mpsc::unbounded_channel();
        tokio::spawn(async move {
            let mut reader = BufReader::new(stderr).lines();
            while let Ok(Some(line)) = reader.next_line().await {
                let _ = sender.send(line);
            }
        });
        let mut process = Self {
            rest: Rest::new("http://unknown"),
            folder,
            child,
            lines,
            log: String::new(),
        };
        let line = process.line("create a pool: ").await;
        let (begin, end) = (line.rfind("http://"), line.rfind("/v1/pools"));
        process.rest = Rest::new(&line[begin.expect("a URL")..end.expect("a URL")]);
        process
    }

    /// Waits for a line of the log.
    pub(super) async fn line(&mut self, part: &str) -> String {
        loop {
            let line = timeout(PATIENCE, self.lines.recv()).await;
            let line = line.ok().flatten();
            let line = line.unwrap_or_else(|| panic!("no line with {part:?} in\n{}", self.log));
            self.log.push_str(&line);
            self.log.push('\n');
            if line.contains(part) {
                return line;
            }
        }
    }

    /// `HOST:PORT`.
    pub(super) fn address(&self) -> &str {
        self.rest.base().trim_start_matches("http://")
    }

    pub(super) fn signal(&self, signal: Signal) {
        let pid = self.child.id().expect("it runs");
        kill(Pid::from_raw(pid.cast_signed()), signal).expect("a signal");
    }

    /// Tells the server to stop and answers its whole log.
    pub(super) async fn stop(self) -> String {
        self.signal(Signal::SIGTERM);
        self.ended().await
    }

    /// Waits for an orderly end, and starts a server over the same file.
    async fn started_again(self) -> Self {
        Self::start_in(self.ended_and_kept().await, &[]).await
    }

    /// Waits for an orderly end, and answers the folder with its file.
    pub(super) async fn ended_and_kept(mut self) -> TempDir {
        let other = tempfile::tempdir().expect("a folder");
        let folder = std::mem::replace(&mut self.folder, other);
        let log = self.ended().await;
        assert!(log.contains("stopped"), "{log}");
        folder
    }

    /// Waits for an orderly end and answers the whole log.
    pub(super) async fn ended(mut self) -> String {
        let status = timeout(PATIENCE, self.child.wait()).await;
        let status = status.expect("it ends").expect("it ends");
        while let Some(line) = self.lines.recv().await {
            self.log.push_str(&line);
            self.log.push('\n');
        }
        assert!(status.success(), "{status}:\n{}", self.log);
        self.log
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_newcomer_is_told_where_the_database_is_and_what_to_type() {
    let mut process = Process::start(&[]).await;
    process
        .rest
        .post("/v1/pools", pool("demo", "10.0.0.0/24"))
        .await
        .expect(201);
    process.line("served").await;
    let file = process
        .folder
        .path()
        .canonicalize()
        .expect("a path")
        .join("ipam.db");
    let log = process.stop().await;
    assert!(log.contains(&format!("sqlite {}", file.display())), "{log}");
    assert!(
        log.contains(
            r#"curl --json '{"name": "demo", "subnet": "10.0.0.0/24"}' http://127.0.0.1:"#
        ),
        "{log}"
    );
    assert!(
        log.contains("/v1/pools status=201") || log.contains("status=201"),
        "{log}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_log_can_be_json_with_the_requests_id() {
    let process = Process::start(&[
        ("IPAM_LOG_FORMAT", "json"),
        ("IPAM_LOG", "ipam_server=debug"),
    ])
    .await;
    let rest = process.rest.with("x-request-id", "find-me");
    rest.get("/v1/pools/none")
        .await
        .problem(404, "pool_not_found");
    let log = process.stop().await;
    let lines = log.lines().map(|line| {
        serde_json::from_str::<serde_json::Value>(line)
            .unwrap_or_else(|_| panic!("no JSON: {line}"))
    });
    let found: Vec<_> = lines
        .filter(|line| line["span"]["id"] == "find-me")
        .collect();
    assert_eq!(found.len(), 1, "{log}");
    assert_eq!(found[0]["fields"]["status"], 404);
    assert_eq!(found[0]["span"]["path"], "/v1/pools/{pool}");
}

#[tokio::test(flavor = "multi_thread")]
async fn sigterm_finishes_what_is_under_way_and_accepts_nothing_more() {
    let mut process = Process::start(&[]).await;
    process
        .rest
        .post("/v1/pools", pool("v4", "10.1.0.0/24"))
        .await
        .expect(201);
    let writer = Writer::lock(process.folder.path()).await;
    let claims: Vec<_> = (0..5)
        .map(|number| {
            let rest = process.rest.clone();
            let body = claim(&format!("c{number}"), "v4");
            tokio::spawn(async move { rest.post("/v1/leases", body).await })
        })
        .collect();
    sleep(Duration::from_millis(300)).await;
    process.signal(Signal::SIGTERM);
    process.line("stopping").await;
    let begun = Instant::now();
    // A connection that was kept may end under a request; a new one is refused.
    loop {
        match process.rest.try_send(Method::GET, "/healthz", None).await {
            Err(error) if error.is_connect() => break,
            _ => assert!(begun.elapsed() < PATIENCE, "it still accepts"),
        }
    }
    writer.unlock().await;
    for claim in claims {
        claim.await.expect("answered").expect(201);
    }
    let again = process.started_again().await;
    let leases = again.rest.get("/v1/leases").await;
    assert_eq!(
        leases.expect(200)["items"].as_array().map(Vec::len),
        Some(5)
    );
    again.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn releases_that_nobody_waits_for_any_more_are_carried_out_before_the_end() {
    let mut process = Process::start(&[]).await;
    let rest = process.rest.clone();
    rest.post("/v1/pools", pool("v4", "10.1.0.0/24"))
        .await
        .expect(201);
    for container in ["c1", "c2"] {
        let held = rest.post("/v1/leases", claim(container, "v4")).await;
        held.expect(201);
    }
    let writer = Writer::lock(process.folder.path()).await;
    for container in ["c1", "c2"] {
        let rest = rest.clone();
        let body = super::release(container);
        let asked = tokio::spawn(async move { rest.post("/v1/release", body).await });
        sleep(Duration::from_millis(200)).await;
        asked.abort();
    }
    process.signal(Signal::SIGTERM);
    process.line("stopping").await;
    writer.unlock().await;
    let again = process.started_again().await;
    let leases = again.rest.get("/v1/leases").await;
    assert_eq!(leases.expect(200)["items"], json!([]));
    again.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_never_ends_is_given_up_after_ten_seconds() {
    let process = Process::start(&[]).await;
    process
        .rest
        .post("/v1/pools", pool("v4", "10.1.0.0/24"))
        .await
        .expect(201);
    let writer = Writer::lock(process.folder.path()).await;
    let rest = process.rest.clone();
    let claim = tokio::spawn(async move {
        let mut claim = claim("c1", "v4");
        claim["deadline_ms"] = 60_000.into();
        let body = ("application/json", claim.to_string().into_bytes());
        rest.try_send(Method::POST, "/v1/leases", Some(body)).await
    });
    sleep(Duration::from_millis(300)).await;
    let begun = Instant::now();
    let log = process.stop().await;
    let took = begun.elapsed();
    assert!(
        took > Duration::from_secs(9) && took < Duration::from_secs(20),
        "{took:?}"
    );
    assert!(log.contains("did not finish in time"), "{log}");
    claim.await.expect("a task").expect_err("it was cut off");
    writer.unlock().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_server_on_one_sqlite_file_is_refused() {
    let process = Process::start(&[]).await;
    let text = refused(process.folder.path(), &["--listen", "127.0.0.1:0"], &[]).await;
    assert!(text.contains("ipam.db"), "{text}");
    process.rest.get("/readyz").await.expect(200);
    process.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sighup_reads_the_token_files_again() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("admin");
    std::fs::write(&file, "first-0123456789abcdef\n").expect("write");
    let path = file.to_str().expect("a path");
    let mut process = Process::start(&[("IPAM_ADMIN_TOKEN_FILE", path)]).await;
    let with = |rest: &Rest, token: &str| rest.with("authorization", &format!("Bearer {token}"));
    with(&process.rest, "first-0123456789abcdef")
        .get("/v1/pools")
        .await
        .expect(200);
    std::fs::write(&file, "second-0123456789abcdef\n").expect("write");
    process.signal(Signal::SIGHUP);
    process.line("token files read again").await;
    with(&process.rest, "first-0123456789abcdef")
        .get("/v1/pools")
        .await
        .problem(401, "unauthenticated");
    with(&process.rest, "second-0123456789abcdef")
        .get("/v1/pools")
        .await
        .expect(200);
    let log = process.stop().await;
    assert!(log.contains("others can read this token file"), "{log}");
    assert!(!log.contains("0123456789abcdef"), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn migrate_applies_the_migrations_and_exits() {
    let folder = tempfile::tempdir().expect("a folder");
    let output = command(folder.path())
        .arg("migrate")
        .output()
        .await
        .expect("it runs");
    let log = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{log}");
    assert!(
        log.contains("migrations are applied") && log.contains("ipam.db"),
        "{log}"
    );
    assert!(folder.path().join("ipam.db").is_file());
    let again = command(folder.path())
        .arg("migrate")
        .output()
        .await
        .expect("it runs");
    assert!(again.status.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn two_servers_on_one_postgres_answer_with_one_service_id_and_one_truth() {
    let Some(url) = harness::postgres::database() else {
        return;
    };
    let one = Process::start(&[("IPAM_DATABASE_URL", &url)]).await;
    let other = Process::start(&[("IPAM_DATABASE_URL", &url)]).await;
    let created = one.rest.post("/v1/pools", pool("v4", "10.1.0.0/24")).await;
    created.expect(201);
    let shown = other.rest.get("/v1/pools/v4").await;
    shown.expect(200);
    assert_eq!(
        created.header("ipam-service-id"),
        shown.header("ipam-service-id")
    );
    let first = one.rest.post("/v1/leases", claim("c1", "v4")).await;
    let second = other.rest.post("/v1/leases", claim("c1", "v4")).await;
    assert_eq!(first.expect(201), second.expect(200));
    let freed = other.rest.post("/v1/release", super::release("c1")).await;
    assert_eq!(freed.expect(200), &json!({ "released": 1 }));
    one.stop().await;
    other.stop().await;
}
