//! DEL: the link in the container.

use std::thread;

use cni::{Command, Error, Invocation, NetConf};

use crate::ipam::Ipam;
use crate::link::{self, Link};
use crate::netlink::Netlink;
use crate::netns::Netns;
use crate::owner::Owner;
use crate::{garbage, undo};

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

/// Deletes the owner's veth, from whichever side it can be reached, and gives the lease back. Returns how either went;
/// the outer error is one before anything was done.
///
/// The kernel takes tens of milliseconds to delete a link, and IPAM runs meanwhile. The link is down by then: its address
/// must not be leased again while it still answers.
pub fn veth_and_lease(
    host: &Netlink,
    invocation: &Invocation,
    conf: &NetConf,
    owner: &Owner,
) -> Result<[Result<(), Error>; 2], Error> {
    let give_back = || Ipam::of(invocation, conf).call(Command::Del);
    let container = match open(host, invocation)? {
        Ok(Some(container)) => container,
        gone => {
            let deleted = garbage::delete_host_end(host, owner);
            return Ok([give_back(), undo::all([deleted, gone.map(drop)])]);
        }
    };
    let doomed = match find(host, &container, owner) {
        Ok(Some(link)) => link,
        nothing => return Ok([give_back(), nothing.map(drop)]),
    };
    // When this fails, so does deleting it, and tells why.
    let _ = link::try_change(&container, &doomed, |message| message.down());
    Ok(thread::scope(|scope| {
        let lease = scope.spawn(give_back);
        let link = link::delete(&container, &doomed);
        let lease = lease.join().unwrap_or_else(|_| {
            Err(Error::internal(
                "the thread that called the IPAM plugin panicked",
            ))
        });
        [lease, link]
    }))
}

fn find(host: &Netlink, container: &Netlink, owner: &Owner) -> Result<Option<Link>, Error> {
    match link::find(container, &owner.ifname)? {
        Some(link) if !is_anothers(host, &link, owner)? => Ok(Some(link)),
        _ => Ok(None),
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
