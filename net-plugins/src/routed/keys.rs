//! The routed plugin's configuration: upstream ptp's keys, and those of a routed network.

use cni::{Error, Invocation, NetConf};
use serde::Deserialize;

use crate::keys;
use crate::masquerade::Backend;

/// The configuration, checked.
pub(super) struct Keys {
    pub(super) masquerade: Option<Backend>,
    pub(super) mtu: u32,
    /// The container's address stands alone (/32, /128) whatever subnet IPAM says.
    pub(super) host_prefix: bool,
    /// The link on which the host answers ARP and neighbour discovery for its containers; empty is none.
    pub(super) uplink: String,
    /// The protocol number, table and metric of the host's routes to containers.
    pub(super) protocol: Option<u8>,
    pub(super) table: Option<u32>,
    pub(super) metric: Option<u32>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Wire {
    ipmasq: bool,
    ipmasqbackend: Option<String>,
    mtu: i64,
    hostprefix: bool,
    uplink: String,
    routeprotocol: Option<i64>,
    routetable: Option<i64>,
    routemetric: Option<i64>,
}

impl Keys {
    /// Reads and checks everything that can be checked without looking at the host.
    pub(super) fn read(conf: &NetConf, invocation: &Invocation) -> Result<Keys, Error> {
        let wire: Wire = keys::read(conf, invocation.command)?;
        if !wire.uplink.is_empty() {
            keys::check_link_name("uplink", &wire.uplink)?;
        }
        let backend = Backend::parse(wire.ipmasqbackend.as_deref())?;
        let protocol = number("routeProtocol", wire.routeprotocol, i64::from(u8::MAX))?;
        Ok(Keys {
            masquerade: wire.ipmasq.then_some(backend),
            mtu: keys::mtu(wire.mtu)?,
            host_prefix: wire.hostprefix,
            uplink: wire.uplink,
            protocol: protocol.and_then(|number| u8::try_from(number).ok()),
            table: number("routeTable", wire.routetable, i64::from(u32::MAX))?,
            metric: number("routeMetric", wire.routemetric, i64::from(u32::MAX))?,
        })
    }
}

fn number(key: &str, value: Option<i64>, most: i64) -> Result<Option<u32>, Error> {
    let check = |value: i64| {
        (u32::try_from(value)
            .ok()
            .filter(|_| (1..=most).contains(&value)))
        .ok_or_else(|| Error::invalid_config(format!("{key} is {value}, must be from 1 to {most}")))
    };
    value.map(check).transpose()
}
