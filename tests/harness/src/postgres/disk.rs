//! A server on a disk that may run out of room.

use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use sqlx::Connection;

use super::{Cluster, PATIENCE, on_connection};
use crate::namespaces::Namespace;

impl Cluster {
    /// Starts a server on a small disk: the folder `disk` of a namespace, which is there and empty. Nothing under the
    /// same conditions as [`Cluster::start`]. Its socket and its log are elsewhere.
    pub fn start_on_disk(namespace: &Namespace, disk: &str) -> Option<Self> {
        let data = Path::new(disk).join("data");
        let cluster = Self::prepare(Some((namespace, data)))?;
        if let Some(user) = cluster.runner.account.user() {
            let owner = format!("chown {}:{} {disk}", user.uid, user.gid);
            namespace.run(&owner).expect("the disk is the server's");
        }
        // Segments of the log as small as they can be: they are written anew all the time.
        cluster.initialize(&["--wal-segsize=1"]);
        cluster.resume();
        Some(cluster)
    }

    /// Waits until the server serves; one that has ended by itself meanwhile is started again, as whoever supervises it
    /// would.
    pub fn revive(&self) {
        let url = self.url("postgres");
        let deadline = Instant::now() + PATIENCE;
        while !self.has_ended() {
            if on_connection(&url, async |connection| connection.ping().await).is_ok() {
                return;
            }
            assert!(Instant::now() < deadline, "postgres does not recover");
            thread::sleep(Duration::from_millis(20));
        }
        self.resume();
    }
}
