//! The bridge plugin: a veth whose host end is a port of a bridge that all containers of the network share.

mod attach;
mod check;
mod gateway;
mod keys;
mod port;
mod switch;

use cni::{CniResult, Command, Error, Invocation, NetConf, Plugin};
use rtnetlink::packet_route::link::InfoKind;

use crate::ipam::Ipam;
use crate::netlink::Netlink;
use crate::netns::Netns;
use crate::owner::Owner;
use crate::spoofcheck::{self, SpoofCheck};
use crate::{detach, expect, garbage, link, undo};
use attach::Attach;
use keys::Keys;

/// The plugin.
pub struct Bridge;

impl Plugin for Bridge {
    fn about(&self) -> &str {
        "CNI bridge plugin of cluster-ipam"
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
            keys: &keys,
            ipam: &ipam,
            host: &host,
            container: &container,
            owner: &owner,
            invocation,
            conf,
        };
        undo::all_or_nothing(|undo| attach.run(undo))
    }

    fn del(&self, invocation: &Invocation, conf: &NetConf) -> Result<(), Error> {
        let host = Netlink::host()?;
        let owner = Owner::of(invocation, conf);
        let done = detach::veth(&host, invocation, conf, &owner, || Ok(()))?;
        let spoof_check = SpoofCheck::of(&owner.container_id, &owner.ifname);
        let wanted = checks_spoofing(invocation, conf);
        let spoof_check = spoof_check.tear_down_for(&owner, &host, wanted);
        undo::all([done.link_and_lease, spoof_check, done.masquerade])
    }

    fn check(&self, invocation: &Invocation, conf: &NetConf) -> Result<(), Error> {
        let keys = Keys::read(conf, invocation)?;
        crate::keys::args(invocation)?;
        let (host, container) = expect::container(invocation)?;
        Ipam::of(invocation, conf).call(Command::Check)?;
        check::run(&keys, invocation, conf, &host, &container)
    }

    fn status(&self, invocation: &Invocation, conf: &NetConf) -> Result<(), Error> {
        let keys = Keys::read(conf, invocation)?;
        let name = &keys.bridge;
        match link::find(&Netlink::host()?, name)? {
            Some(other) if !other.is(&InfoKind::Bridge) => Err(Error::not_available(format!(
                "link {name:?} exists but is not a bridge"
            ))),
            _ => Ipam::of(invocation, conf).call(Command::Status),
        }
    }

    fn gc(&self, invocation: &Invocation, conf: &NetConf) -> Result<(), Error> {
        let ipam = Ipam::of(invocation, conf);
        let collected = garbage::collect(&Netlink::host()?, &ipam, conf, || Ok(()));
        match checks_spoofing(invocation, conf) {
            true => undo::all([collected, spoofcheck::delete_idle_table()]),
            false => collected,
        }
    }
}

/// Whether the network has its interfaces checked. An empty table may be anybody's where it has not.
fn checks_spoofing(invocation: &Invocation, conf: &NetConf) -> bool {
    Keys::read(conf, invocation).is_ok_and(|keys| keys.spoof_check)
}
