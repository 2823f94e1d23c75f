//! The hosts of one database of which one is the primary: `postgres://USER@A:5432,B:5432/NAME`, as libpq writes it. The
//! primary is asked for among them when connecting, and again whenever it is lost.

use std::cmp::Reverse;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{PoisonError, RwLock};
use std::time::{Duration, Instant};

use sqlx::postgres::PgConnectOptions;
use sqlx::{ConnectOptions, Connection, PgPool};
use tokio::sync::Mutex;
use tokio::task::JoinSet;

use crate::error::{Error, Result};

/// How long one host is asked whether it is the primary.
const ASK_LIMIT: Duration = Duration::from_secs(1);
/// Between two rounds of asking while none is.
const ASK_EVERY: Duration = Duration::from_millis(200);

/// Where the database may be.
pub(crate) struct Hosts {
    all: Vec<PgConnectOptions>,
    /// Connections that were made before this are to another primary.
    since: RwLock<Instant>,
    /// Held by whoever asks: the others wait for what that brings.
    asking: Mutex<()>,
    /// The highest timeline that was seen.
    newest: AtomicU32,
    /// Whether more than one primary was seen the last time: it is said once.
    is_split: AtomicBool,
}

impl Hosts {
    /// Takes the URL apart.
    pub(crate) fn of(url: &str) -> Result<Self> {
        let all = each(url)
            .iter()
            .map(|url| url.parse::<PgConnectOptions>())
            .collect::<Result<Vec<_>, _>>()
            .map_err(|error| Error::Invalid(format!("database URL: {error}")))?;
        let all = all.into_iter();
        Ok(Self {
            all: all
                .map(|options| options.application_name("ipam-server"))
                .collect(),
            since: RwLock::new(Instant::now()),
            asking: Mutex::default(),
            newest: AtomicU32::new(0),
            is_split: AtomicBool::new(false),
        })
    }

    /// The first of them.
    pub(crate) fn first(&self) -> &PgConnectOptions {
        &self.all[0]
    }

    /// Whether there is but one: then there is nothing to look for.
    pub(super) fn is_one(&self) -> bool {
        self.all.len() == 1
    }

    /// The one that is the primary. Of a single host that is not asked.
    ///
    /// One that was replaced while it was away takes itself for the primary still when it is back: the promotion of the
    /// other began a new timeline. The highest is followed, and none that is lower than one that was seen: what it has is
    /// old, also while the other does not answer.
    pub(super) async fn primary(&self) -> Option<&PgConnectOptions> {
        if let [only] = self.all.as_slice() {
            return Some(only);
        }
        let mut asked = JoinSet::new();
        for (index, options) in self.all.iter().cloned().enumerate() {
            asked.spawn(async move {
                let timeline = tokio::time::timeout(ASK_LIMIT, timeline(&options)).await;
                Some((timeline.ok()?.ok()??, Reverse(index)))
            });
        }
        let primaries = asked.join_all().await;
        let primaries: Vec<_> = primaries.into_iter().flatten().collect();
        let (timeline, Reverse(index)) = *primaries.iter().max()?;
        let newest = &self.all[index];
        let is_split = primaries.len() > 1;
        if is_split && !self.is_split.swap(is_split, Ordering::Relaxed) {
            let host = place(newest);
            tracing::warn!(
                "more than one host is a primary; {host} was promoted last: stop the others"
            );
        }
        self.is_split.store(is_split, Ordering::Relaxed);
        let seen = self.newest.fetch_max(timeline, Ordering::Relaxed);
        (timeline >= seen).then_some(newest)
    }

    /// Whether a connection of this age is to the primary that was found last.
    pub(super) fn is_present(&self, age: Duration) -> bool {
        // Nothing can go wrong while it is held.
        let since = self.since.read().unwrap_or_else(PoisonError::into_inner);
        age <= since.elapsed()
    }

    /// Looks for the primary once, and points the pool at it when it is another than before.
    pub(super) async fn follow(&self, pool: &PgPool) {
        if self.is_one() {
            return;
        }
        let Ok(_asking) = self.asking.try_lock() else {
            drop(self.asking.lock().await);
            return;
        };
        let Some(primary) = self.primary().await else {
            return;
        };
        let before = pool.connect_options();
        if is_same(&before, primary) {
            return;
        }
        let host = place(primary);
        tracing::warn!("the primary is {host} by now");
        // In this order: a connection that is made in between is given up, and not taken for one to the new primary.
        pool.set_connect_options(primary.clone().options(super::open::SETTINGS));
        let mut since = self.since.write().unwrap_or_else(PoisonError::into_inner);
        *since = Instant::now();
    }

