//! A throw-away PostgreSQL: `IPAM_TEST_DATABASE_URL`, or one started from the machine's own binaries.

mod clock;
mod disk;
mod given;
mod programs;
mod standby;

use std::fs::{self, File};
use std::io::PipeWriter;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use sqlx::{AssertSqlSafe, Connection, PgConnection};

pub use self::clock::{shadow_clock, shift_clock};
use self::programs::{Account, Runner, binaries};
use crate::namespaces::Namespace;
use crate::require;

/// How long a server may take to start or to stop.
const PATIENCE: Duration = Duration::from_secs(60);

/// The URL of a fresh, empty database, on the server of `IPAM_TEST_DATABASE_URL` or on one that this process starts once.
/// Nothing, said aloud, when there is neither (need `postgres`).
pub fn database() -> Option<String> {
    match given_url() {
        Some(url) => Some(given::database(&url)),
        None => shared().map(Cluster::database),
    }
}

/// As [`database`], but never on the server of `IPAM_TEST_DATABASE_URL`: for what a proxy in between would change.
pub fn near_database() -> Option<String> {
    shared().map(Cluster::database)
}

/// The log of the server that [`database`] uses; nothing when it is somebody else's.
pub fn log() -> Option<PathBuf> {
    match given_url() {
        Some(_) => None,
        None => shared().map(Cluster::log),
    }
}

fn given_url() -> Option<String> {
    std::env::var("IPAM_TEST_DATABASE_URL")
        .ok()
        .filter(|url| !url.is_empty())
}

/// The process's own server. A static is never dropped: its guard ends it with the process.
fn shared() -> Option<&'static Cluster> {
    static SHARED: OnceLock<Option<Cluster>> = OnceLock::new();
    let shared = SHARED.get_or_init(Cluster::start).as_ref();
    if shared.is_none() {
        require::skip("postgres", "no server binaries, and no user postgres");
    }
    shared
}

/// A PostgreSQL server of the test's own on a unix socket, durable (fsync on) until it is dropped or the process ends,
/// however it ends; then it is stopped and its folder removed.
#[derive(Debug)]
pub struct Cluster {
    folder: PathBuf,
    data: PathBuf,
    binaries: PathBuf,
    runner: Runner,
    server: Mutex<Option<Child>>,
    guard: Child,
    /// Its closing, by drop or by the end of this process, is what the guard waits for.
    lifeline: Option<PipeWriter>,
}

impl Cluster {
    /// Starts a server; nothing when the machine has no binaries, or no user to run them as.
    pub fn start() -> Option<Self> {
        let cluster = Self::prepare(None)?;
        cluster.initialize(&[]);
        cluster.resume();
        Some(cluster)
    }

    /// A folder without data, and what will remove it. `disk`: where the data is to be, if not there.
    fn prepare(disk: Option<(&Namespace, PathBuf)>) -> Option<Self> {
        let binaries = binaries()?;
        let account = Account::find()?;
        // Not in TMPDIR: the path of a unix socket has at most 107 bytes.
        let folder = tempfile::Builder::new()
            .prefix("ipam-pg-")
            .tempdir_in("/tmp")
            .expect("a folder in /tmp")
            .keep();
        if let Some(user) = account.user() {
            nix::unistd::chown(&folder, Some(user.uid), Some(user.gid)).expect("chown");
        }
        let (inside, data) = match disk {
            Some((namespace, data)) => (Some(namespace.pid()), data),
            None => (None, folder.join("data")),
        };
        let runner = Runner { account, inside };
        let (guard, lifeline) = runner.guard(&folder, &data, &binaries);
        Some(Self {
            folder,
            data,
            binaries,
            runner,
            server: Mutex::new(None),
            guard,
            lifeline: Some(lifeline),
        })
    }

    /// The URL of a fresh, empty database.
    pub fn database(&self) -> String {
        let name = create_database(&self.url("postgres"));
        self.url(&name)
    }

    /// The URL of the database `name`.
    pub fn url(&self, name: &str) -> String {
        format!(
            "postgres://postgres@localhost/{name}?host={}",
            self.folder.display()
        )
    }

    /// The server's log.
    pub fn log(&self) -> PathBuf {
        self.folder.join("log")
    }

    /// Stops the server: by SIGINT (an orderly stop that cuts connections), or by SIGQUIT or SIGKILL, as a crash would.
    pub fn stop(&self, signal: Signal) {
        let server = self.lock_server().take();
        if let Some(mut server) = server {
            let pid = Pid::from_raw(server.id().cast_signed());
            kill(pid, signal).expect("the server is there");
            server.wait().expect("the server ends");
        }
    }

    /// Starts a stopped server again, and waits until it serves. What a killed one left behind ends by itself in a moment.
    pub fn resume(&self) {
        let deadline = Instant::now() + PATIENCE;
        self.launch();
        while !self.serves(deadline) {
            std::thread::sleep(Duration::from_millis(50));
            self.launch();
        }
    }

    fn launch(&self) {
        let log = File::options()
            .create(true)
            .append(true)
            .open(self.log())
            .expect("the log");
        let folder = self.folder.to_str().expect("a plain path");
        let server = self
            .command("postgres")
            .arg("-D")
            .arg(&self.data)
            .args(["-k", folder])
            .args(["-c", "listen_addresses=", "-c", "max_connections=300"])
            .args(["-c", "fsync=on", "-c", "log_line_prefix=%m [%p] %d "])
            .stdout(log.try_clone().expect("the log"))
            .stderr(log)
            // Ctrl-C at the terminal is for the test, and the guard ends the server after it.
            .process_group(0)
            .spawn()
            .expect("postgres starts");
        *self.lock_server() = Some(server);
    }

