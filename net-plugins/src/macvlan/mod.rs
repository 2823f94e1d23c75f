//! The macvlan plugin: the container gets a link of its own on the network of a parent link.

mod attach;
mod keys;
mod parent;

use cni::{CniResult, Command, Error, Invocation, NetConf, Plugin};
use rtnetlink::packet_route::link::InfoKind;

use crate::ipam::Ipam;
use crate::link::{self, Link};
use crate::netlink::Netlink;
use crate::netns::Netns;
use crate::owner::Owner;
use crate::{detach, expect, garbage, undo};
use attach::Attach;
use keys::{Keys, mode_name};

/// The plugin.
pub struct Macvlan;

impl Plugin for Macvlan {
    fn about(&self) -> &str {
        "CNI macvlan plugin of cluster-ipam"
    }

    fn add(&self, invocation: &Invocation, conf: &NetConf) -> Result<CniResult, Error> {
        let keys = Keys::read(conf, invocation)?;
        let ipam = Ipam::of(invocation, conf);
        match ipam.is_configured() {
            true => ipam.require()?,
            false => crate::keys::check_layer2_version(conf)?,
        }
        let netns = Netns::open(&invocation.netns)?;
        let host = Netlink::host()?;
        host.netns().refuse_same(&netns)?;
        let container = host.enter(netns)?;
        let owner = Owner::of(invocation, conf);
        let attach = Attach {
            owner: &owner,
            keys: &keys,
            ipam: &ipam,
            place: if keys.in_container { &container } else { &host },
            container: &container,
            invocation,
            conf,
        };
        undo::all_or_nothing(|undo| attach.run(undo))
    }

    fn del(&self, invocation: &Invocation, conf: &NetConf) -> Result<(), Error> {
        let host = Netlink::host()?;
        let container = detach::open(&host, invocation)?;
        let owner = Owner::of(invocation, conf);
        let ipam = Ipam::of(invocation, conf);
        // Without a namespace there is no link either: an address whose container is gone is given back.
        let (place, links) = match &container {
            Ok(Some(container)) => (container, find(container, &owner)),
            _ => (&host, Ok(Vec::new())),
        };
        let done = links
            .and_then(|links| detach::delete_and_release(place, &links, &ipam, || Ok(()), || ()));
        undo::all([done, container.map(drop)])
    }

    fn check(&self, invocation: &Invocation, conf: &NetConf) -> Result<(), Error> {
        let keys = Keys::read(conf, invocation)?;
        let (host, container) = expect::container(invocation)?;
        let place = if keys.in_container { &container } else { &host };
        let parent = parent::find(place, &keys)?;
        Ipam::of(invocation, conf).call(Command::Check)?;
        let result = expect::prev_result(conf, "required prevResult missing")?;
        let (index, entry) = expect::entry(&result, invocation)?;
        let link = expect::link(&container, entry, "macvlan")?;
        let (wanted, found) = (Some(keys.mode), link.macvlan_mode);
        if wanted != found {
            let (wanted, found) = (mode_name(keys.mode), found.map_or("none", mode_name));
            return Err(Error::internal(format!(
                "container macvlan mode {found} does not match expected value: {wanted}"
            )));
        }
        if link.lower != Some(parent.index) {
            let (name, parent) = (&link.name, &parent.name);
            return Err(Error::internal(format!(
                "container macvlan {name} is not on {parent:?}"
            )));
        }
        expect::addresses(&container, &link, index, &result)
    }

    fn status(&self, invocation: &Invocation, conf: &NetConf) -> Result<(), Error> {
        let keys = Keys::read(conf, invocation)?;
        if !keys.in_container {
            parent::find(&Netlink::host()?, &keys).map_err(|e| {
                let name = &keys.master;
                Error::not_available(format!("master {name:?}: {}", e.msg))
            })?;
        }
        Ipam::of(invocation, conf).call(Command::Status)
    }

    fn gc(&self, invocation: &Invocation, conf: &NetConf) -> Result<(), Error> {
        // Nothing of a macvlan is on the host: with its namespace it is gone.
        garbage::valid_attachments(conf)?;
        Ipam::of(invocation, conf).call(Command::Gc)
    }
}

/// The container's link, unless it is another's: then this is the DEL of an ADD that found the name taken. And what an ADD
/// left that was killed before it had named it.
fn find(container: &Netlink, owner: &Owner) -> Result<Vec<Link>, Error> {
    let is_ours = |link: &Link| link.is(&InfoKind::MacVlan) && !owner.is_not_in(&link.alias);
    let named = link::find(container, &owner.ifname)?;
    let interim = link::find(container, &owner.interim_name())?;
    Ok(named.into_iter().chain(interim).filter(is_ours).collect())
}
