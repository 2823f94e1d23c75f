//! The server's program: how it is run.

use std::path::Path;
use std::process::Stdio;

use tokio::process::Command;
use tokio::time::timeout;

use super::process::PATIENCE;

pub(super) const SERVER: &str = env!("CARGO_BIN_EXE_ipam-server");

/// The server's command in a folder, with nothing of the test's environment that it would read.
pub(super) fn command(folder: &Path) -> Command {
    command_of(SERVER, folder)
}

pub(super) fn command_of(program: &str, folder: &Path) -> Command {
    let mut command = Command::new(program);
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("IPAM_") {
            command.env_remove(name);
        }
    }
    command
        .current_dir(folder)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    command
}

/// Runs the server to its end, which must be a failure, and answers stderr.
pub(super) async fn refused(
    folder: &Path,
    arguments: &[&str],
    environment: &[(&str, &str)],
) -> String {
    let mut command = command(folder);
    command.args(arguments).envs(environment.iter().copied());
    let output = timeout(PATIENCE, command.output()).await;
    let output = output.expect("it ends").expect("it starts");
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        !output.status.success(),
        "{arguments:?} {environment:?}: {text}"
    );
    assert_eq!(String::from_utf8_lossy(&output.stdout), "");
    text
}
