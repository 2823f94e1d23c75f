//! What a client asks for: an attachment and the entries that need one address each.

use std::fmt;
use std::net::IpAddr;

use serde::{Deserialize, Deserializer, Serialize};

use crate::DEFAULT_CLUSTER;

/// What a CNI ADD is about; the key of idempotence. The node is part of it, because two hosts do make the same
/// container id (cnitool derives it from the namespace's path, checkpoint/restore keeps it).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Attachment {
    /// The cluster that the node belongs to; `default` where there is one only.
    #[serde(default = "default_cluster")]
    pub cluster: String,
    /// The node's name.
    pub node: String,
    /// The CNI network's name.
    pub network: String,
    /// `CNI_CONTAINERID`.
    pub container_id: String,
    /// `CNI_IFNAME`.
    pub ifname: String,
}

impl fmt::Display for Attachment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            cluster,
            node,
            network,
            container_id,
            ifname,
        } = self;
        write!(f, "{cluster}/{node}/{network}/{container_id}/{ifname}")
    }
}

/// The pod that an attachment is for, as far as the runtime tells.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pod {
    /// `K8S_POD_NAMESPACE`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// `K8S_POD_NAME`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// `K8S_POD_UID`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uid: Option<String>,
}

/// One address is wanted from the first of these pools that has one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// Pool names, tried in order.
    pub pools: Vec<String>,
}

/// `POST /v1/leases`: lease one address per entry to the attachment, all or nothing.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Claim {
    /// Who is to hold the addresses.
    pub attachment: Attachment,
    /// The machine's id (`/etc/machine-id`); callers that are not plugins leave it out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub machine_id: Option<String>,
    /// The boot that the machine is in (`/proc/sys/kernel/random/boot_id`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub boot_id: Option<String>,
    /// When the verb was issued: `CLOCK_BOOTTIME` nanoseconds at the plugin's start. It orders verbs of one boot.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub issued: Option<i64>,
    /// The pod's identity, recorded on the lease.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod: Option<Pod>,
    /// Reserved for identities that outlive containers; refused until they are built.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
    /// One address is leased for each.
    pub entries: Vec<Entry>,
    /// Addresses that must be given; each goes to the first entry whose pools may lease it. A prefix length is ignored.
    #[serde(
        default,
        skip_serializing_if = "Vec::is_empty",
        deserialize_with = "addresses"
    )]
    pub wanted: Vec<IpAddr>,
    /// Milliseconds from arrival after which no transaction is begun for this claim.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deadline_ms: Option<u64>,
}

pub(crate) fn default_cluster() -> String {
    DEFAULT_CLUSTER.to_owned()
}

/// Reads addresses, with or without a prefix length (`10.1.7.7` and `10.1.7.7/16` ask for the same).
fn addresses<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<IpAddr>, D::Error> {
    Vec::<String>::deserialize(deserializer)?
        .iter()
        .map(|text| {
            let bare = text
                .split_once('/')
                .map_or(text.as_str(), |(address, _)| address);
            bare.parse().map_err(|_| {
                serde::de::Error::custom(format!("wanted: {text:?} is not an address"))
            })
        })
        .collect()
}
