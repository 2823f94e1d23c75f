//! DEL: the link in the container.

use cni::{Error, Invocation};

use crate::garbage;
use crate::link::{self, Link};
use crate::netlink::Netlink;
use crate::netns::Netns;
use crate::owner::Owner;

/// The container's namespace on DEL; `None` when it is gone. Its path being something else than a namespace is the
/// inner error: the rest of the DEL is to be done before it is told.
pub type Container = Result<Option<Netlink>, Error>;

/// Opens what is left of the container. Fails at once when it is the host's own namespace.
pub fn open(host: &Netlink, invocation: &Invocation) -> Result<Container, Error> {
    match Netns::open_if_present(&invocation.netns) {
        Ok(None) => Ok(Ok(None)),
        Ok(Some(netns)) => {
            host.netns().refuse_same(&netns)?;
            Ok(Ok(Some(host.enter(netns)?)))
        }
        Err(e) => Ok(Err(e)),
    }
}

/// Deletes the owner's veth, from whichever side it can be reached. The outer error is one before anything was done.
pub fn delete_veth(
    host: &Netlink,
    invocation: &Invocation,
    owner: &Owner,
) -> Result<Result<(), Error>, Error> {
    let container = match open(host, invocation)? {
        Ok(Some(container)) => container,
        Ok(None) => return Ok(garbage::delete_host_end(host, owner)),
        Err(e) => return Ok(garbage::delete_host_end(host, owner).and(Err(e))),
    };
    Ok(delete_container_end(host, &container, owner))
}

fn delete_container_end(host: &Netlink, container: &Netlink, owner: &Owner) -> Result<(), Error> {
    match link::find(container, &owner.ifname)? {
        Some(link) if !is_anothers(host, &link, owner)? => link::delete(container, &link),
        _ => Ok(()),
    }
}

/// Whether the link was made for another attachment: an ADD that failed because the name was taken is followed by a
/// DEL, which must not take the link away from the one who has it.
fn is_anothers(host: &Netlink, link: &Link, owner: &Owner) -> Result<bool, Error> {
    let Some(peer) = link.lower else {
        return Ok(false);
    };
    let alias = link::find_index(host, peer)?.unwrap_or_default().alias;
    Ok(owner.is_not_in(&alias))
}
