//! How addresses and numbers are written in results, and the shape of results before 0.3.0.

use std::net::IpAddr;

use ipnetwork::IpNetwork;
use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize};

use super::{Dns, Route};

/// A result of 0.1.0 and 0.2.0: at most one address per family, the routes inside.
#[derive(Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Early {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) ip4: Option<EarlyIp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) ip6: Option<EarlyIp>,
    pub(super) dns: Dns,
}

#[derive(Serialize, Deserialize)]
pub(super) struct EarlyIp {
    #[serde(deserialize_with = "cidr")]
    pub(super) ip: IpNetwork,
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "address"
    )]
    pub(super) gateway: Option<IpAddr>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) routes: Vec<Route>,
}

/// `address/prefix length`. Stricter than `IpNetwork`'s own reading, which takes a bare address for a host's and a
/// netmask for a length: a plugin that prints those means something else.
pub(super) fn cidr<'de, D: Deserializer<'de>>(deserializer: D) -> Result<IpNetwork, D::Error> {
    let text = String::deserialize(deserializer)?;
    let digits_only =
        |prefix: &str| !prefix.is_empty() && prefix.bytes().all(|b| b.is_ascii_digit());
    match text.split_once('/') {
        Some((_, prefix)) if digits_only(prefix) => text.parse().ok(),
        _ => None,
    }
    .ok_or_else(|| D::Error::custom(format!("invalid CIDR address: {text}")))
}

/// An address; the empty text is none.
pub(super) fn address<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<IpAddr>, D::Error> {
    let text = Option::<String>::deserialize(deserializer)?.unwrap_or_default();
    if text.is_empty() {
        return Ok(None);
    }
    let address: IpAddr =
        (text.parse()).map_err(|_| D::Error::custom(format!("invalid IP address: {text}")))?;
    Ok(Some(address.to_canonical()))
}

/// A number for which 0 means "not set".
pub(super) fn non_zero<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<u32>, D::Error> {
    Ok(Option::<u32>::deserialize(deserializer)?.filter(|n| *n != 0))
}
