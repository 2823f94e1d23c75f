//! Settings: flags, and `IPAM_*` environment variables of the same names.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use clap::builder::BoolishValueParser;
use clap::{Args, CommandFactory, Parser, Subcommand, ValueEnum};
use sqlx::sqlite::SqliteConnectOptions;
use tracing_subscriber::EnvFilter;

use crate::error::{Error, Result};
use crate::listen::{Address, Listener};
use crate::store::Hosts;
use crate::tokens::TokenFiles;

/// Leases IP addresses to containers on every node of a cluster, out of SQL.
///
/// With no arguments it serves on 127.0.0.1:7070 out of the file ipam.db in the working directory.
#[derive(Clone, Debug, Parser)]
#[command(name = "ipam-server", version)]
pub struct Config {
    /// What every command needs.
    #[command(flatten)]
    pub common: Common,
    /// What serving needs.
    #[command(flatten)]
    pub serve: Serve,
    /// What to do instead of serving.
    #[command(subcommand)]
    pub command: Option<Command>,
}

/// What every command needs.
#[derive(Args, Clone, Debug)]
pub struct Common {
    /// The database: sqlite://FILE (one server per file), or postgres://USER@HOST/NAME (any number of servers)
    #[arg(long, global = true, env = "IPAM_DATABASE_URL", hide_env_values = true)]
    #[arg(default_value = "sqlite://ipam.db")]
    pub database_url: DatabaseUrl,
    /// Which log lines: a level, or target=level pairs
    #[arg(long, global = true, env = "IPAM_LOG", default_value = "info")]
    pub log: LogFilter,
    /// How log lines (on stderr) are written
    #[arg(
        long,
        global = true,
        env = "IPAM_LOG_FORMAT",
        value_enum,
        default_value_t
    )]
    pub log_format: LogFormat,
}

/// What serving needs.
#[derive(Args, Clone, Debug)]
pub struct Serve {
    /// Where to listen: HOST:PORT (IPv6 in brackets) or unix:///PATH; several with commas, or the flag several times
    ///
    /// Sockets are made with mode 0660: whoever is to connect belongs to the server's group.
    #[arg(long, env = "IPAM_LISTEN", value_delimiter = ',')]
    #[arg(default_value = "127.0.0.1:7070")]
    pub listen: Vec<Address>,
    /// Tokens that may do everything, one per line
    #[arg(long, env = "IPAM_ADMIN_TOKEN_FILE", value_name = "FILE")]
    pub admin_token_file: Option<PathBuf>,
    /// Tokens that may claim, release, gc, check and ask for status, one per line
    #[arg(long, env = "IPAM_NODE_TOKEN_FILE", value_name = "FILE")]
    pub node_token_file: Option<PathBuf>,
    /// Serve without tokens beyond loopback and unix sockets: whoever reaches the address may do everything
    #[arg(long, env = "IPAM_INSECURE_NO_AUTH", value_parser = BoolishValueParser::new())]
    pub insecure_no_auth: bool,
    /// Days after which the history of released leases is pruned
    #[arg(
        long,
        env = "IPAM_HISTORY_RETENTION",
        value_name = "DAYS",
        default_value_t = 90
    )]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=36_500))]
    pub history_retention: u32,
    /// Seconds after which the leases of a boot that its machine has left are freed, unless somebody gives a sign of life
    #[arg(
        long,
        env = "IPAM_QUARANTINE",
        value_name = "SECONDS",
        default_value_t = 600
    )]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=31_536_000))]
    pub quarantine: u32,
    /// How many claims, and how many releases, may wait for their transaction before the answer is 503
    #[arg(
        long,
        env = "IPAM_QUEUE",
        value_name = "COUNT",
        default_value_t = 10_000
    )]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub queue: u32,
}

/// What to do instead of serving.
#[derive(Clone, Copy, Debug, Subcommand)]
pub enum Command {
    /// Apply the migrations and exit
    Migrate,
    /// Check the books: every address of every pool is free, leased or at rest, and in one place. Prints what is wrong, a
    /// line each, and then fails. Changes nothing. Beside running servers on PostgreSQL; an SQLite file's server has to be
    /// stopped first
    Audit,
}

/// How log lines are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object per line.
    Json,
}

