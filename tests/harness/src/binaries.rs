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

/// Names a folder in which the binaries are built already: where cargo cannot run, in another kernel.
pub const FOLDER: &str = "IPAM_TEST_BINARIES";

/// The profile of what is shipped, and so of what is measured.
const SHIPPED: &str = "dist";
/// With the C library inside, as README.md says how to build for nodes: half of a plugin's start is else the linker's.
const SHIPPED_FLAGS: &str = "-C target-feature=+crt-static";

/// The folder with the binaries as they are shipped, built now if they are not: for measurements, whatever profile the
/// caller was built in.
///
/// # Errors
/// What cargo said when the build failed.
pub fn shipped() -> Result<PathBuf> {
    let folder = profile_folder()?;
    let target = folder.parent().context("a profile's folder has a parent")?;
    // Named, because then the flags are not for build scripts and macros, which cannot be static.
    let triple = format!("{}-unknown-linux-gnu", env::consts::ARCH);
    let mut command = cargo_build(target, SHIPPED);
    command
        .env("RUSTFLAGS", SHIPPED_FLAGS)
        .args(["--bins", "--target", &triple]);
    run(command)?;
    Ok(target.join(triple).join(SHIPPED))
}

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
    built(Path::new(name))
}

/// The example of this name.
///
/// # Panics
/// As [`path`].
pub fn example(name: &str) -> PathBuf {
    built(&Path::new("examples").join(name))
}

fn built(name: &Path) -> PathBuf {
    let file = folder().expect("the binaries build").join(name);
    assert!(
        file.is_file(),
        "no package of the workspace builds {}",
        file.display()
    );
    file
}

/// Examples are built too because they are what needs the dev-dependencies: so cargo chooses the same features for every
/// crate as it does for `cargo test` at the root, and builds none of them twice.
fn build() -> Result<PathBuf> {
    if let Some(folder) = env::var_os(FOLDER) {
        return Ok(folder.into());
    }
    let folder = profile_folder()?;
    let target = folder.parent().context("a profile's folder has a parent")?;
    let name = folder
        .file_name()
        .and_then(|name| name.to_str())
        .context("a profile's folder has a name")?;
    // The folder of the profile `dev` has another name than the profile.
    let profile = if name == "debug" { "dev" } else { name };
    let mut command = cargo_build(target, profile);
    command.args(["--bins", "--examples"]);
    run(command)?;
    Ok(folder)
}

/// Cargo, told to build the workspace into the folder `target`.
fn cargo_build(target: &Path, profile: &str) -> Command {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    for (variable, _) in env::vars_os() {
        if variable.to_str().is_some_and(is_of_this_package) {
            command.env_remove(variable);
        }
    }
    command
        .args(["build", "--quiet", "--workspace"])
        .args(["--profile", profile])
        .arg("--target-dir")
        .arg(target)
        .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."));
    command
}

fn run(mut command: Command) -> Result<()> {
    let output = command.output().context("cargo does not start")?;
    if !output.status.success() {
        bail!(
            "cargo build of the workspace's binaries: {}\n{}",
            output.status,
            String::from_utf8_lossy(&output.stderr)
        );
    }
    Ok(())
}

/// Whether cargo set this variable for the test. Build scripts that look at their own package's (ring's does) would be
/// run again for it, and all that depends on them built again, now and by the next `cargo test`.
fn is_of_this_package(variable: &str) -> bool {
    ["CARGO_PKG_", "CARGO_MANIFEST_", "CARGO_BIN_", "OUT_DIR"]
        .iter()
        .any(|prefix| variable.starts_with(prefix))
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
