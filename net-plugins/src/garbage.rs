//! GC: what a network's attachments left on the host although they are not valid any more.

use std::collections::HashSet;

use cni::{Error, NetConf, ValidAttachment};

use crate::netlink::Netlink;
use crate::owner::{Owner, network_mark};
use crate::{link, masquerade, spoofcheck, undo};

/// Removes masquerading, host ends of veths and spoofing checks of the network's attachments that are not in `valid`.
/// Goes on after a failure.
pub fn collect(host: &Netlink, network: &str, valid: &[ValidAttachment]) -> Result<(), Error> {
    let rules = masquerade::collect(network, valid);
    let links = collect_links(host, network, valid);
    let checks = link::list(host).and_then(|links| {
        let names: HashSet<_> = links.iter().map(|link| link.name.as_str()).collect();
        spoofcheck::collect(&names)
    });
    undo::all([rules, links, checks])
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

/// Deletes the host's end of the owner's veth, for a DEL that finds no namespace: it may still be in use, or half-built.
pub fn delete_host_end(host: &Netlink, owner: &Owner) -> Result<(), Error> {
    let mark = owner.mark();
    let links = link::list(host)?;
    let mine = links.iter().filter(|link| link.alias.starts_with(&mark));
    undo::all(mine.map(|link| link::delete(host, link)))
}

/// The attachments that are still valid. No list at all is refused: it must never be taken for an empty one.
pub fn valid_attachments(conf: &NetConf) -> Result<&[ValidAttachment], Error> {
    conf.valid_attachments.as_deref().ok_or_else(|| {
        Error::invalid_config("GC: cni.dev/valid-attachments is missing; nothing was removed")
    })
}
