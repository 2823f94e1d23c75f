//! The link under a macvlan.

use cni::Error;

use super::keys::Keys;
use crate::link::{self, Link};
use crate::netlink::Netlink;
use crate::route;

/// The parent: the `master`, or the link of the default route.
pub(super) fn find(place: &Netlink, keys: &Keys) -> Result<Link, Error> {
    if !keys.master.is_empty() {
        return link::get(place, &keys.master);
    }
    let missing = || Error::internal("no default route interface found");
    let index = route::default_link(place)?.ok_or_else(missing)?;
    link::find_index(place, index)?.ok_or_else(missing)
}

/// The MTU for a macvlan on this parent.
pub(super) fn mtu(parent: &Link, keys: &Keys) -> Result<u32, Error> {
    let most = parent.mtu;
    match u32::try_from(keys.mtu) {
        Ok(0) => Ok(most),
        Ok(mtu) if mtu <= most => Ok(mtu),
        _ => {
            let mtu = keys.mtu;
            Err(Error::internal(format!(
                "invalid MTU {mtu}, must be [0, master MTU({most})]"
            )))
        }
    }
}