    fn lock_server(&self) -> std::sync::MutexGuard<'_, Option<Child>> {
        self.server.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn initialize(&self, args: &[&str]) {
        let made = self
            .command("initdb")
            .args(["--no-sync", "-A", "trust", "-U", "postgres", "-E", "UTF8"])
            .args(["--locale=C", "-D"])
            .arg(&self.data)
            .args(args)
            .output()
            .expect("initdb starts");
        let errors = String::from_utf8_lossy(&made.stderr);
        assert!(made.status.success(), "initdb failed: {errors}");
    }

    /// Waits until it serves; false when it could not start yet.
    fn serves(&self, deadline: Instant) -> bool {
        let url = self.url("postgres");
        while let Err(error) = on_connection(&url, async |connection| connection.ping().await) {
            let has_ended = self.has_ended();
            if has_ended || Instant::now() > deadline {
                let log = fs::read_to_string(self.log()).unwrap_or_default();
                let last = log.lines().rev().take(4).collect::<String>();
                let is_early = has_ended && last.contains("pre-existing shared memory block");
                assert!(
                    is_early && Instant::now() < deadline,
                    "postgres does not serve: {error}\n{log}"
                );
                return false;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        true
    }

    fn has_ended(&self) -> bool {
        self.lock_server()
            .as_mut()
            .is_none_or(|server| matches!(server.try_wait(), Ok(Some(_))))
    }

    fn command(&self, program: &str) -> Command {
        self.runner
            .command(&self.binaries.join(program), &self.folder)
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.lifeline = None;
        let server = self.lock_server().take();
        // First the server, because the guard's stop waits for it, and it is gone only when its parent has asked.
        if let Some(mut server) = server {
            let _ = kill(Pid::from_raw(server.id().cast_signed()), Signal::SIGQUIT);
            let _ = server.wait();
        }
        let _ = self.guard.wait();
    }
}

/// Creates a database of a new name, which tells when it was made.
fn create_database(url: &str) -> String {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let name = format!(
        "ipam_test_{}_{}_{number}",
        unix_time().as_secs(),
        std::process::id()
    );
    execute(url, format!("create database {name}"));
    name
}

fn unix_time() -> Duration {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
}

/// Runs a statement whose names the caller made.
fn execute(url: &str, statement: String) {
    try_execute(url, statement)
        .unwrap_or_else(|error| panic!("the test's PostgreSQL refused: {error}"));
}

fn try_execute(url: &str, statement: String) -> Result<(), sqlx::Error> {
    on_connection(url, async move |connection| {
        sqlx::query(AssertSqlSafe(statement.clone()))
            .execute(connection)
            .await
    })
    .map(drop)
}

/// Connects and works, on a thread of its own: the caller may be inside a runtime.
fn on_connection<T: Send>(
    url: &str,
    work: impl AsyncFn(&mut PgConnection) -> Result<T, sqlx::Error> + Send + Sync,
) -> Result<T, sqlx::Error> {
    let run = || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(sqlx::Error::Io)?;
        runtime.block_on(async {
            let mut connection = PgConnection::connect(url).await?;
            let outcome = work(&mut connection).await;
            connection.close().await?;
            outcome
        })
    };
    std::thread::scope(|scope| scope.spawn(run).join()).expect("the thread does not panic")
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::process::Stdio;

    use super::*;

    /// The environment variable that tells the test binary to be the process that is killed.
    const VICTIM: &str = "IPAM_HARNESS_VICTIM";

    #[test]
    fn a_cluster_survives_a_crash_and_is_gone_when_it_is_dropped() {
        let Some(cluster) = Cluster::start() else {
            return require::skip("postgres", "no server binaries, and no user postgres");
        };
        let url = cluster.database();
        execute(&url, "create table kept (n integer)".to_owned());
        cluster.stop(Signal::SIGKILL);
        cluster.resume();
        execute(&url, "insert into kept values (1)".to_owned());
        let folder = cluster.folder.clone();
        assert!(folder.exists());
        drop(cluster);
        assert!(!folder.exists());
    }

    #[test]
    fn a_killed_test_leaves_no_server_and_no_folder() {
        if let Ok(report) = std::env::var(VICTIM) {
            let cluster = Cluster::start().expect("the parent has seen that it can");
            fs::write(report, cluster.folder.to_str().expect("a plain path")).expect("a report");
            return std::thread::sleep(PATIENCE);
        }
        if binaries().is_none() {
            return require::skip("postgres", "no server binaries");
        }
        let scratch = tempfile::tempdir().expect("a folder");
        let report = scratch.path().join("folder");
        let mut victim = Command::new(std::env::current_exe().expect("this binary"))
            .args([
                "--exact",
                "postgres::tests::a_killed_test_leaves_no_server_and_no_folder",
            ])
            .env(VICTIM, &report)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("this binary starts");
        wait_for(|| fs::metadata(&report).is_ok_and(|file| file.len() > 0));
        victim.kill().expect("kill");
        victim.wait().expect("wait");
        let folder = fs::read_to_string(&report).expect("the report");
        wait_for(|| !Path::new(&folder).exists());
    }

    fn wait_for(happened: impl Fn() -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !happened() {
            assert!(Instant::now() < deadline, "waited in vain");
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}
