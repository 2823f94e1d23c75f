//! The workspace's binaries, built once per test process in the profile of the test itself.
//!
//! Cargo hands a test only the binaries of its own package, but a test here starts those of three. So each test process
//! asks cargo for all of them, in the folder and the profile that it was built in itself: cargo's lock orders processes
//! that ask at once, and all but the first find everything fresh.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use anyhow::{Context, Result, bail};

/// The folder with the built binaries.
///
/// # Errors
/// What cargo said when the build failed. The build is tried once per process.
pub fn folder() -> Result<&'static Path> {
    static BUILT: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    BUILT
        .get_or_init(|| build().map_err(|error| format!("{error:#}")))
        .as_deref()
        .map_err(|error| anyhow::anyhow!("{error}"))
}

/// The binary of this name: `ipam-server`, `cluster-ipam`, `bridge`, …
///
/// # Panics
/// When the build fails, or builds no binary of this name.
pub fn path(name: &str) -> PathBuf {
    let file = folder().expect("the binaries build").join(name);
    assert!(
        file.is_file(),
        "no package of the workspace builds a binary {name}: {} is missing",
        file.display()
    );
    file
}

/// An example of the root package, built on the first call.
///
/// # Panics
/// When the build fails.
pub fn example(name: &str) -> PathBuf {
    let folder = cargo_build(&["--package", "cluster-ipam", "--example", name]);
    folder
        .expect("the example builds")
        .join("examples")
        .join(name)
}

fn build() -> Result<PathBuf> {
    cargo_build(&["--workspace", "--bins"])
}

fn cargo_build(what: &[&str]) -> Result<PathBuf> {
    let folder = profile_folder()?;
    let target = folder.parent().context("a profile's folder has a parent")?;
    let name = folder
        .file_name()
        .and_then(|name| name.to_str())
        .context("a profile's folder has a name")?;
    let output = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        .args(["build", "--quiet"])
        .args(what)
        .arg("--profile")
        // The folder of the profile `dev` has another name than the profile.
        .arg(if name == "debug" { "dev" } else { name })
        .arg("--target-dir")
        .arg(target)
        .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
        .output()
        .context("cargo does not start")?;
    if !output.status.success() {
        bail!(
            "cargo build {}: {}\n{}",
            what.join(" "),
            output.status,
            String::from_utf8_lossy(&output.stderr)
        );
    }
    Ok(folder)
}

/// `target/debug` of `target/debug/deps/test-0123` and of `target/debug/examples/name`.
fn profile_folder() -> Result<PathBuf> {
    let program = env::current_exe().context("this program's own path")?;
    let folder = program.parent().context("a program is in a folder")?;
    match folder.file_name().and_then(|name| name.to_str()) {
        Some("deps" | "examples") => Ok(folder.parent().unwrap_or(folder).to_path_buf()),
        _ => Ok(folder.to_path_buf()),
    }
}
