//! Sandboxes: namespaces of a command's own, which go with it.

use std::process::{Command, Output};

use anyhow::{Context, Result, bail};
use nix::unistd::Uid;

/// unshare(1) with everything up to the program to start. The program is the first process of its namespaces (user, unless
/// this process is root; network, mount, UTS, process ids): with it the kernel ends every process in them, and takes
/// every link and mount away. It is root in there.
pub(crate) fn command() -> Command {
    let mut command = Command::new("unshare");
    if !Uid::effective().is_root() {
        command.args(["--user", "--map-root-user"]);
    }
    command
        .args(["--net", "--mount", "--uts", "--pid", "--fork"])
        .args(["--kill-child", "--mount-proc", "--"]);
    command
}

/// Tries whether the machine allows it.
///
/// # Errors
/// With what stands in the way.
pub(crate) fn check() -> Result<()> {
    let tried = command().arg("true").output().context("unshare")?;
    if !tried.status.success() {
        bail!(
            "this machine refuses namespaces ({}): be root, or allow user namespaces (sysctl user.max_user_namespaces, \
             kernel.unprivileged_userns_clone or kernel.apparmor_restrict_unprivileged_userns, whichever the machine has)",
            String::from_utf8_lossy(&tried.stderr).trim()
        );
    }
    Ok(())
}

/// Makes a sandbox fit for tests: `/run` is where ip(8) and iptables(8) write.
const READY: &str = "mount -t tmpfs tmpfs /run && ip link set lo up && exec \"$0\" \"$@\"";

/// Runs one test of this binary once more, alone, in a sandbox with a loopback and a `/run` of its own.
///
/// # Errors
/// When it cannot be started.
pub(crate) fn run_test(test: &str) -> Result<Output> {
    let output = command()
        .args(["sh", "-c", READY])
        .arg(std::env::current_exe()?)
        .args(["--exact", test])
        // Another network's loopback is not this one's: what needs a database starts its own in there.
        .env_remove("IPAM_TEST_DATABASE_URL")
        .output()?;
    Ok(output)
}
