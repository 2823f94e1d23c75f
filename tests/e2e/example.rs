//! The examples that the README shows. In the profile of this test: what the release profile adds is speed, and a
//! build of several minutes.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::process::Command;

use harness::{binaries, require};
use nix::unistd::{Uid, User};
use tempfile::TempDir;

#[test]
fn two_nodes_keeps_all_of_its_promises_on_bridges() {
    if !require::namespaces() {
        return;
    }
    let said = tour(&mut Command::new(binaries::example("two-nodes")));
    assert!(!said.contains('\x1b'), "colours are for terminals");
}

#[test]
fn two_nodes_keeps_all_of_its_promises_when_the_nodes_route() {
    if !require::namespaces() {
        return;
    }
    let said = tour(Command::new(binaries::example("two-nodes")).arg("routed"));
    assert!(said.contains("answers for the 4 addresses"), "{said}");
}

#[test]
fn bgp_fabric_keeps_all_of_its_promises() {
    if !require::namespaces() || require::program("bird").is_none() {
        return;
    }
    let said = tour(&mut Command::new(binaries::example("bgp-fabric")));
    assert!(said.contains("later node-b has no route to it"), "{said}");
}

#[test]
fn two_nodes_needs_no_root_where_a_user_namespace_can_be_had() {
    for kind in ["bridge", "routed"] {
        tour_as_nobody("two-nodes", kind);
    }
}

#[test]
fn bgp_fabric_needs_no_root_either() {
    if require::program("bird").is_none() {
        return;
    }
    tour_as_nobody("bgp-fabric", "");
}

/// What is run as root elsewhere: the tour itself, in the user namespace that a user's run makes.
fn tour_as_nobody(name: &str, kind: &str) {
    // The target folder may be for root only.
    let folder = TempDir::with_prefix("ipam-example-").expect("a folder");
    let open = fs::Permissions::from_mode(0o777);
    fs::set_permissions(folder.path(), open).expect("its mode is set");
    let example = folder.path().join(name);
    fs::copy(binaries::example(name), &example).expect("copied");
    for binary in ["ipam-server", "cluster-ipam", "bridge", "routed"] {
        fs::copy(binaries::path(binary), folder.path().join(binary)).expect("copied");
    }
    let mut command = Command::new("unshare");
    if Uid::effective().is_root() {
        let nobody = User::from_name("nobody").expect("the user database");
        let nobody = nobody.expect("a user nobody");
        command.uid(nobody.uid.as_raw()).gid(nobody.gid.as_raw());
    }
    command
        .current_dir(folder.path())
        .env("TMPDIR", folder.path())
        .args(["--user", "--map-root-user", "--net", "--mount", "--uts"])
        .args(["--pid", "--fork", "--kill-child", "--mount-proc", "--"])
        .arg(example)
        .args(["tour", kind])
        .arg(folder.path());
    tour(&mut command);
}

/// What it printed. All of its promises were kept.
#[track_caller]
fn tour(command: &mut Command) -> String {
    let output = command.output().expect("runs");
    let said = String::from_utf8_lossy(&output.stdout);
    let complaint = String::from_utf8_lossy(&output.stderr);
    let status = output.status;
    assert!(status.success(), "{status}\n{said}{complaint}");
    let promised = said.matches('✓').count();
    assert!(promised > 20, "{promised} promises only:\n{said}");
    assert!(said.trim_end().ends_with("promises were kept."), "{said}");
    said.into_owned()
}
