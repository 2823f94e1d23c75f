//! Settings under `/proc/sys/net`, of the host or of another namespace.

use std::fs;
use std::io::ErrorKind;

use cni::Error;

use crate::netlink::{Netlink, meaning};

/// Writes a setting below `/proc/sys/net`, such as `ipv4/ip_forward`.
pub fn write(netlink: &Netlink, key: &str, value: &str) -> Result<(), Error> {
    set(netlink, key, value, false)
}

/// Writes a setting that the kernel may lack (no IPv6, an older version); then nothing is done.
pub fn write_if_present(netlink: &Netlink, key: &str, value: &str) -> Result<(), Error> {
    set(netlink, key, value, true)
}

fn set(netlink: &Netlink, key: &str, value: &str, may_lack: bool) -> Result<(), Error> {
    let path = format!("/proc/sys/net/{key}");
    // Many settings shared by all containers have the value already: reading costs no lock in the kernel.
    let outcome = netlink.netns().visit(|| match fs::read_to_string(&path) {
        Ok(present) if present.trim() == value => Ok(()),
        Err(e) if may_lack && e.kind() == ErrorKind::NotFound => Ok(()),
        _ => fs::write(&path, value),
    })?;
    outcome.map_err(|e| {
        let why = meaning(e.raw_os_error().unwrap_or_default());
        let place = netlink.place();
        Error::internal(format!("failed to set {path} to {value} in {place}: {why}"))
    })
}

/// Reads a setting; `None` when the kernel does not have it.
pub fn read(netlink: &Netlink, key: &str) -> Result<Option<String>, Error> {
    let path = format!("/proc/sys/net/{key}");
    match netlink.netns().visit(|| fs::read_to_string(&path))? {
        Ok(text) => Ok(Some(text.trim().to_owned())),
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(None),
        Err(e) => Err(Error::io(format!("cannot read {path}: {e}"))),
    }
}
