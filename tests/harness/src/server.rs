//! Real ipam-server processes.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;

use crate::binaries;
use crate::namespaces::Namespace;
use crate::rest::Rest;

/// How long a server may take to be ready: a debug build that migrates its database on a busy machine.
const READY_WITHIN: Duration = Duration::from_secs(60);

/// How long a server may take to end after SIGTERM.
const ENDED_WITHIN: Duration = Duration::from_secs(30);

/// How a server is to be started.
#[derive(Debug)]
pub struct Launch<'a> {
    program: Option<PathBuf>,
    database_url: Option<String>,
    listen: Option<String>,
    inside: Option<&'a Namespace>,
    token: Option<String>,
    args: Vec<String>,
    env: Vec<(String, String)>,
}

impl Default for Launch<'_> {
    fn default() -> Self {
        Self::new()
    }
}

impl<'a> Launch<'a> {
    /// A server with a SQLite file of its own, on a loopback address of its own and a unix socket.
    pub fn new() -> Self {
        Self {
            program: None,
            database_url: None,
            listen: None,
            inside: None,
            token: None,
            args: Vec::new(),
            env: Vec::new(),
        }
    }

    /// From this file instead of the workspace's build.
    #[must_use]
    pub fn program(mut self, file: PathBuf) -> Self {
        self.program = Some(file);
        self
    }

    /// On this database instead.
    #[must_use]
    pub fn database(mut self, url: &str) -> Self {
        self.database_url = Some(url.to_owned());
        self
    }

    /// On this TCP address instead, as `ADDRESS:PORT`.
    #[must_use]
    pub fn listen(mut self, address: &str) -> Self {
        self.listen = Some(address.to_owned());
        self
    }

    /// Inside these namespaces. Its unix socket is reached from outside too.
    #[must_use]
    pub fn inside(mut self, namespace: &'a Namespace) -> Self {
        self.inside = Some(namespace);
        self
    }

    /// The token that [`Server::rest`] sends. The server's own token files are arguments.
    #[must_use]
    pub fn token(mut self, token: &str) -> Self {
        self.token = Some(token.to_owned());
        self
    }

    /// With these further arguments.
    #[must_use]
    pub fn args<S: Into<String>>(mut self, args: impl IntoIterator<Item = S>) -> Self {
        self.args.extend(args.into_iter().map(Into::into));
        self
    }

    /// With this variable in its environment.
    #[must_use]
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.env.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Starts it and waits until it is ready.
    ///
    /// # Errors
    /// With the server's log, when it ends early or is not ready in time.
    pub fn start(self) -> Result<Server> {
        let folder = TempDir::with_prefix("ipam-server-")?;
        let listen = self.listen.unwrap_or_else(loopback);
        let socket = format!("unix://{}", folder.path().join("ipam.sock").display());
        let database_url = self
            .database_url
            .unwrap_or_else(|| format!("sqlite://{}", folder.path().join("ipam.db").display()));
        let rest = match &self.token {
            Some(token) => Rest::new(&socket)?.with_token(token),
            None => Rest::new(&socket)?,
        };
        let program = match self.program {
            Some(file) => file,
            None => binaries::folder()?.join("ipam-server"),
        };
        let mut command = match self.inside {
            // What is set is set for the server, and not for the program that enters.
            Some(namespace) => {
                let mut command = namespace.command("env");
                command.args(
                    self.env
                        .iter()
                        .map(|(name, value)| format!("{name}={value}")),
                );
                command.arg(program);
                command
            }
            None => {
                let mut command = Command::new(program);
                command.envs(self.env);
                command
            }
        };
        let log = folder.path().join("server.log");
        let output = OpenOptions::new().create(true).append(true).open(&log)?;
        // What is set for the test is no setting of the server's.
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("IPAM_") {
                command.env_remove(name);
            }
        }
        let entry = command.get_args().count();
        command
            .args(["--database-url", &database_url])
            .args(["--listen", &format!("{listen},{socket}")])
            .args(self.args)
            .current_dir(folder.path())
            .stdin(std::process::Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output);
        let mut server = Server {
            command,
            entry,
            child: None,
            rest,
            url: format!("http://{listen}"),
            database_url,
            socket,
            log,
            _folder: folder,
        };
        server.start()?;
        Ok(server)
    }
}

/// A server. Dropping it kills it; the books of one that runs until then must be right, and the log of a failing test's
/// server is shown.
#[derive(Debug)]
pub struct Server {
    command: Command,
    /// How many of the arguments enter a namespace; the rest are the server's.
    entry: usize,
    child: Option<Child>,
    rest: Rest,
    url: String,
    socket: String,
    database_url: String,
    log: PathBuf,
    _folder: TempDir,
}

impl Server {
    /// A server with a SQLite file of its own.
    ///
    /// # Errors
    /// As [`Launch::start`].
    pub fn sqlite() -> Result<Self> {
        Launch::new().start()
    }