/// Which log lines are written; known to be well formed.
#[derive(Clone, Debug)]
pub struct LogFilter(String);

impl FromStr for LogFilter {
    type Err = tracing_subscriber::filter::ParseError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        EnvFilter::try_new(text).map(|_| Self(text.to_owned()))
    }
}

/// A database's URL. Neither its `Debug` nor its `Display` shows what may be secret.
#[derive(Clone)]
pub struct DatabaseUrl(String);

impl DatabaseUrl {
    /// The URL with its password: for opening the database, not for showing.
    pub fn secret(&self) -> &str {
        &self.0
    }
}

impl FromStr for DatabaseUrl {
    type Err = std::convert::Infallible;

    /// Takes any text, so that a refusal never repeats it; opening the store tells what is wrong.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Display for DatabaseUrl {
    /// The absolute path of a SQLite file, or the host and name of a PostgreSQL database.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.starts_with("sqlite:")
            && let Ok(options) = self.0.parse::<SqliteConnectOptions>()
        {
            let path = options.get_filename();
            let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
            return write!(f, "sqlite {}", path.display());
        }
        let Ok(hosts) = Hosts::of(&self.0) else {
            return f.write_str("a database URL that cannot be read");
        };
        let name = hosts.first().get_database().unwrap_or("(default)");
        write!(f, "postgres {name} at {hosts}")
    }
}

impl fmt::Debug for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl Config {
    /// Reads the command line and the environment; ends the process with clap's own words when they are wrong or ask for
    /// help.
    ///
    /// # Errors
    /// `Invalid` when a variable of the environment is unknown, or settings contradict each other.
    pub fn load() -> Result<Self> {
        let config = Self::parse();
        let names = std::env::vars_os().filter_map(|(name, _)| name.into_string().ok());
        refuse_unknown(&names.collect::<Vec<_>>())?;
        config.serve.check()?;
        Ok(config)
    }

    /// Starts writing log lines to stderr.
    pub fn start_log(&self) {
        let builder = tracing_subscriber::fmt()
            .with_env_filter(EnvFilter::new(&self.common.log.0))
            .with_writer(std::io::stderr);
        match self.common.log_format {
            LogFormat::Text => {
                use std::io::IsTerminal;
                builder.with_ansi(std::io::stderr().is_terminal()).init();
            }
            LogFormat::Json => builder.json().init(),
        }
    }
}

impl Config {
    /// Tells where the service is, and a newcomer what to type next.
    pub fn greet(&self, listeners: &[Listener]) {
        for listener in listeners {
            tracing::info!("listening: {}", listener.curl());
        }
        let Some(first) = listeners.first() else {
            return;
        };
        let token = match self.serve.token_files() {
            Some(_) => "-H \"Authorization: Bearer $TOKEN\" ",
            None => "",
        };
        tracing::info!(
            r#"create a pool: curl {token}--json '{{"name": "demo", "subnet": "10.0.0.0/24"}}' {}/v1/pools"#,
            first.curl()
        );
    }
}

impl Serve {
    /// The files that tokens are read from; nothing when every caller may do everything.
    pub fn token_files(&self) -> Option<TokenFiles> {
        let files = TokenFiles {
            admin: self.admin_token_file.clone(),
            node: self.node_token_file.clone(),
        };
        (files.admin.is_some() || files.node.is_some()).then_some(files)
    }

    /// How long history is kept.
    pub fn retention(&self) -> Duration {
        Duration::from_secs(u64::from(self.history_retention) * 86_400)
    }

    /// How long the leases of a boot that is over are withheld.
    pub fn quarantine(&self) -> Duration {
        Duration::from_secs(self.quarantine.into())
    }

    fn check(&self) -> Result<()> {
        if self.insecure_no_auth && self.token_files().is_some() {
            return Err(Error::Invalid(
                "--insecure-no-auth contradicts --admin-token-file and --node-token-file: give either".to_owned(),
            ));
        }
        Ok(())
    }

    /// Refuses to serve everybody beyond this machine without tokens. `open` is an address that others reach.
    ///
    /// # Errors
    /// `Invalid`, naming the address and the flags.
    pub fn check_reach(&self, open: Option<&Address>) -> Result<()> {
        let guarded = self.admin_token_file.is_some() && self.node_token_file.is_some();
        match open {
            Some(address) if !guarded && !self.insecure_no_auth => Err(Error::Invalid(format!(
                "listen address {address} is reachable from other machines: give --admin-token-file and \
                 --node-token-file, or --insecure-no-auth if everybody who reaches it may do everything"
            ))),
            _ => Ok(()),
        }
    }
}