    /// Looks for the primary, again and again, while somebody waits for a connection.
    pub(super) async fn keep_following(&self, pool: &PgPool) {
        loop {
            tokio::time::sleep(ASK_EVERY).await;
            self.follow(pool).await;
        }
    }
}

impl fmt::Display for Hosts {
    /// Without the passwords.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let all: Vec<_> = self.all.iter().map(place).collect();
        f.write_str(&all.join(", "))
    }
}

impl fmt::Debug for Hosts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// The timeline that the host writes; none of a standby. 0 of one that does not tell, as services that only speak
/// PostgreSQL's protocol do not.
async fn timeline(options: &PgConnectOptions) -> Result<Option<u32>, sqlx::Error> {
    let mut connection = options.connect().await?;
    let is_standby: bool = sqlx::query_scalar("select pg_is_in_recovery()")
        .fetch_one(&mut connection)
        .await?;
    if is_standby {
        return Ok(None);
    }
    // The first eight digits of the name of what it writes to.
    let file = sqlx::query_scalar("select pg_walfile_name(pg_current_wal_lsn())")
        .fetch_one(&mut connection)
        .await;
    let name: String = match file {
        Err(sqlx::Error::Database(_)) => String::new(),
        other => other?,
    };
    // It has served: what becomes of it is nobody's concern.
    let _ = connection.close().await;
    let timeline = name.get(..8).map(|digits| u32::from_str_radix(digits, 16));
    Ok(Some(timeline.and_then(Result::ok).unwrap_or_default()))
}

fn is_same(a: &PgConnectOptions, b: &PgConnectOptions) -> bool {
    (a.get_host(), a.get_port(), a.get_socket()) == (b.get_host(), b.get_port(), b.get_socket())
}

/// Which host that is.
fn place(options: &PgConnectOptions) -> String {
    let host = options.get_socket().map_or_else(
        || options.get_host().to_owned(),
        |socket| socket.display().to_string(),
    );
    format!("{host}:{}", options.get_port())
}

/// A URL for each host: of the authority, or else of the parameter `host`.
fn each(url: &str) -> Vec<String> {
    let (scheme, rest) = url.split_once("://").unwrap_or(("", url));
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, tail) = rest.split_at(end);
    let (user, hosts) = match authority.rsplit_once('@') {
        Some((user, hosts)) => (format!("{user}@"), hosts),
        None => (String::new(), authority),
    };
    if hosts.contains(',') {
        let one = |host: &str| format!("{scheme}://{user}{host}{tail}");
        return hosts.split(',').map(one).collect();
    }
    let Some(start) = ["?host=", "&host="].iter().find_map(|name| url.find(name)) else {
        return vec![url.to_owned()];
    };
    let (before, value) = url.split_at(start + "?host=".len());
    let (value, after) = value.split_at(value.find('&').unwrap_or(value.len()));
    let one = |host: &str| format!("{before}{host}{after}");
    value.split(',').map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_host_of_a_list_has_a_url_of_its_own() {
        let of = |url: &str| each(url);
        assert_eq!(
            of("postgres://me:a,b@one:5432,[::1]:5433,three/name?sslmode=require"),
            [
                "postgres://me:a,b@one:5432/name?sslmode=require",
                "postgres://me:a,b@[::1]:5433/name?sslmode=require",
                "postgres://me:a,b@three/name?sslmode=require",
            ]
        );
        assert_eq!(
            of("postgres://me@localhost/name?host=/run/a,/run/b&port=5433"),
            [
                "postgres://me@localhost/name?host=/run/a&port=5433",
                "postgres://me@localhost/name?host=/run/b&port=5433",
            ]
        );
    }

    #[test]
    fn a_url_of_one_host_stays_as_it_is() {
        for url in [
            "postgres://me:secret@one:5432/name",
            "postgres:///name?host=/run/a",
            "postgres://one",
            "postgres://one/a,b?application_name=c,d",
        ] {
            assert_eq!(each(url), [url]);
        }
    }
}