    /// A server on this database.
    ///
    /// # Errors
    /// As [`Launch::start`].
    pub fn on(database_url: &str) -> Result<Self> {
        Launch::new().database(database_url).start()
    }

    /// Its URL over TCP, valid where it runs.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Its URL over the unix socket, valid in every namespace.
    pub fn socket_url(&self) -> &str {
        &self.socket
    }

    /// The database that it serves.
    pub fn database_url(&self) -> &str {
        &self.database_url
    }

    /// A client of it, over the unix socket.
    pub fn rest(&self) -> &Rest {
        &self.rest
    }

    /// Where its log is written.
    pub fn log_file(&self) -> &Path {
        &self.log
    }

    /// What it has logged so far, from all of its starts.
    pub fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Its process id, while it runs.
    pub fn pid(&self) -> Option<u32> {
        self.child.as_ref().map(Child::id)
    }

    /// Asks it to end, as an init system does, and waits until it has.
    ///
    /// # Errors
    /// When it does not run, or does not end in time.
    pub fn sigterm(&mut self) -> Result<ExitStatus> {
        let pid = self.pid().context("the server does not run")?;
        kill(Pid::from_raw(pid.cast_signed()), Signal::SIGTERM)?;
        let ended = self.wait_for_end(ENDED_WITHIN)?;
        ended.with_context(|| format!("the server outlives SIGTERM by {ENDED_WITHIN:?}"))
    }

    /// Waits until it ends by itself, or this time has passed: then nothing.
    ///
    /// # Errors
    /// When it does not run, or cannot be waited for.
    pub fn wait_for_end(&mut self, patience: Duration) -> Result<Option<ExitStatus>> {
        let end = Instant::now() + patience;
        loop {
            let child = self.child.as_mut().context("the server does not run")?;
            if let Some(status) = child.try_wait()? {
                self.child = None;
                return Ok(Some(status));
            }
            if Instant::now() > end {
                return Ok(None);
            }
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// Kills it with SIGKILL, as a crash or the kernel would.
    ///
    /// # Errors
    /// When it cannot be waited for.
    pub fn kill(&mut self) -> Result<()> {
        if let Some(mut child) = self.child.take() {
            child.kill()?;
            child.wait()?;
        }
        Ok(())
    }

    /// Starts it again with the same arguments, on the same database and addresses, and waits until it is ready.
    ///
    /// # Errors
    /// As [`Launch::start`].
    pub fn restart(&mut self) -> Result<()> {
        self.kill()?;
        self.start()
    }

    /// That every address of every pool is accounted for, by the rows themselves.
    fn assert_books(&self) {
        let mut audit = Command::new(self.command.get_program());
        for (name, value) in self.command.get_envs() {
            match value {
                Some(value) => audit.env(name, value),
                None => audit.env_remove(name),
            };
        }
        let audit = audit
            .args(self.command.get_args().take(self.entry))
            .args(["audit", "--log", "error", "--database-url"])
            .arg(&self.database_url)
            .output()
            .expect("the audit starts");
        let findings = String::from_utf8_lossy(&audit.stdout);
        let complaint = String::from_utf8_lossy(&audit.stderr);
        assert!(audit.status.success(), "{findings}{complaint}");
    }

    fn start(&mut self) -> Result<()> {
        let child = self.command.spawn().context("the server does not start")?;
        self.child = Some(child);
        let end = Instant::now() + READY_WITHIN;
        loop {
            if let Ok(answer) = self.rest.get("/readyz")
                && answer.status == 200
            {
                return Ok(());
            }
            let ended = match &mut self.child {
                Some(child) => child.try_wait()?,
                None => None,
            };
            if let Some(status) = ended {
                self.child = None;
                bail!("the server ended: {status}\n{}", self.log());
            }
            if Instant::now() > end {
                self.kill()?;
                bail!(
                    "the server is not ready in {READY_WITHIN:?}\n{}",
                    self.log()
                );
            }
            thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let ran = self.child.is_some();
        let _ = self.kill();
        if thread::panicking() {
            eprintln!("--- the server's log ---\n{}", self.log());
        } else if ran {
            self.assert_books();
        }
    }
}

/// A secret in a file that only its owner reads, as `--admin-token-file` wants it.
///
/// # Errors
/// When it cannot be written.
pub fn token_file(path: &Path, token: &str) -> Result<()> {
    use std::os::unix::fs::PermissionsExt;
    let mut file = File::create(path)?;
    file.set_permissions(fs::Permissions::from_mode(0o600))?;
    writeln!(file, "{token}")?;
    Ok(())
}

/// An address of the loopback network that nobody else uses, unlike a port found free, which another may take before
/// the server does.
fn loopback() -> String {
    use std::hash::{BuildHasher, RandomState};
    let [.., a, b, c] = RandomState::new().hash_one(()).to_be_bytes();
    let address = Ipv4Addr::new(127, a.clamp(1, 254), b, c.clamp(1, 254));
    format!("{address}:7070")
}
