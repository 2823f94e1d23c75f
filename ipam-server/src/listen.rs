//! Where the server listens: TCP addresses and unix sockets.

use std::fmt;
use std::fs;
use std::io::{Error as IoError, ErrorKind};
use std::net::SocketAddr;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use tokio::net::{TcpListener, UnixListener, UnixStream, lookup_host};

use crate::error::{Error, Result};

/// A place to listen, as it is configured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// `HOST:PORT`; a name stands for all of its addresses.
    Tcp(String),
    /// The absolute path of a socket.
    Unix(PathBuf),
}

/// A place that is listened on.
#[derive(Debug)]
pub enum Listener {
    /// TCP.
    Tcp(TcpListener),
    /// A unix socket, whose file goes when this is dropped.
    Unix(UnixListener, SocketFile),
}

impl FromStr for Address {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Some(path) = text.strip_prefix("unix://") {
            return match Path::new(path).is_absolute() {
                true => Ok(Self::Unix(path.into())),
                false => Err("a socket's path is absolute, as in unix:///run/ipam.sock".to_owned()),
            };
        }
        let port = text.rsplit_once(':').filter(|(host, port)| {
            let bare_v6 = host.contains(':') && !(host.starts_with('[') && host.ends_with(']'));
            !host.is_empty() && !host.contains('/') && !bare_v6 && port.parse::<u16>().is_ok()
        });
        match port {
            Some(_) => Ok(Self::Tcp(text.to_owned())),
            None => Err("expected HOST:PORT, [V6]:PORT or unix:///PATH".to_owned()),
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => f.write_str(address),
            Self::Unix(path) => write!(f, "unix://{}", path.display()),
        }
    }
}

impl Address {
    /// The addresses of a TCP place; none for a socket.
    ///
    /// # Errors
    /// `Invalid` when the host's name is unknown.
    pub async fn resolve(&self) -> Result<Vec<SocketAddr>> {
        let Self::Tcp(address) = self else {
            return Ok(Vec::new());
        };
        let found = lookup_host(address)
            .await
            .map_err(|error| self.failed(&error))?;
        let mut found: Vec<_> = found.collect();
        found.sort_unstable();
        found.dedup();
        Ok(found)
    }

    /// Listens on every address that this stands for.
    ///
    /// # Errors
    /// `Invalid` when an address cannot be had, or another server serves the socket.
    pub async fn bind(&self) -> Result<Vec<Listener>> {
        let Self::Unix(path) = self else {
            return self.bind_tcp().await;
        };
        let socket = bind_socket(path)
            .await
            .map_err(|error| self.failed(&error))?;
        Ok(vec![socket])
    }

    async fn bind_tcp(&self) -> Result<Vec<Listener>> {
        let mut listeners = Vec::new();
        let mut failure = None;
        for address in self.resolve().await? {
            match TcpListener::bind(address).await {
                Ok(listener) => listeners.push(Listener::Tcp(listener)),
                // `localhost` has an IPv6 address also on machines without IPv6.
                Err(error) if error.kind() == ErrorKind::AddrNotAvailable => failure = Some(error),
                Err(error) => return Err(self.failed(&error)),
            }
        }
        match failure {
            Some(error) if listeners.is_empty() => Err(self.failed(&error)),
            _ => Ok(listeners),
        }
    }

    fn failed(&self, error: &IoError) -> Error {
        Error::Invalid(format!("cannot listen on {self}: {error}"))
    }
}

/// The first of the addresses that is reachable from other machines.
///
/// # Errors
/// `Invalid` when a host's name is unknown.
pub async fn beyond_this_machine(addresses: &[Address]) -> Result<Option<&Address>> {
    for address in addresses {
        let found = address.resolve().await?;
        if !found
            .iter()
            .all(|one| one.ip().to_canonical().is_loopback())
        {
            return Ok(Some(address));
        }
    }
    Ok(None)
}

/// Listens on all of the addresses.
///
/// # Errors
/// As for `Address::bind`.
pub async fn bind_all(addresses: &[Address]) -> Result<Vec<Listener>> {
    let mut listeners = Vec::new();
    for address in addresses {
        listeners.extend(address.bind().await?);
    }
    Ok(listeners)
}

impl Listener {
    /// The place as curl takes it: what stands before the path.
    pub fn curl(&self) -> String {
        match self {
            Self::Tcp(listener) => match listener.local_addr() {
                Ok(address) => format!("http://{address}"),
                Err(_) => "http://(unknown)".to_owned(),
            },
            Self::Unix(_, file) => {
                format!("--unix-socket {} http://localhost", file.path.display())
            }
        }
    }
}

/// Listens on a socket. What a crash left is replaced; what another server serves is not.
async fn bind_socket(path: &Path) -> Result<Listener, IoError> {
    let listener = match UnixListener::bind(path) {
        Err(error) if error.kind() == ErrorKind::AddrInUse => {
            make_way(path).await?;
            UnixListener::bind(path)?
        }
        other => other?,
    };
    fs::set_permissions(path, fs::Permissions::from_mode(0o660))?;
    let file = SocketFile {
        path: path.to_owned(),
        inode: fs::symlink_metadata(path)?.ino(),
    };
    Ok(Listener::Unix(listener, file))
}

async fn make_way(path: &Path) -> Result<(), IoError> {
    if !fs::symlink_metadata(path)?.file_type().is_socket() {
        return Err(IoError::other("there is something that is not a socket"));
    }
    match UnixStream::connect(path).await {
        Ok(_) => Err(IoError::other("another server serves it")),
        Err(error) if error.kind() == ErrorKind::ConnectionRefused => {
            tracing::info!(path = %path.display(), "replacing the socket that an earlier server left");
            fs::remove_file(path)
        }
        Err(error) => Err(error),
    }
}

/// A socket's file; removed on drop, unless another has taken its place.
#[derive(Debug)]
pub struct SocketFile {
    path: PathBuf,
    inode: u64,
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        let ours = fs::symlink_metadata(&self.path).is_ok_and(|found| found.ino() == self.inode);
        if ours && let Err(error) = fs::remove_file(&self.path) {
            tracing::warn!(path = %self.path.display(), %error, "cannot remove the socket");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_hosts_with_ports_or_absolute_sockets() {
        for good in [
            "127.0.0.1:7070",
            "[::1]:7070",
            "localhost:0",
            "unix:///run/ipam.sock",
        ] {
            let address: Address = good.parse().expect(good);
            assert_eq!(address.to_string(), good);
        }
        for bad in [
            "",
            "7070",
            ":7070",
            "::1:7070",
            "host",
            "host:port",
            "host:70000",
            "http://host:80",
            "unix://ipam.sock",
            "unix://",
        ] {
            bad.parse::<Address>().expect_err(bad);
        }
    }

    #[tokio::test]
    async fn only_loopback_and_sockets_stay_on_this_machine() {
        let parse = |text: &str| text.parse::<Address>().expect("an address");
        let near = [
            "127.0.0.1:1",
            "[::1]:1",
            "localhost:1",
            "[::ffff:127.0.0.1]:1",
            "unix:///run/x",
        ]
        .map(parse);
        assert_eq!(beyond_this_machine(&near).await.expect("resolved"), None);
        for far in ["0.0.0.0:1", "[::]:1", "192.0.2.1:1"] {
            let addresses = [parse("127.0.0.1:1"), parse(far)];
            let found = beyond_this_machine(&addresses).await.expect("resolved");
            assert_eq!(found, Some(&addresses[1]));
        }
    }
}
