//! ADD, step by step. The link comes before the lease: a DHCP client sends from it.

use cni::{CniResult, Error, Interface, Invocation, NetConf};
use nix::errno::Errno;
use rtnetlink::LinkMacVlan;
use rtnetlink::packet_route::link::{InfoMacVlan, MacVlanMode};

use super::keys::Keys;
use super::parent;
use crate::announce;
use crate::ipam::{self, Ipam};
use crate::link::{self, Link};
use crate::netlink::Netlink;
use crate::owner::Owner;
use crate::undo::Undo;

/// An ADD under way.
pub(super) struct Attach<'a> {
    pub(super) keys: &'a Keys,
    pub(super) ipam: &'a Ipam<'a>,
    /// Where the parent is.
    pub(super) place: &'a Netlink,
    pub(super) container: &'a Netlink,
    pub(super) owner: &'a Owner,
    pub(super) invocation: &'a Invocation,
    pub(super) conf: &'a NetConf,
}

impl<'a> Attach<'a> {
    pub(super) fn run(&self, undo: &mut Undo<'a>) -> Result<CniResult, Error> {
        let interface = self.make_link(undo)?;
        let mut result = CniResult::default();
        if self.ipam.is_configured() {
            result = self.ipam.add(undo)?;
            self.ipam.silence_on_undo(self.container, &interface, undo);
            for ip in &mut result.ips {
                ip.interface = Some(0);
            }
            announce::enable(self.container, &interface)?;
            ipam::configure(self.container, &interface, 0, &result, undo)?;
            announce::now(self.container, &interface)?;
        } else {
            link::set_up(self.container, &interface)?;
        }
        result.interfaces = vec![Interface {
            name: interface.name.clone(),
            mac: interface.mac_text(),
            mtu: Some(interface.mtu),
            sandbox: self.invocation.netns.clone(),
            ..Interface::default()
        }];
        if let Some(dns) = &self.conf.dns {
            result.dns = dns.clone();
        }
        Ok(result)
    }

    /// Makes the link right in the container, first under a name that clashes with nothing: the kernel looks for the
    /// name on the host too.
    fn make_link(&self, undo: &mut Undo<'a>) -> Result<Link, Error> {
        let Attach {
            keys,
            place,
            container,
            ..
        } = *self;
        let parent = parent::find(place, keys)?;
        let name = self.owner.interim_name();
        let mut message = LinkMacVlan::new(&name, parent.index, keys.mode)
            .mtu(parent::mtu(&parent, keys)?)
            .setns_by_fd(container.netns().fd());
        if let Some(mac) = keys.mac {
            message = message.address(mac.bytes().to_vec());
        }
        if let Some(length) = keys.broadcast_queue {
            message = message.append_info_data(InfoMacVlan::BcQueueLen(length));
        }
        let message = message.build();
        let made = match link::add(place, message.clone()) {
            // An ADD that was killed left it, and nobody has run its DEL.
            Err(failure)
                if failure.is(Errno::EEXIST) && link::delete_if_exists(container, &name)? =>
            {
                link::add(place, message)
            }
            other => other,
        };
        made.map_err(|failure| {
            let (on, inside) = (&parent.name, container.place());
            failure.during(format!("failed to create macvlan on {on:?} in {inside}"))
        })?;
        // By its name: nothing else is known of it if asking for it fails.
        let interim = name.clone();
        undo.push("delete the macvlan", move || {
            link::delete_if_exists(container, &interim).map(drop)
        });
        let made = link::get(container, &name)?;
        let doomed = made.clone();
        undo.push("delete the macvlan", move || {
            link::delete(container, &doomed)
        });
        let (ifname, alias) = (&self.invocation.ifname, self.owner.comment());
        link::try_change(container, &made, |message| {
            message.name(ifname).alias(alias)
        })
        .map_err(|failure| failure.during(format!("failed to rename macvlan to {ifname:?}")))?;
        self.give_mac_to_passthru(&made)?;
        link::get(container, ifname)
    }

    /// The kernel lets a macvlan of mode passthru begin with the parent's address, whatever it is told.
    fn give_mac_to_passthru(&self, made: &Link) -> Result<(), Error> {
        let Some(mac) = self
            .keys
            .mac
            .filter(|_| self.keys.mode == MacVlanMode::Passthrough)
        else {
            return Ok(());
        };
        link::change(
            self.container,
            made,
            "set the hardware address of",
            |message| message.address(mac.bytes().to_vec()),
        )
    }
}
