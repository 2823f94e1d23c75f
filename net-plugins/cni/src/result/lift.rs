//! From a result of any version (a delegate's, `prevResult`) up to today's.

use serde::Deserialize;
use serde_json::Value;

use super::wire::{Early, EarlyIp};
use super::{CniResult, Dns, Interface, Ip, Route};
use crate::error::{Error, INCOMPATIBLE_VERSION};
use crate::json::folded_object;
use crate::version::Version;

/// A result from 0.3.0 on. `ips[].version` of the older ones says what the address says anyway.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Lists {
    interfaces: Vec<Interface>,
    ips: Vec<Ip>,
    routes: Vec<Route>,
    dns: Dns,
}

impl CniResult {
    /// Reads a result object. Without a `cniVersion` of its own it is in `config`'s version. Code 6 when it does not
    /// decode, 1 when its version is unknown.
    pub fn from_json(value: &Value, config: Version) -> Result<CniResult, Error> {
        let value = folded_object(value).map_err(undecodable)?;
        let version = match value.get("cniversion") {
            None => config,
            Some(given) => match given.as_str() {
                Some("") => config,
                Some(text) => Version::parse(text).ok_or_else(|| unknown(text))?,
                None => return Err(Error::decode("result: cniVersion is not a string")),
            },
        };
        if version < Version::V0_3_0 {
            return Ok(from_early(Early::deserialize(value).map_err(undecodable)?));
        }
        let lists = Lists::deserialize(value).map_err(undecodable)?;
        Ok(CniResult {
            interfaces: lists.interfaces,
            ips: lists.ips,
            routes: lists.routes,
            dns: lists.dns,
        })
    }
}

fn from_early(early: Early) -> CniResult {
    let mut result = CniResult {
        dns: early.dns,
        ..CniResult::default()
    };
    for EarlyIp {
        ip,
        gateway,
        routes,
    } in [early.ip4, early.ip6].into_iter().flatten()
    {
        result.ips.push(Ip {
            interface: None,
            address: ip,
            gateway,
        });
        result.routes.extend(routes);
    }
    result
}

fn unknown(version: &str) -> Error {
    Error::new(
        INCOMPATIBLE_VERSION,
        format!("unsupported CNI result version {version:?}"),
    )
}

fn undecodable(error: serde_json::Error) -> Error {
    Error::decode(format!("error unmarshall result: {error}"))
}
