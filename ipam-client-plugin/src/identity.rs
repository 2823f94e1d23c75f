//! Which machine this is, which boot it is in, and when the verb was issued: what orders verbs that overtake each other.

use std::fs;

use cni::Error;
use nix::time::{ClockId, clock_gettime};

const MACHINE_ID: &str = "/etc/machine-id";
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

/// The sender of a verb.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// `/etc/machine-id`; absent on machines that have none.
    pub machine_id: Option<String>,
    /// The kernel's id of this boot.
    pub boot_id: String,
    /// When the verb was issued, in nanoseconds of [`boottime_ns`].
    pub issued: i64,
}

impl Identity {
    /// Reads both ids. Code 5 without a boot id: what cannot be ordered is not sent.
    pub fn read(issued: i64) -> Result<Self, Error> {
        let boot_id = fs::read_to_string(BOOT_ID)
            .map_err(|e| Error::io(format!("cannot read the boot id from {BOOT_ID}: {e}")))?;
        Ok(Self {
            machine_id: fs::read_to_string(MACHINE_ID)
                .ok()
                .and_then(|text| machine_id(&text)),
            boot_id: boot_id.trim().to_owned(),
            issued,
        })
    }
}

/// `CLOCK_BOOTTIME` in nanoseconds: it never steps, and goes on while the machine sleeps.
pub fn boottime_ns() -> i64 {
    let now = clock_gettime(ClockId::CLOCK_BOOTTIME)
        .expect("every kernel that has network namespaces in use has CLOCK_BOOTTIME");
    now.tv_sec() * 1_000_000_000 + now.tv_nsec()
}

/// An image that is not set up yet holds an empty file, or the word `uninitialized`.
fn machine_id(text: &str) -> Option<String> {
    let id = text.trim();
    (!id.is_empty() && id != "uninitialized").then(|| id.to_owned())
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test may fail by panicking")]
    use super::*;

    #[test]
    fn a_machine_without_an_id_has_none() {
        assert_eq!(machine_id(""), None);
        assert_eq!(machine_id("uninitialized\n"), None);
        assert_eq!(machine_id("4f1c\n").as_deref(), Some("4f1c"));
    }

    #[test]
    fn the_clock_goes_forward_and_the_boot_has_an_id() {
        let issued = boottime_ns();
        assert!(issued > 0);
        assert!(boottime_ns() >= issued);
        let identity = Identity::read(issued).unwrap();
        assert_eq!(identity.boot_id.len(), 36);
        assert_eq!(identity.issued, issued);
    }
}
