//! DEL: the link in the container.

use std::thread;

use cni::{Command, Error, Invocation, NetConf};

use crate::ipam::Ipam;
use crate::link::{self, Link};
use crate::netlink::Netlink;
use crate::netns::Netns;
use crate::owner::Owner;
use crate::{garbage, masquerade, undo};

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

/// How the parts of a DEL went.
pub struct Outcome {
    /// Giving the lease back.
    pub lease: Result<(), Error>,
    /// Deleting the link.
    pub link: Result<(), Error>,
    /// Removing masquerading.
    pub masquerade: Result<(), Error>,
}

/// Deletes the owner's veth, from whichever side it can be reached, gives the lease back and removes masquerading. The
/// outer error is one before anything was done.
///
/// The kernel takes tens of milliseconds to delete a link, and some to delete a rule: so everything goes on at once. The
/// link is down before, because its address must not be leased again while it still answers.
pub fn veth(
    host: &Netlink,
    invocation: &Invocation,
    conf: &NetConf,
    owner: &Owner,
) -> Result<Outcome, Error> {
    let container = open(host, invocation)?;
    let doomed = match &container {
        Ok(Some(container)) => find(host, container, owner),
        _ => Ok(None),
    };
    if let (Ok(Some(container)), Ok(Some(link))) = (&container, &doomed) {
        // When this fails, so does deleting it, and tells why.
        let _ = link::try_change(container, link, |message| message.down());
    }
    Ok(thread::scope(|scope| {
        let lease = scope.spawn(|| Ipam::of(invocation, conf).call(Command::Del));
        let masquerade = scope.spawn(|| masquerade::tear_down(owner));
        let link = match (container, doomed) {
            (Ok(Some(container)), Ok(Some(link))) => link::delete(&container, &link),
            (Ok(Some(_)), nothing) => nothing.map(drop),
            (gone, _) => undo::all([garbage::delete_host_end(host, owner), gone.map(drop)]),
        };
        Outcome {
            lease: join(lease),
            link,
            masquerade: join(masquerade),
        }
    }))
}

fn join(work: thread::ScopedJoinHandle<'_, Result<(), Error>>) -> Result<(), Error> {
    work.join()
        .unwrap_or_else(|_| Err(Error::internal("a thread of this DEL panicked")))
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
