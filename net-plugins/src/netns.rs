//! Network namespaces: opening one by its path, working inside one for a moment.
//!
//! The process itself never moves for good. A socket belongs to the namespace in which it was made, so that visiting a
//! namespace once to open a netlink socket there is enough for everything that follows.

use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use cni::Error;
use cni::error::BAD_NETNS;
use nix::fcntl::{Flock, FlockArg};
use nix::sched::{CloneFlags, setns};
use nix::sys::statfs::{NSFS_MAGIC, PROC_SUPER_MAGIC, fstatfs};

use crate::fault;
use crate::netlink::meaning;

/// The namespace of the calling thread.
const OWN: &str = "/proc/thread-self/ns/net";

/// A network namespace, kept alive for as long as this value exists.
#[derive(Debug)]
pub struct Netns {
    path: String,
    file: File,
}

impl Netns {
    /// Opens the namespace at `path`; code 999 when there is none, in upstream's words.
    pub fn open(path: &str) -> Result<Netns, Error> {
        let failed = |why: String| Error::internal(format!("failed to open netns {path:?}: {why}"));
        let file = File::open(path).map_err(|e| {
            let why = meaning(e.raw_os_error().unwrap_or_default());
            failed(format!("failed to Statfs {path:?}: {why}"))
        })?;
        let kind = fstatfs(&file)
            .map_err(|e| failed(format!("failed to Statfs {path:?}: {}", meaning(e as i32))))?
            .filesystem_type();
        if kind != NSFS_MAGIC && kind != PROC_SUPER_MAGIC {
            return Err(failed(format!(
                "unknown FS magic on {path:?}: {:x}",
                kind.0
            )));
        }
        let netns = Netns {
            path: path.to_owned(),
            file,
        };
        // Other kinds of namespaces live in the same file system: only entering tells them apart.
        netns.visit(|| ()).map_err(|e| failed(e.msg))?;
        Ok(netns)
    }

    /// Opens the namespace at `path` for DEL: `None` when there is nothing left at that path.
    pub fn open_if_present(path: &str) -> Result<Option<Netns>, Error> {
        if path.is_empty() || !Path::new(path).exists() {
            return Ok(None);
        }
        Netns::open(path).map(Some)
    }

    /// The namespace in which the plugin was started: the host's.
    pub fn own() -> Result<Netns, Error> {
        let file = File::open(OWN).map_err(|e| Error::io(format!("cannot open {OWN}: {e}")))?;
        Ok(Netns {
            path: OWN.to_owned(),
            file,
        })
    }

    /// Fails with code 8 when `container` is this namespace: every link would end up on the host.
    pub fn refuse_same(&self, container: &Netns) -> Result<(), Error> {
        let overridden = std::env::var("CNI_NETNS_OVERRIDE").unwrap_or_default();
        if overridden == "1" || overridden.eq_ignore_ascii_case("true") || !self.same(container)? {
            return Ok(());
        }
        let path = &container.path;
        Err(Error::new(
            BAD_NETNS,
            "plugin's netns and netns from CNI_NETNS should not be the same",
        )
        .with_details(format!("CNI_NETNS={path:?}")))
    }

    fn same(&self, other: &Netns) -> Result<bool, Error> {
        let id = |netns: &Netns| {
            let meta = netns.file.metadata();
            meta.map(|m| (m.dev(), m.ino()))
                .map_err(|e| Error::io(format!("cannot stat {:?}: {e}", netns.path)))
        };
        Ok(id(self)? == id(other)?)
    }

    /// The path under which it was opened.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Its file descriptor, for a netlink message that names a namespace.
    pub fn fd(&self) -> RawFd {
        self.file.as_raw_fd()
    }

    /// Runs `work` with the calling thread inside this namespace. `work` must not start threads: they would stay.
    pub fn visit<T>(&self, work: impl FnOnce() -> T) -> Result<T, Error> {
        let home = Netns::own()?;
        setns(&self.file, CloneFlags::CLONE_NEWNET).map_err(|e| {
            let why = meaning(e as i32);
            Error::internal(format!("cannot enter netns {:?}: {why}", self.path))
        })?;
        let outcome = work();
        if setns(&home.file, CloneFlags::CLONE_NEWNET).is_err() {
            // Going on would configure the wrong namespace. The kernel gives no reason for which this can fail.
            std::process::abort();
        }
        Ok(outcome)
    }

    /// Takes the lock of this namespace, which orders the plugins that change what containers share (a bridge and its
    /// addresses). The lock is on the namespace itself, so that it needs no file and ends with the process.
    pub fn lock(&self) -> Result<Flock<File>, Error> {
        fault::point("lock")?;
        let file = File::open(&self.path)
            .map_err(|e| Error::io(format!("cannot open {:?}: {e}", self.path)))?;
        Flock::lock(file, FlockArg::LockExclusive).map_err(|(_, e)| {
            let why = io::Error::from(e);
            Error::io(format!("cannot lock {:?}: {why}", self.path))
        })
    }
}
