//! Tests in User-Mode Linux, from Debian's package `user-mode-linux`: for what the machine's own kernel has not, or for a
//! kernel that lacks something. It boots in two seconds and sees the machine's files, read-only.

use std::env;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};

use crate::require;

const PROGRAM: &str = "/usr/bin/linux.uml";

/// Set in there.
const INSIDE: &str = "IPAM_TEST_INSIDE_UML";

/// Whether this process runs in User-Mode Linux.
pub fn is_inside() -> bool {
    env::var_os(INSIDE).is_some()
}

/// Runs the tests of this very program whose names contain `filter`, one after the other, in a kernel with these modules
/// (each after those that it needs; their paths below `kernel`, without `.ko`, and their parameters), and answers what
/// they printed. None when it is not installed (need `uml`), which is said.
///
/// # Errors
/// When it does not boot.
pub fn run_tests(
    filter: &str,
    modules: &[&str],
    variables: &[(&str, &str)],
) -> Result<Option<String>> {
    if !Path::new(PROGRAM).exists() {
        require::skip("uml", "the package user-mode-linux is not installed");
        return Ok(None);
    }
    let folder = tempfile::tempdir()?;
    let init = folder.path().join("init");
    fs::write(&init, boot_script(filter, modules, variables)?)?;
    fs::set_permissions(&init, fs::Permissions::from_mode(0o755))?;
    let output = Command::new(PROGRAM)
        .args(["mem=512M", "loglevel=1", "rootfstype=hostfs"])
        .args(["rootflags=/", "ro", "con=null", "con0=null,fd:1"])
        .arg(format!("init={}", init.display()))
        .stdin(Stdio::null())
        .output()
        .context(PROGRAM)?;
    let text = String::from_utf8_lossy(&output.stdout);
    let tests = text.split_once("TESTS BEGIN").map(|(_, tests)| tests);
    ensure!(tests.is_some(), "no boot: {text}");
    Ok(tests.map(str::to_owned))
}

/// The first process in there: it loads the modules, runs the tests, and ends. `/tmp` stays the machine's, since the
/// tests may have been built there.
fn boot_script(filter: &str, modules: &[&str], variables: &[(&str, &str)]) -> Result<String> {
    let exports: Vec<_> = variables
        .iter()
        .map(|(name, value)| format!("export {name}='{value}'"))
        .collect();
    let inserts = modules.iter().map(|module| {
        let (path, parameters) = module.split_once(' ').unwrap_or((module, ""));
        format!("busybox insmod /usr/lib/uml/modules/*/kernel/{path}.ko {parameters}")
    });
    let inserts: Vec<_> = inserts.collect();
    Ok(format!(
        "#!/bin/sh
export PATH=/usr/sbin:/usr/bin:/sbin:/bin TMPDIR=/mnt {INSIDE}=1
{}
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t tmpfs tmpfs /run
mount -t tmpfs tmpfs /mnt
ip link set lo up
{}
echo TESTS BEGIN
{} {filter} --test-threads=1 --color=never 2>&1
echo o > /proc/sysrq-trigger
sleep 10
",
        exports.join("\n"),
        inserts.join("\n"),
        env::current_exe()?.display()
    ))
}
