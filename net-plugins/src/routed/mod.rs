//! The routed plugin: a veth between container and host, and a route to each container. Takes the keys of upstream's ptp.

mod attach;
mod check;
mod detach;
mod keys;
mod plan;

use cni::{CniResult, Command, Error, Invocation, NetConf, Plugin};

use crate::ipam::Ipam;
use crate::link::{self, Link};
use crate::netlink::Netlink;
use crate::netns::Netns;
use crate::owner::Owner;
use crate::{expect, garbage, undo};
use attach::Attach;
use keys::Keys;

/// The plugin.
pub struct Routed;

impl Plugin for Routed {
    fn about(&self) -> &str {
        "CNI routed plugin of cluster-ipam"
    }

    fn add(&self, invocation: &Invocation, conf: &NetConf) -> Result<CniResult, Error> {
        let keys = Keys::read(conf, invocation)?;
        refuse_dhcp(conf)?;
        let ipam = Ipam::of(invocation, conf);
        ipam.require()?;
        let netns = Netns::open(&invocation.netns)?;
        let host = Netlink::host()?;
        host.netns().refuse_same(&netns)?;
        let container = host.enter(netns)?;
        let uplink = uplink(&host, &keys)?;
        let owner = Owner::of(invocation, conf);
        let attach = Attach {
            keys: &keys,
            ipam: &ipam,
            host: &host,
            container: &container,
            uplink: uplink.as_ref(),
            owner: &owner,
            invocation,
            conf,
        };
        undo::all_or_nothing(|undo| attach.run(undo))
    }

    fn del(&self, invocation: &Invocation, conf: &NetConf) -> Result<(), Error> {
        let host = Netlink::host()?;
        let owner = Owner::of(invocation, conf);
        let keys = Keys::read(conf, invocation);
        let has_uplink = keys.map_or(true, |keys| !keys.uplink.is_empty());
        let addresses = match has_uplink {
            true => detach::addresses(&host, &owner, conf)?,
            false => Vec::new(),
        };
        let silence = || detach::stop_answering(&host, &addresses, Some(&owner));
        let done = crate::detach::veth(&host, invocation, conf, &owner, silence)?;
        undo::all([done.link_and_lease, done.masquerade])
    }

    fn check(&self, invocation: &Invocation, conf: &NetConf) -> Result<(), Error> {
        let keys = Keys::read(conf, invocation)?;
        let ipam = Ipam::of(invocation, conf);
        ipam.require()?;
        let (host, container) = expect::container(invocation)?;
        ipam.call(Command::Check)?;
        check::run(&keys, invocation, conf, &host, &container)
    }

    fn status(&self, invocation: &Invocation, conf: &NetConf) -> Result<(), Error> {
        let keys = Keys::read(conf, invocation)?;
        refuse_dhcp(conf)?;
        let ipam = Ipam::of(invocation, conf);
        ipam.require()?;
        uplink(&Netlink::host()?, &keys).map_err(|e| {
            let name = &keys.uplink;
            Error::not_available(format!("uplink {name:?}: {}", e.msg))
        })?;
        ipam.call(Command::Status)
    }

    fn gc(&self, invocation: &Invocation, conf: &NetConf) -> Result<(), Error> {
        let host = Netlink::host()?;
        let ipam = Ipam::of(invocation, conf);
        garbage::collect(&host, &ipam, conf, || detach::collect(&host))
    }
}

/// A DHCP client asks over the container's link, which is made here for the address that it gets. Nor is there a server on
/// a link that ends at the host.
fn refuse_dhcp(conf: &NetConf) -> Result<(), Error> {
    match conf.ipam_type() {
        "dhcp" => Err(Error::invalid_config(
            "ipam type \"dhcp\" cannot serve routed, which needs the address before there is a link to ask over; \
             bridge and macvlan make the link first",
        )),
        _ => Ok(()),
    }
}

/// The link on which the host answers for its containers, if the configuration names one.
fn uplink(host: &Netlink, keys: &Keys) -> Result<Option<Link>, Error> {
    match keys.uplink.as_str() {
        "" => Ok(None),
        name => link::get(host, name).map(Some),
    }
}
