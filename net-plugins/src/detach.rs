//! DEL: the link in the container, and its lease.

use std::thread;

use cni::{Command, Error, Invocation, NetConf};
use rtnetlink::packet_route::link::InfoKind;

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
    /// Deleting the link and giving the lease back.
    pub link_and_lease: Result<(), Error>,
    /// Removing masquerading.
    pub masquerade: Result<(), Error>,
}

/// Deletes the owner's veth, from whichever side it can be reached, gives the lease back and removes masquerading. What
/// else answers for the address is stopped by `silence`. The outer error is one before anything was done.
pub fn veth(
    host: &Netlink,
    invocation: &Invocation,
    conf: &NetConf,
    owner: &Owner,
    silence: impl FnOnce() -> Result<(), Error>,
) -> Result<Outcome, Error> {
    let container = open(host, invocation)?;
    let (place, links) = match &container {
        Ok(Some(container)) => (container, find(host, container, owner)),
        _ => (host, garbage::host_ends(host, owner)),
    };
    let ipam = Ipam::of(invocation, conf);
    let mut masquerade = None;
    let meanwhile = || masquerade = Some(masquerade::tear_down(owner));
    let done = links.and_then(|links| delete_and_release(place, &links, &ipam, silence, meanwhile));
    Ok(Outcome {
        link_and_lease: undo::all([done, container.as_ref().map(drop).map_err(Error::clone)]),
        masquerade: masquerade.unwrap_or_else(|| masquerade::tear_down(owner)),
    })
}

/// Deletes the container's links and gives the lease back once nothing answers for the address any more: another may
/// hold it in the next moment. When the links can neither be set down nor deleted, or `silence` fails, the lease is
/// kept and this fails, so that the runtime calls again.
///
/// The kernel takes tens of milliseconds to delete a link, for which the lease need not wait: a link that is down does
/// not answer. `meanwhile` has as much time, and is done only then: by the same thread, since another would keep the
/// deletion from its start, and after the lease, which nothing else is to hold up.
pub fn delete_and_release(
    place: &Netlink,
    links: &[Link],
    ipam: &Ipam<'_>,
    silence: impl FnOnce() -> Result<(), Error>,
    meanwhile: impl FnOnce() + Send,
) -> Result<(), Error> {
    let delete = || undo::all(links.iter().map(|link| link::delete(place, link)));
    if ipam.says_goodbye_over_link() {
        return undo::all([ipam.call(Command::Del), silence(), delete()]);
    }
    let set_down = |link| link::try_change(place, link, |message| message.down());
    // A link that is gone by now cannot be set down, but deleted.
    let are_down = !links.iter().map(set_down).any(|outcome| outcome.is_err());
    // The links stay while this fails: the routes over them tell the next DEL the addresses.
    silence()?;
    if !are_down {
        delete()?;
        return ipam.call(Command::Del);
    }
    thread::scope(|scope| {
        let lease = scope.spawn(|| {
            let given_back = ipam.call(Command::Del);
            meanwhile();
            given_back
        });
        let deleted = delete();
        undo::all([join(lease), deleted])
    })
}

fn join(work: thread::ScopedJoinHandle<'_, Result<(), Error>>) -> Result<(), Error> {
    work.join()
        .unwrap_or_else(|_| Err(Error::internal("a thread of this DEL panicked")))
}

fn find(host: &Netlink, container: &Netlink, owner: &Owner) -> Result<Vec<Link>, Error> {
    let found = link::find(container, &owner.ifname)?.filter(|link| link.is(&InfoKind::Veth));
    match found {
        Some(link) if !is_anothers(host, &link, owner)? => Ok(vec![link]),
        _ => Ok(Vec::new()),
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
