//! The macvlan plugin's configuration.

use cni::{Command, Error, Invocation, NetConf};
use rtnetlink::packet_route::link::MacVlanMode;
use serde::Deserialize;

use crate::keys;
use crate::mac::Mac;

/// The configuration, checked.
pub(super) struct Keys {
    /// Empty: the link of the default route.
    pub(super) master: String,
    pub(super) mode: MacVlanMode,
    /// 0 is the parent's.
    pub(super) mtu: i64,
    pub(super) in_container: bool,
    pub(super) broadcast_queue: Option<u32>,
    pub(super) mac: Option<Mac>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Wire {
    master: String,
    mode: String,
    mtu: i64,
    mac: String,
    linkincontainer: bool,
    bcqueuelen: u32,
}

impl Keys {
    /// Reads and checks everything that can be checked without looking at the parent.
    pub(super) fn read(conf: &NetConf, invocation: &Invocation) -> Result<Keys, Error> {
        let wire: Wire = keys::read(conf, invocation.command)?;
        if !wire.master.is_empty() {
            keys::check_link_name("master", &wire.master)?;
        }
        Ok(Keys {
            mode: mode(&wire.mode)?,
            mtu: wire.mtu,
            in_container: wire.linkincontainer,
            broadcast_queue: (wire.bcqueuelen != 0).then_some(wire.bcqueuelen),
            mac: mac(conf, invocation, &wire.mac)?,
            master: wire.master,
        })
    }
}

fn mode(text: &str) -> Result<MacVlanMode, Error> {
    match text {
        "" | "bridge" => Ok(MacVlanMode::Bridge),
        "private" => Ok(MacVlanMode::Private),
        "vepa" => Ok(MacVlanMode::Vepa),
        "passthru" => Ok(MacVlanMode::Passthrough),
        other => Err(Error::internal(format!("unknown macvlan mode: {other:?}"))),
    }
}

/// The name under which a configuration knows the mode.
pub(super) fn mode_name(mode: MacVlanMode) -> &'static str {
    match mode {
        MacVlanMode::Bridge => "bridge",
        MacVlanMode::Private => "private",
        MacVlanMode::Vepa => "vepa",
        MacVlanMode::Passthrough => "passthru",
        _ => "unknown",
    }
}

fn mac(conf: &NetConf, invocation: &Invocation, key: &str) -> Result<Option<Mac>, Error> {
    if !matches!(invocation.command, Command::Add | Command::Check) {
        return Ok(None);
    }
    let args = keys::args(invocation)?;
    let runtime = conf.runtime("mac").and_then(|value| value.as_str());
    keys::mac([runtime, args.get("MAC"), Some(key)], |text| {
        format!("invalid args {text} for MAC addr: address {text}: invalid MAC address")
    })
}
