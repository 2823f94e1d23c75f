//! The example that the README shows first.

use std::process::Command;

use harness::binaries;

use crate::pods::ready;

/// In the profile of this test: what the release profile adds is speed, and a build of several minutes.
#[test]
fn two_nodes_keeps_all_of_its_promises() {
    if !ready() {
        return;
    }
    let output = Command::new(binaries::example("two-nodes"))
        .output()
        .expect("runs");
    let said = String::from_utf8_lossy(&output.stdout);
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "{}\n{said}{complaint}",
        output.status
    );
    let promised = said.matches('✓').count();
    assert!(promised > 20, "{promised} promises only:\n{said}");
    assert!(said.trim_end().ends_with("promises were kept."), "{said}");
    assert!(!said.contains('\x1b'), "colours are for terminals");
}