/// Refuses variables that look like settings and are none: a misspelt one would silently leave the default.
fn refuse_unknown(names: &[String]) -> Result<()> {
    let command = Config::command();
    let known: Vec<&str> = command
        .get_arguments()
        .filter_map(|argument| argument.get_env()?.to_str())
        .collect();
    let services: Vec<&str> = names
        .iter()
        .filter_map(|name| name.strip_suffix("_SERVICE_HOST"))
        .collect();
    let unknown = names.iter().find(|name| {
        name.starts_with("IPAM_")
            && !name.starts_with("IPAM_TEST_")
            && !known.contains(&name.as_str())
            && !services
                .iter()
                .any(|service| is_service_link(name, service))
    });
    let Some(unknown) = unknown else {
        return Ok(());
    };
    let nearest = known.iter().min_by_key(|name| distance(name, unknown));
    Err(Error::Invalid(format!(
        "environment variable {unknown} is not a setting of ipam-server; the nearest is {}",
        nearest.unwrap_or(&"--help")
    )))
}

/// Kubernetes sets such variables for a Service that is named `ipam`, or `ipam-server`.
fn is_service_link(name: &str, service: &str) -> bool {
    name.strip_prefix(service).is_some_and(|rest| {
        rest == "_PORT" || rest.starts_with("_PORT_") || rest.starts_with("_SERVICE_")
    })
}

/// How many letters to add, drop or change (Levenshtein).
fn distance(one: &str, other: &str) -> usize {
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (i, a) in one.bytes().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, b) in other.bytes().enumerate() {
            let changed = diagonal + usize::from(a != b);
            diagonal = row[j + 1];
            row[j + 1] = changed.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[other.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn the_command_line_is_well_formed() {
        Config::command().debug_assert();
    }

    #[test]
    fn an_unknown_variable_is_refused_with_the_nearest_known_one() {
        let error = refuse_unknown(&names(&["PATH", "IPAM_LISTEN", "IPAM_DATABSE_URL"]));
        let text = error.expect_err("unknown").to_string();
        assert!(text.contains("IPAM_DATABSE_URL"), "{text}");
        assert!(text.contains("the nearest is IPAM_DATABASE_URL"), "{text}");
    }

    #[test]
    fn variables_of_tests_and_of_kubernetes_services_are_none_of_ours() {
        refuse_unknown(&names(&[
            "IPAM_TEST_DATABASE_URL",
            "IPAM_SERVICE_HOST",
            "IPAM_SERVICE_PORT_HTTP",
            "IPAM_PORT_7070_TCP_ADDR",
            "IPAM_PORT",
        ]))
        .expect("ignored");
        refuse_unknown(&names(&["IPAM_PORT"])).expect_err("without the service it is a mistake");
    }

    #[test]
    fn a_password_is_not_shown() {
        for url in [
            "postgres://me:s3cret/word@db.example:5433/leases",
            "postgres://me:s3cret@db.example:5433/leases",
            "postgres://db.example:5433/leases?user=me&password=s3cret",
            "nonsense s3cret",
        ] {
            let url: DatabaseUrl = url.parse().expect("any text");
            let shown = format!("{url} {url:?}");
            assert!(!shown.contains("s3cret"), "{shown}");
        }
        let url: DatabaseUrl = "postgres://me:s3cret@db.example:5433/leases"
            .parse()
            .expect("any text");
        assert_eq!(url.to_string(), "postgres leases at db.example:5433");
        let url: DatabaseUrl = "postgres://me:s3cret@a,b:5433/leases"
            .parse()
            .expect("any text");
        assert_eq!(url.to_string(), "postgres leases at a:5432, b:5433");
    }

    #[test]
    fn a_sqlite_file_is_shown_with_its_absolute_path() {
        let url: DatabaseUrl = "sqlite://ipam.db".parse().expect("any text");
        let path = std::path::absolute("ipam.db").expect("a working directory");
        assert_eq!(url.to_string(), format!("sqlite {}", path.display()));
    }
}
