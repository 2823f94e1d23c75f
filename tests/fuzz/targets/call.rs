//! A call of a plugin, made of a line for each environment variable, an empty line, and stdin.

use std::ffi::OsString;

use cni::{Invocation, NetConf};

/// The invocation and its configuration, if both are good.
pub fn read(input: &[u8]) -> Option<(Invocation, NetConf)> {
    let end = input.windows(2).position(|pair| pair == b"\n\n")?;
    let (head, mut stdin) = (str::from_utf8(&input[..end]).ok()?, &input[end + 2..]);
    // Files that never end are the caller's own fault.
    if ["/dev", "/proc", "/sys"]
        .iter()
        .any(|folder| names(input, folder))
    {
        return None;
    }
    let variable = |name: &str| {
        let value = head
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
        value.map(OsString::from)
    };
    let invocation = Invocation::read(&variable, &mut stdin).ok()?;
    let conf = NetConf::parse(&invocation.stdin, invocation.command).ok()?;
    Some((invocation, conf))
}

fn names(input: &[u8], folder: &str) -> bool {
    input
        .windows(folder.len())
        .any(|part| part == folder.as_bytes())
}
