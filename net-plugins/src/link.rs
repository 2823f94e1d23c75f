//! Links: looking them up, changing and deleting them.

use cni::Error;
use nix::errno::Errno;
use rtnetlink::packet_route::AddressFamily;
use rtnetlink::packet_route::link::{
    InfoBridge, InfoData, InfoKind, InfoMacVlan, LinkAttribute, LinkExtentMask, LinkFlags,
    LinkInfo, LinkMessage, MacVlanMode, State,
};
use rtnetlink::{LinkMessageBuilder, LinkUnspec};

use crate::mac::Mac;
use crate::netlink::{Failure, Netlink};

/// The longest interface name, in bytes.
pub const NAME_MAX: usize = 15;

/// What the kernel says about a link. Fields that it did not send have their type's default.
#[derive(Clone, Debug, Default)]
pub struct Link {
    /// Its number in its namespace.
    pub index: u32,
    /// Its name.
    pub name: String,
    /// Its hardware address; none as well when it is all zeros, as that of a bridge which lost its last port.
    pub mac: Option<Mac>,
    /// Its MTU in bytes.
    pub mtu: u32,
    /// Its kind: "bridge", "veth", "macvlan"; empty for a device of hardware.
    pub kind: String,
    /// Whether an administrator has it up.
    pub up: bool,
    /// Whether it is operational.
    pub operational: bool,
    /// The operational state in words, in lower case as upstream tells it.
    pub state: String,
    /// How many have asked for promiscuous mode.
    pub promiscuity: u32,
    /// Whether an administrator has asked for promiscuous mode.
    pub promiscuous: bool,
    /// The bridge that it is a port of.
    pub controller: Option<u32>,
    /// The other end of a veth, or the parent of a macvlan.
    pub lower: Option<u32>,
    /// The namespace of that one, by this namespace's number for it; none when it is this namespace.
    pub lower_netns: Option<i32>,
    /// The alias.
    pub alias: String,
    /// Whether a bridge filters VLANs.
    pub vlan_filtering: bool,
    /// The mode of a macvlan.
    pub macvlan_mode: Option<MacVlanMode>,
    /// The length of a macvlan's broadcast queue.
    pub broadcast_queue: Option<u32>,
}

impl Link {
    fn of(message: LinkMessage) -> Link {
        let flags = message.header.flags;
        let mut link = Link {
            index: message.header.index,
            up: flags.contains(LinkFlags::Up),
            promiscuous: flags.contains(LinkFlags::Promisc),
            ..Link::default()
        };
        for attribute in message.attributes {
            match attribute {
                LinkAttribute::IfName(name) => link.name = name,
                LinkAttribute::Address(bytes) => link.mac = Mac::from_bytes(&bytes),
                LinkAttribute::Mtu(mtu) => link.mtu = mtu,
                LinkAttribute::OperState(state) => {
                    link.operational = state == State::Up;
                    link.state = state.to_string().to_lowercase();
                }
                LinkAttribute::Promiscuity(count) => link.promiscuity = count,
                LinkAttribute::Controller(index) => link.controller = Some(index),
                LinkAttribute::Link(index) => link.lower = Some(index),
                LinkAttribute::LinkNetNsId(id) => link.lower_netns = Some(id),
                LinkAttribute::IfAlias(alias) => link.alias = alias,
                LinkAttribute::LinkInfo(infos) => infos.into_iter().for_each(|i| link.info(i)),
                _ => {}
            }
        }
        link
    }

    fn info(&mut self, info: LinkInfo) {
        match info {
            LinkInfo::Kind(kind) => self.kind = kind.to_string(),
            LinkInfo::Data(InfoData::Bridge(bridge)) => {
                self.vlan_filtering = bridge.contains(&InfoBridge::VlanFiltering(true));
            }
            LinkInfo::Data(InfoData::MacVlan(macvlan)) => {
                for info in macvlan {
                    match info {
                        InfoMacVlan::Mode(mode) => self.macvlan_mode = Some(mode),
                        InfoMacVlan::BcQueueLen(len) => self.broadcast_queue = Some(len),
                        _ => {}
                    }
                }
            }
            _ => {}
        }
    }

    /// Whether it is of this kind.
    pub fn is(&self, kind: &InfoKind) -> bool {
        self.kind == kind.to_string()
    }

    /// The hardware address as text; empty when it has none.
    pub fn mac_text(&self) -> String {
        self.mac.map(|mac| mac.to_string()).unwrap_or_default()
    }
}

