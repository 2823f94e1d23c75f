//! The peer of `cluster-ipam`: upstream's host-local, with as many addresses held as one likes.

use std::fs;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Result, ensure};
use serde_json::json;

use crate::lab::PEERS;
use crate::plugin::{Plugin, address, nowhere};

const NETWORK: &str = "peer";
/// The first address that host-local leases of the subnet.
const FIRST: Ipv4Addr = Ipv4Addr::new(10, 64, 0, 2);

/// host-local on a /15, and its state: a file per address, as host-local itself writes them.
pub(crate) struct HostLocal {
    plugin: Plugin,
    state: PathBuf,
    held: u32,
}

impl HostLocal {
    pub(crate) fn new(folder: &Path) -> Result<Self> {
        let data = folder.join("host-local");
        let config = json!({
            "cniVersion": "1.0.0", "name": NETWORK, "type": "host-local",
            "ipam": { "type": "host-local", "dataDir": data, "ranges": [[{ "subnet": "10.64.0.0/15" }]] }
        });
        let state = data.join(NETWORK);
        fs::create_dir_all(&state)?;
        Ok(Self {
            plugin: Plugin::new(config, PEERS, folder)?,
            state,
            held: 0,
        })
    }

    /// Lets containers hold so many addresses, and sees that host-local takes notice.
    pub(crate) fn fill(&mut self, held: u64) -> Result<()> {
        let held = u32::try_from(held)?;
        for number in self.held..held {
            fs::write(
                self.state.join(nth(number).to_string()),
                format!("held-{number}\r\neth0"),
            )?;
        }
        self.held = held;
        if held > 0 {
            self.mark_last(held - 1)?;
            let again = (self.plugin).call("ADD", &nowhere(&format!("held-{}", held / 2)));
            ensure!(again.is_err(), "host-local does not know what is held");
        }
        Ok(())
    }

    /// One ADD of a new container; what it held is free again afterwards.
    pub(crate) fn add(&self, container: &str) -> Result<Duration> {
        let (took, result) = self.plugin.call("ADD", &nowhere(container))?;
        let address = address(&result)?;
        let expected = nth(self.held).to_string();
        ensure!(
            address == expected,
            "host-local gave {address} instead of {expected}"
        );
        // Its DEL would read every file too, which takes as long as the ADD.
        fs::remove_file(self.state.join(address))?;
        match self.held {
            0 => fs::remove_file(self.state.join("last_reserved_ip.0"))?,
            held => self.mark_last(held - 1)?,
        }
        Ok(took)
    }

    fn mark_last(&self, number: u32) -> Result<()> {
        Ok(fs::write(
            self.state.join("last_reserved_ip.0"),
            nth(number).to_string(),
        )?)
    }
}

fn nth(number: u32) -> Ipv4Addr {
    Ipv4Addr::from(u32::from(FIRST) + number)
}
