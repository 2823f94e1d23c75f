//! Pairs of virtual Ethernet links with one end on the host and the other in a container.

use cni::Error;
use nix::errno::Errno;
use rtnetlink::packet_route::link::{InfoData, InfoKind, InfoVeth};
use rtnetlink::{LinkMessageBuilder, LinkUnspec, LinkVeth};

use crate::link::{self, Link};
use crate::mac::Mac;
use crate::netlink::Netlink;
use crate::owner::Owner;
use crate::sysctl;
use crate::undo::Undo;

/// How often a clash of random names is tolerated.
const TRIES: u32 = 10;

/// What the pair shall be like.
pub struct Wish<'a> {
    /// The name of the container's end.
    pub ifname: &'a str,
    /// The hardware address of the container's end; `None` is the kernel's choice.
    pub mac: Option<Mac>,
    /// The MTU of both ends; 0 is the kernel's choice.
    pub mtu: u32,
    /// The bridge that the host's end joins.
    pub bridge: Option<u32>,
    /// Whose pair it is.
    pub owner: &'a Owner,
}

/// A pair: the host's end is up, the container's is not yet.
pub struct Pair {
    /// The host's end.
    pub host: Link,
    /// The container's end.
    pub container: Link,
}

/// Makes the pair with one message: the container's end never exists anywhere else, so that no name on the host can
/// clash with it and no link has to be moved (which takes tens of milliseconds).
pub fn create<'a>(
    host: &'a Netlink,
    container: &Netlink,
    wish: &Wish<'_>,
    undo: &mut Undo<'a>,
) -> Result<Pair, Error> {
    let name = create_with_free_name(host, container, wish)?;
    // By its name: nothing else is known of it if asking for it fails.
    let doomed = name.clone();
    undo.push(format!("delete link {name:?}"), move || {
        link::delete_if_exists(host, &doomed).map(drop)
    });
    let end = link::get(host, &name)?;
    let alias = wish.owner.comment();
    link::change(host, &end, "mark", |message| message.alias(alias))?;
    sysctl::write(host, &format!("ipv6/conf/{name}/accept_ra"), "0")?;
    let container = link::get(container, wish.ifname)?;
    Ok(Pair {
        host: end,
        container,
    })
}

fn create_with_free_name(
    host: &Netlink,
    container: &Netlink,
    wish: &Wish<'_>,
) -> Result<String, Error> {
    let Wish { ifname, .. } = wish;
    for _ in 0..TRIES {
        let name = link::random_name()?;
        match link::add(host, message(&name, container, wish)) {
            Ok(()) => return Ok(name),
            Err(failure) if failure.is(Errno::EEXIST) => {
                if link::find(container, ifname)?.is_some() {
                    return Err(taken(ifname, &name));
                }
            }
            Err(failure) => {
                let place = container.place();
                return Err(failure.during(format!(
                    "failed to make veth pair {name:?} on the host and {ifname:?} in {place}"
                )));
            }
        }
    }
    Err(Error::internal(format!(
        "failed to make veth pair: {TRIES} random names were taken"
    )))
}

fn taken(ifname: &str, peer: &str) -> Error {
    Error::internal(format!(
        "container veth name ({ifname:?}) peer provided ({peer:?}) already exists"
    ))
}

fn message(
    name: &str,
    container: &Netlink,
    wish: &Wish<'_>,
) -> rtnetlink::packet_route::link::LinkMessage {
    let mut peer = LinkMessageBuilder::<LinkUnspec>::new()
        .name(wish.ifname)
        .setns_by_fd(container.netns().fd());
    let mut end = LinkMessageBuilder::<LinkVeth>::new_with_info_kind(InfoKind::Veth)
        .name(name)
        .up();
    if let Some(mac) = wish.mac {
        peer = peer.address(mac.bytes().to_vec());
    }
    if wish.mtu != 0 {
        peer = peer.mtu(wish.mtu);
        end = end.mtu(wish.mtu);
    }
    if let Some(bridge) = wish.bridge {
        end = end.controller(bridge);
    }
    end.set_info_data(InfoData::Veth(InfoVeth::Peer(peer.build())))
        .build()
}