/// The link of this name; `None` when there is none.
pub fn find(netlink: &Netlink, name: &str) -> Result<Option<Link>, Error> {
    if name.len() > NAME_MAX {
        return Ok(None);
    }
    let request = netlink.handle().link().get().match_name(name);
    let request = request.set_filter_mask(AddressFamily::Unspec, vec![LinkExtentMask::SkipStats]);
    match netlink.collect(request.execute()) {
        Ok(messages) => Ok(messages.into_iter().next().map(Link::of)),
        Err(failure) if failure.is(Errno::ENODEV) => Ok(None),
        Err(failure) => {
            let place = netlink.place();
            Err(failure.during(format!("failed to look up link {name:?} in {place}")))
        }
    }
}

/// The link of this name; an error when there is none.
pub fn get(netlink: &Netlink, name: &str) -> Result<Link, Error> {
    find(netlink, name)?.ok_or_else(|| {
        Error::internal("Link not found")
            .with_details(format!("there is no link {name:?} in {}", netlink.place()))
    })
}

/// The link with this number; `None` when there is none.
pub fn find_index(netlink: &Netlink, index: u32) -> Result<Option<Link>, Error> {
    let request = netlink.handle().link().get().match_index(index);
    match netlink.collect(request.execute()) {
        Ok(messages) => Ok(messages.into_iter().next().map(Link::of)),
        Err(failure) if failure.is(Errno::ENODEV) => Ok(None),
        Err(failure) => {
            let place = netlink.place();
            Err(failure.during(format!("failed to look up link {index} in {place}")))
        }
    }
}

/// Every link of the namespace. Costs time with their number: not for the path of an ADD.
pub fn list(netlink: &Netlink) -> Result<Vec<Link>, Error> {
    let request = netlink.handle().link().get();
    let request = request.set_filter_mask(AddressFamily::Unspec, vec![LinkExtentMask::SkipStats]);
    match netlink.collect(request.execute()) {
        Ok(messages) => Ok(messages.into_iter().map(Link::of).collect()),
        Err(failure) => {
            let place = netlink.place();
            Err(failure.during(format!("failed to list the links in {place}")))
        }
    }
}

/// Deletes the link of this name if there is one, and says whether there was.
pub fn delete_if_exists(netlink: &Netlink, name: &str) -> Result<bool, Error> {
    match find(netlink, name)? {
        Some(link) => delete(netlink, &link).map(|()| true),
        None => Ok(false),
    }
}

/// Deletes a link; one that is gone already is fine.
pub fn delete(netlink: &Netlink, link: &Link) -> Result<(), Error> {
    let request = netlink.handle().link().del(link.index);
    match netlink.wait(request.execute()) {
        Err(failure) if !failure.is(Errno::ENODEV) => {
            let (name, place) = (&link.name, netlink.place());
            Err(failure.during(format!("failed to delete link {name:?} in {place}")))
        }
        _ => Ok(()),
    }
}

/// A change of one existing link. `what` and the link's name make the error's text.
pub fn change(
    netlink: &Netlink,
    link: &Link,
    what: &str,
    alter: impl FnOnce(LinkMessageBuilder<LinkUnspec>) -> LinkMessageBuilder<LinkUnspec>,
) -> Result<(), Error> {
    try_change(netlink, link, alter).map_err(|failure| {
        let (name, place) = (&link.name, netlink.place());
        failure.during(format!("failed to {what} {name:?} in {place}"))
    })
}

/// [`change`] for a caller who words the error.
pub(crate) fn try_change(
    netlink: &Netlink,
    link: &Link,
    alter: impl FnOnce(LinkMessageBuilder<LinkUnspec>) -> LinkMessageBuilder<LinkUnspec>,
) -> Result<(), Failure> {
    let message = alter(LinkUnspec::new_with_index(link.index)).build();
    netlink.wait(netlink.handle().link().change(message).execute())
}

/// Sets a link up.
pub fn set_up(netlink: &Netlink, link: &Link) -> Result<(), Error> {
    change(netlink, link, "set up", |message| message.up())
}

/// A new link; errors are for the caller to name.
pub(crate) fn add(netlink: &Netlink, message: LinkMessage) -> Result<(), Failure> {
    netlink.wait(netlink.handle().link().add(message).execute())
}

/// A name for a link on the host: "veth" and eight random hexadecimal digits, as upstream's plugins name theirs.
pub fn random_name() -> Result<String, Error> {
    let [a, b, c, d] = crate::mac::random()?;
    Ok(format!("veth{a:02x}{b:02x}{c:02x}{d:02x}"))
}
