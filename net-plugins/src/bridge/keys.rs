//! The bridge plugin's configuration.

use std::collections::BTreeSet;

use cni::{Command, Error, Invocation, NetConf};
use serde::Deserialize;

use crate::keys;
use crate::mac::Mac;
use crate::masquerade::Backend;

const DEFAULT_BRIDGE: &str = "cni0";
const MAX_VLAN: i64 = 4094;

/// The configuration, checked.
pub(super) struct Keys {
    pub(super) bridge: String,
    pub(super) is_gateway: bool,
    pub(super) is_default_gateway: bool,
    pub(super) force_address: bool,
    pub(super) masquerade: Option<Backend>,
    pub(super) mtu: u32,
    pub(super) hairpin: bool,
    pub(super) promiscuous: bool,
    /// 0 is none.
    pub(super) vlan: u16,
    pub(super) trunk: BTreeSet<u16>,
    pub(super) preserve_default_vlan: bool,
    pub(super) spoof_check: bool,
    pub(super) detect_duplicates: bool,
    pub(super) leave_down: bool,
    pub(super) isolated: bool,
    pub(super) mac: Option<Mac>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Wire {
    bridge: String,
    isgateway: bool,
    isdefaultgateway: bool,
    forceaddress: bool,
    ipmasq: bool,
    ipmasqbackend: Option<String>,
    mtu: i64,
    hairpinmode: bool,
    promiscmode: bool,
    vlan: i64,
    vlantrunk: Vec<Trunk>,
    preservedefaultvlan: bool,
    macspoofchk: bool,
    enabledad: bool,
    disablecontainerinterface: bool,
    portisolation: bool,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Trunk {
    minid: Option<i64>,
    maxid: Option<i64>,
    id: Option<i64>,
}

impl Keys {
    /// Reads and checks everything that can be checked without looking at the host.
    pub(super) fn read(conf: &NetConf, invocation: &Invocation) -> Result<Keys, Error> {
        let wire: Wire = keys::read(conf, invocation.command)?;
        let vlan = match u16::try_from(wire.vlan) {
            Ok(vlan) if wire.vlan <= MAX_VLAN => vlan,
            _ => {
                let vlan = wire.vlan;
                let text = format!("invalid VLAN ID {vlan} (must be between 0 and {MAX_VLAN})");
                return Err(Error::internal(text));
            }
        };
        let trunk = trunk(&wire.vlantrunk)?;
        let bridge = match wire.bridge.as_str() {
            "" => DEFAULT_BRIDGE.to_owned(),
            name => name.to_owned(),
        };
        keys::check_link_name("bridge", &bridge)?;
        let backend = Backend::parse(wire.ipmasqbackend.as_deref())?;
        let keys = Keys {
            bridge,
            is_gateway: wire.isgateway || wire.isdefaultgateway,
            is_default_gateway: wire.isdefaultgateway,
            force_address: wire.forceaddress,
            masquerade: wire.ipmasq.then_some(backend),
            mtu: keys::mtu(wire.mtu)?,
            hairpin: wire.hairpinmode,
            promiscuous: wire.promiscmode,
            vlan,
            trunk,
            preserve_default_vlan: wire.preservedefaultvlan,
            spoof_check: wire.macspoofchk,
            detect_duplicates: wire.enabledad,
            leave_down: wire.disablecontainerinterface,
            isolated: wire.portisolation,
            mac: mac(conf, invocation)?,
        };
        keys.check(conf)?;
        Ok(keys)
    }

    /// What contradicts itself.
    fn check(&self, conf: &NetConf) -> Result<(), Error> {
        if self.leave_down && !conf.ipam_type().is_empty() {
            return Err(Error::internal(
                "cannot use IPAM when DisableContainerInterface flag is set",
            ));
        }
        if self.hairpin && self.promiscuous {
            return Err(Error::internal(
                "cannot set hairpin mode and promiscuous mode at the same time",
            ));
        }
        if self.vlan != 0 && self.is_gateway {
            keys::check_link_name("bridge and vlan", &self.vlan_gateway())?;
        }
        Ok(())
    }

    /// Whether ports of this network belong to VLANs.
    pub(super) fn filters_vlans(&self) -> bool {
        self.vlan != 0 || !self.trunk.is_empty()
    }

    /// The name of the link that carries the gateway's address of a VLAN.
    pub(super) fn vlan_gateway(&self) -> String {
        format!("{}.{}", self.bridge, self.vlan)
    }
}

fn mac(conf: &NetConf, invocation: &Invocation) -> Result<Option<Mac>, Error> {
    if invocation.command != Command::Add {
        return Ok(None);
    }
    let args = keys::args(invocation)?;
    let text = |value: Option<&'_ serde_json::Value>| {
        value.and_then(serde_json::Value::as_str).map(str::to_owned)
    };
    let (runtime, convention) = (text(conf.runtime("mac")), text(conf.cni_arg("mac")));
    let sources = [runtime.as_deref(), convention.as_deref(), args.get("MAC")];
    keys::mac(sources, |text| {
        format!("failed to make veth pair: address {text}: invalid MAC address")
    })
}

fn trunk(items: &[Trunk]) -> Result<BTreeSet<u16>, Error> {
    let mut vlans = BTreeSet::new();
    for Trunk { minid, maxid, id } in items {
        match (minid, maxid) {
            (Some(min), Some(max)) => {
                let (min, max) = (vlan("minID", *min)?, vlan("maxID", *max)?);
                if min > max {
                    let text = "minID is greater than maxID in trunk parameter";
                    return Err(Error::internal(text));
                }
                vlans.extend(min..=max);
            }
            (None, Some(_)) => return Err(lonely("minID")),
            (Some(_), None) => return Err(lonely("maxID")),
            (None, None) => {}
        }
        if let Some(id) = id {
            vlans.insert(vlan("id", *id)?);
        }
    }
    Ok(vlans)
}

fn vlan(key: &str, value: i64) -> Result<u16, Error> {
    (u16::try_from(value)
        .ok()
        .filter(|_| (1..=MAX_VLAN).contains(&value)))
    .ok_or_else(|| Error::internal(format!("incorrect trunk {key} parameter")))
}

fn lonely(missing: &str) -> Error {
    Error::internal(format!(
        "minID and maxID should be configured simultaneously, {missing} is missing"
    ))
}
