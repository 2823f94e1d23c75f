//! Settings under `/proc/sys/net`, of the host or of another namespace.

use std::fs;
use std::io::ErrorKind;

use cni::Error;

use crate::fault;
use crate::netlink::{Netlink, meaning};
use crate::undo::Undo;

/// Writes a setting below `/proc/sys/net`, such as `ipv4/ip_forward`. One that the kernel lacks (no IPv6, an older version)
/// is left out.
pub fn write(netlink: &Netlink, key: &str, value: &str) -> Result<(), Error> {
    exchange(netlink, key, value).map(drop)
}

/// [`write()`] that is taken back when the ADD fails.
pub fn change<'a>(
    netlink: &'a Netlink,
    key: &str,
    value: &str,
    undo: &mut Undo<'a>,
) -> Result<(), Error> {
    let before = exchange(netlink, key, value)?;
    if let Some(before) = before {
        let key = key.to_owned();
        undo.push(format!("set {key} back to {before}"), move || {
            write(netlink, &key, &before)
        });
    }
    Ok(())
}

/// [`write()`] that returns what the setting was; `None` when nothing was changed.
pub fn exchange(netlink: &Netlink, key: &str, value: &str) -> Result<Option<String>, Error> {
    fault::point(key)?;
    let path = format!("/proc/sys/net/{key}");
    // Many settings shared by all containers have the value already: reading costs no lock in the kernel.
    let outcome = netlink.netns().visit(|| match fs::read_to_string(&path) {
        Ok(present) if present.trim() == value => Ok(None),
        Ok(present) => fs::write(&path, value).map(|()| Some(present.trim().to_owned())),
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(None),
        Err(e) => Err(e),
    })?;
    outcome.map_err(|e| {
        let why = meaning(e.raw_os_error().unwrap_or_default());
        let place = netlink.place();
        Error::internal(format!("failed to set {path} to {value} in {place}: {why}"))
    })
}

/// Reads a setting; `None` when the kernel does not have it.
pub fn read(netlink: &Netlink, key: &str) -> Result<Option<String>, Error> {
    fault::point(key)?;
    let path = format!("/proc/sys/net/{key}");
    match netlink.netns().visit(|| fs::read_to_string(&path))? {
        Ok(text) => Ok(Some(text.trim().to_owned())),
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(None),
        Err(e) => Err(Error::io(format!("cannot read {path}: {e}"))),
    }
}
