//! GC: what a network's attachments left on the host although they are not valid any more.

use cni::{Command, Error, NetConf, ValidAttachment};

use crate::ipam::Ipam;
use crate::link::{self, Link};
use crate::netlink::Netlink;
use crate::owner::{Owner, network_mark};
use crate::{masquerade, spoofcheck, undo};

/// Removes host ends of veths, masquerading and spoofing checks of the network's attachments that are not valid any
/// more, and has IPAM collect their leases. What else answers for their addresses is stopped by `silence`.
///
/// IPAM is asked when nothing answers any more for what it will give away; while something does, the leases stay until
/// the next GC. Nothing else holds anything up.
pub fn collect(
    host: &Netlink,
    ipam: &Ipam<'_>,
    conf: &NetConf,
    silence: impl FnOnce() -> Result<(), Error>,
) -> Result<(), Error> {
    let valid = valid_attachments(conf)?;
    let links = collect_links(host, &conf.name, valid);
    let silenced = undo::all([links, silence()]);
    let leases = silenced.and_then(|()| ipam.call(Command::Gc));
    let rules = masquerade::collect(&conf.name, valid);
    undo::all([leases, rules, spoofcheck::collect(host)])
}

fn collect_links(host: &Netlink, network: &str, valid: &[ValidAttachment]) -> Result<(), Error> {
    let ours = network_mark(network);
    let marks = masquerade::marks(network, valid);
    let is_stale = |alias: &str| {
        let mark = alias.get(..ours.len() + 16).unwrap_or_default();
        alias.starts_with(&ours) && !marks.contains(mark)
    };
    let links = link::list(host)?;
    let stale = links.iter().filter(|link| is_stale(&link.alias));
    undo::all(stale.map(|link| link::delete(host, link)))
}

/// The host's end of the owner's veth, for a DEL that finds no namespace: it may still be in use, or half-built.
pub fn host_ends(host: &Netlink, owner: &Owner) -> Result<Vec<Link>, Error> {
    let mark = owner.mark();
    let mut links = link::list(host)?;
    links.retain(|link| link.alias.starts_with(&mark));
    Ok(links)
}

/// The attachments that are still valid. No list at all is refused: it must never be taken for an empty one.
pub fn valid_attachments(conf: &NetConf) -> Result<&[ValidAttachment], Error> {
    conf.valid_attachments.as_deref().ok_or_else(|| {
        Error::invalid_config("GC: cni.dev/valid-attachments is missing; nothing was removed")
    })
}
