//! The result of ADD in the newest version's terms. Inside a plugin there is only this form; [`CniResult::from_json`]
//! lifts older ones to it and [`CniResult::to_json`] lowers it to what the runtime speaks.

mod lift;
mod lower;
mod wire;

#[cfg(test)]
mod tests;

use std::net::IpAddr;

use ipnetwork::IpNetwork;
use serde::{Deserialize, Serialize};

/// What ADD has made.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CniResult {
    /// Every interface that was made, the host's side included. Empty for an IPAM plugin.
    pub interfaces: Vec<Interface>,
    /// The addresses.
    pub ips: Vec<Ip>,
    /// The routes of the container.
    pub routes: Vec<Route>,
    /// The name servers of the network.
    pub dns: Dns,
}

/// An interface. Empty texts are left out of the JSON.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Interface {
    /// Its name.
    pub name: String,
    /// Its hardware address.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub mac: String,
    /// Its MTU in bytes (1.1.0).
    #[serde(
        skip_serializing_if = "Option::is_none",
        deserialize_with = "wire::non_zero"
    )]
    pub mtu: Option<u32>,
    /// The value of `CNI_NETNS` for one inside the container, empty for one on the host.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub sandbox: String,
    /// The path of a socket (1.1.0).
    #[serde(
        rename = "socketPath",
        alias = "socketpath",
        skip_serializing_if = "String::is_empty"
    )]
    pub socket_path: String,
    /// The PCI device (1.1.0).
    #[serde(
        rename = "pciID",
        alias = "pciid",
        skip_serializing_if = "String::is_empty"
    )]
    pub pci_id: String,
}

/// An address.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ip {
    /// Index into [`CniResult::interfaces`]; absent in an IPAM plugin's result.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interface: Option<u32>,
    /// The address with the length of its subnet's prefix.
    #[serde(deserialize_with = "wire::cidr")]
    pub address: IpNetwork,
    /// The subnet's gateway.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "wire::address"
    )]
    pub gateway: Option<IpAddr>,
}

/// A route. What is absent is the kernel's default.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Route {
    /// The destination.
    #[serde(deserialize_with = "wire::cidr")]
    pub dst: IpNetwork,
    /// The next hop; absent means the gateway of that family.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "wire::address"
    )]
    pub gw: Option<IpAddr>,
    /// MTU in bytes along the path.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "wire::non_zero"
    )]
    pub mtu: Option<u32>,
    /// The largest TCP segment to advertise, in bytes.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "wire::non_zero"
    )]
    pub advmss: Option<u32>,
    /// Its priority; lower wins.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "wire::non_zero"
    )]
    pub priority: Option<u32>,
    /// The routing table.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub table: Option<u32>,
    /// The scope: 0 global, 253 link, 254 host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scope: Option<u32>,
}

impl Route {
    /// A route with nothing but destination and next hop.
    pub fn new(dst: IpNetwork, gw: Option<IpAddr>) -> Self {
        Self {
            dst,
            gw,
            mtu: None,
            advmss: None,
            priority: None,
            table: None,
            scope: None,
        }
    }
}

/// Name servers. What is empty is left out of the JSON.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Dns {
    /// Addresses of name servers, in order of preference.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub nameservers: Vec<String>,
    /// The local domain.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub domain: String,
    /// Search domains, in order.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub search: Vec<String>,
    /// Options for the resolver.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub options: Vec<String>,
}

impl Dns {
    /// Whether it says nothing.
    pub fn is_empty(&self) -> bool {
        *self == Dns::default()
    }
}
