//! A small disk of the test's own, which can be filled up.

use std::fs;
use std::path::{Path, PathBuf};

use harness::namespaces::Namespace;

/// Where it is mounted, inside.
const MOUNT: &str = "/media";

/// A file system in memory, in a mount namespace.
pub(crate) struct Disk {
    pub(crate) namespace: Namespace,
}

impl Disk {
    /// One of so many MiB.
    pub(crate) fn new(size: usize) -> Self {
        let namespace = Namespace::new("disk").expect("namespaces");
        let mount = format!("mount -t tmpfs -o size={size}m,mode=0755 faults {MOUNT}");
        namespace.run(&mount).expect("a tmpfs");
        Self { namespace }
    }

    /// Gives those inside shared memory of their own: libfaketime and PostgreSQL leave files there when they are killed.
    pub(crate) fn part_shared_memory(&self) {
        let mount = "mount -t tmpfs -o size=64m,mode=1777 faults /dev/shm";
        self.namespace.run(mount).expect("a tmpfs");
    }

    /// Where it is, as those inside see it.
    pub(crate) fn root() -> &'static str {
        MOUNT
    }

    /// A file on it, as those inside see it.
    pub(crate) fn path(name: &str) -> String {
        format!("{MOUNT}/{name}")
    }

    /// Copies the database that a server has made in `folder` onto the disk.
    pub(crate) fn bring(&self, folder: &Path) {
        copy(folder, &self.seen_from_outside());
    }

    /// Copies the database of a server that has ended into `folder`. SQLite itself does not find its way through `/proc`.
    pub(crate) fn take_out(&self, folder: &Path) {
        copy(&self.seen_from_outside(), folder);
    }

    fn seen_from_outside(&self) -> PathBuf {
        PathBuf::from(format!("/proc/{}/root{MOUNT}", self.namespace.pid()))
    }

    /// Leaves no room.
    pub(crate) fn fill(&self) {
        // It fails when there is no room left, as it should.
        let _ = self
            .namespace
            .run(&format!("dd if=/dev/zero of={MOUNT}/ballast bs=4k"));
    }

    pub(crate) fn empty(&self) {
        let removed = self.namespace.run(&format!("rm -f {MOUNT}/ballast"));
        removed.expect("the ballast goes");
    }
}

fn copy(from: &Path, to: &Path) {
    for file in ["ipam.db", "ipam.db-wal"] {
        let from = from.join(file);
        // A database that was closed has no log.
        if from.exists() {
            fs::copy(from, to.join(file)).expect("it is copied");
        }
    }
}
