//! A second server that follows the first by synchronous streaming replication, and can take its place.

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::{Cluster, execute};

impl Cluster {
    /// Starts a standby. From then on this server answers a commit only when the standby has it too.
    pub fn standby(&self) -> Self {
        let standby = Self::prepare(None).expect("what the first server was made of");
        let copied = self
            .command("pg_basebackup")
            .args(["--no-sync", "-c", "fast", "-R", "-U", "postgres", "-h"])
            .arg(&self.folder)
            .arg("-D")
            .arg(&standby.data)
            .output()
            .expect("pg_basebackup starts");
        let errors = String::from_utf8_lossy(&copied.stderr);
        assert!(copied.status.success(), "pg_basebackup failed: {errors}");
        standby.resume();
        let postgres = self.url("postgres");
        for statement in [
            "alter system set synchronous_standby_names = '*'",
            "select pg_reload_conf()",
        ] {
            execute(&postgres, statement.to_owned());
        }
        standby
    }

    /// Makes a standby the primary.
    pub fn promote(&self) {
        execute(&self.url("postgres"), "select pg_promote()".to_owned());
    }

    /// Halts every process of the server where it is, or lets them go on.
    pub fn halt(&self, halted: bool) {
        let signal = if halted {
            Signal::SIGSTOP
        } else {
            Signal::SIGCONT
        };
        let server = self.lock_server();
        let pid = server.as_ref().expect("it runs").id();
        for process in children(pid).into_iter().chain([pid]) {
            // A backend may have ended meanwhile.
            let _ = kill(Pid::from_raw(process.cast_signed()), signal);
        }
    }

    /// The URL of the database `name`, wherever the primary is of the two.
    pub fn url_with(&self, standby: &Self, name: &str) -> String {
        let folders = [self, standby].map(|cluster| cluster.folder.display().to_string());
        format!(
            "postgres://postgres@localhost/{name}?host={}",
            folders.join(",")
        )
    }
}

fn children(pid: u32) -> Vec<u32> {
    let list = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"));
    let list = list.unwrap_or_default();
    list.split_whitespace()
        .filter_map(|pid| pid.parse().ok())
        .collect()
}
