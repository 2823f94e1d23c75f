//! What a test needs of the machine. What is missing is said aloud and the test skipped, but where `IPAM_TEST_REQUIRE`
//! (comma-separated: `postgres`, `root`, `bird`, …, or `all`) names it, it is a failure.

use std::ffi::OsStr;
use std::io::Write;
use std::path::PathBuf;

use crate::unshared;

/// Says that the caller is skipped because `need` is missing. Panics when `IPAM_TEST_REQUIRE` names the need.
///
/// The line goes to the real stderr, which the test runner does not capture.
pub fn skip(need: &str, why: &str) {
    assert!(
        !is_required(need),
        "IPAM_TEST_REQUIRE names {need:?}, which is missing: {why}"
    );
    let thread = std::thread::current();
    let test = thread.name().unwrap_or("a test");
    // A closed stderr is no reason to fail a test.
    let _ = writeln!(std::io::stderr(), "SKIPPED: {test} needs {need}: {why}");
}

/// Whether `IPAM_TEST_REQUIRE` makes a missing `need` a failure.
pub fn is_required(need: &str) -> bool {
    std::env::var("IPAM_TEST_REQUIRE").is_ok_and(|needs| {
        (needs.split(',').map(str::trim)).any(|named| [need, "all"].contains(&named))
    })
}

/// Whether this process is the machine's root (need `root`); says so when it is not.
pub fn root() -> bool {
    let is_root = nix::unistd::Uid::effective().is_root();
    if !is_root {
        skip("root", "this process is not root");
    }
    is_root
}

/// Whether the caller, a test, goes on in this process: as root. Anybody else's is run from here once more as root of a
/// user namespace, and answered no when it has passed there, or when the machine has none (need `root`).
///
/// # Panics
/// When it has failed there.
pub fn namespaces() -> bool {
    if nix::unistd::Uid::effective().is_root() {
        return true;
    }
    let thread = std::thread::current();
    // The test runner calls a test's thread after it, unless it has only one.
    let Some(test) = thread.name().filter(|name| *name != "main") else {
        skip(
            "root",
            "this process is not root, and --test-threads=1 hides the test's name",
        );
        return false;
    };
    if let Err(error) = unshared::check() {
        skip("root", &format!("{error:#}"));
        return false;
    }
    let output = unshared::run_test(test).expect("the test is started in a sandbox");
    let said = String::from_utf8_lossy(&output.stdout);
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success() && said.contains("test result: ok. 1 passed"),
        "in a user namespace: {}\n{said}{complaint}",
        output.status
    );
    // What was skipped in there is said out here.
    let _ = std::io::stderr().write_all(&output.stderr);
    false
}

/// A program on PATH or in one of the folders that PATH of an ordinary user leaves out. It is its own need:
/// `program("podman")` is required by `IPAM_TEST_REQUIRE=podman`.
pub fn program(name: &str) -> Option<PathBuf> {
    let found = find(name);
    if found.is_none() {
        skip(name, "no program of this name is on PATH");
    }
    found
}

/// Like [`program`], without a word when it is missing.
pub fn find(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(["/usr/sbin", "/sbin", "/usr/lib/cni"].map(PathBuf::from))
        .map(|folder| folder.join(OsStr::new(name)))
        .find(|file| file.is_file())
}
