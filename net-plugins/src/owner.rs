//! Whose a host-side object is: the mark by which it is found again when addresses and namespaces are gone.

use cni::{Invocation, NetConf};
use sha2::{Digest, Sha512};

/// nft's limit for a comment, in bytes.
const COMMENT_MAX: usize = 128;

/// The attachment that owns something on the host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owner {
    /// The network's name.
    pub network: String,
    /// The container's id.
    pub container_id: String,
    /// The interface's name in the container.
    pub ifname: String,
}

impl Owner {
    /// The attachment that a call is about.
    pub fn of(invocation: &Invocation, conf: &NetConf) -> Owner {
        Owner {
            network: conf.name.clone(),
            container_id: invocation.container_id.clone(),
            ifname: invocation.ifname.clone(),
        }
    }

    /// The mark of one attachment: 33 characters. Upstream's plugins make the same, so that either can clean up after
    /// the other.
    pub fn mark(&self) -> String {
        let instance = format!("{}:{}", self.ifname, self.container_id);
        format!(
            "{}{}",
            network_mark(&self.network),
            sha512_hex(&instance, 16)
        )
    }

    /// The name of a link that is not yet what it shall be called: found again by a DEL, also when there is no alias yet.
    pub fn interim_name(&self) -> String {
        format!("veth{}", sha512_hex(&self.mark(), 11))
    }

    /// Whether a link's alias says that it was made for another attachment. One without a mark was made by others than
    /// these plugins, or by an older one.
    pub fn is_not_in(&self, alias: &str) -> bool {
        alias.contains(", net: ") && !alias.starts_with(&self.mark())
    }

    /// The mark followed by words for people, cut at nft's limit.
    pub fn comment(&self) -> String {
        let mark = self.mark();
        let Owner {
            network,
            container_id,
            ifname,
        } = self;
        let comment = format!("{mark}, net: {network}, if: {ifname}, id: {container_id}");
        // Names and ids are ASCII, an interface name may be anything.
        let clean = comment.replace('"', "");
        let cut = (0..=clean.len().min(COMMENT_MAX))
            .rev()
            .find(|i| clean.is_char_boundary(*i));
        clean[..cut.unwrap_or_default()].to_owned()
    }
}

/// How the marks of all attachments of a network begin.
pub fn network_mark(network: &str) -> String {
    format!("{}-", sha512_hex(network, 16))
}

/// The first `digits` hexadecimal digits of the text's SHA-512.
pub(crate) fn sha512_hex(text: &str, digits: usize) -> String {
    let hash = Sha512::digest(text.as_bytes());
    let mut hex: String = hash.iter().map(|byte| format!("{byte:02x}")).collect();
    hex.truncate(digits);
    hex
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_comment_begins_with_the_mark_and_fits() {
        let owner = Owner {
            network: "net".into(),
            container_id: "c".repeat(200),
            ifname: "eth0".into(),
        };
        assert_eq!(owner.mark().len(), 33);
        assert_eq!(owner.comment().len(), 128);
        assert!(
            owner
                .comment()
                .starts_with(&format!("{}, net: net, if: eth0, id: cc", owner.mark()))
        );
        assert!(owner.mark().starts_with(&network_mark("net")));
        // sha512("abc") begins with ddaf35a193617aba.
        assert_eq!(sha512_hex("abc", 16), "ddaf35a193617aba");
    }
}
