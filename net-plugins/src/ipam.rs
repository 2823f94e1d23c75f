//! Asking the IPAM plugin, and putting on an interface what it answered.

use std::net::IpAddr;
use std::thread;
use std::time::{Duration, Instant};

use cni::delegate::{self, Running};
use cni::{CniResult, Command, Error, Invocation, NetConf};
use ipnetwork::IpNetwork;

use crate::link::{self, Link};
use crate::netlink::Netlink;
use crate::route::{self, Route};
use crate::undo::Undo;
use crate::{addr, fault, sysctl};

/// How long an IPAM plugin may take, unless `ipamTimeout` (seconds) says otherwise.
const TIMEOUT: Duration = Duration::from_secs(60);
/// How long it may take to give back what a failed ADD may have taken.
const GIVE_BACK: Duration = Duration::from_secs(10);
/// How long duplicate address detection is waited for.
const DETECTION: Duration = Duration::from_secs(5);
/// The IPAM plugin of this workspace.
pub const OURS: &str = "cluster-ipam";
/// The scope of what is on the link.
pub const SCOPE_LINK: u8 = 253;

/// The IPAM plugin of one call.
pub struct Ipam<'a> {
    kind: &'a str,
    invocation: &'a Invocation,
    conf: &'a NetConf,
}

impl<'a> Ipam<'a> {
    /// The plugin that the configuration names.
    pub fn of(invocation: &'a Invocation, conf: &'a NetConf) -> Ipam<'a> {
        Ipam {
            kind: conf.ipam_type(),
            invocation,
            conf,
        }
    }

    /// Whether the configuration names one. Without it a network has no addresses (layer 2).
    pub fn is_configured(&self) -> bool {
        !self.kind.is_empty()
    }

    /// Fails when its program is not there: better before anything is done than after.
    pub fn require(&self) -> Result<(), Error> {
        delegate::find(self.kind, &self.invocation.path).map(drop)
    }

    /// Whether the plugin has to find the container's link when it gives back: a DHCP client sends its release from it.
    /// For all others the link goes first, since it answers for the address.
    pub fn says_goodbye_over_link(&self) -> bool {
        self.kind == "dhcp"
    }

    /// Takes the addresses, at least one. They are given back when the ADD fails, also when this very call fails: it
    /// may have been killed after it had taken them.
    pub fn add(&self, undo: &mut Undo<'a>) -> Result<CniResult, Error> {
        self.take(self.start(undo)?)
    }

    /// Starts to take the addresses while the links are made, when the IPAM plugin is one that never looks at them: ours.
    /// Others may have to find the link (dhcp), and are asked when it is there.
    pub fn start_early(&self, undo: &mut Undo<'a>) -> Result<Option<Running>, Error> {
        match self.kind {
            OURS => self.start(undo).map(Some),
            _ => Ok(None),
        }
    }

    fn start(&self, undo: &mut Undo<'a>) -> Result<Running, Error> {
        let (kind, invocation) = (self.kind, self.invocation);
        fault::point("ipam")?;
        let running = delegate::start(kind, Command::Add, invocation, self.deadline()?)?;
        undo.push(format!("give back what {kind:?} gave"), move || {
            delegate::call(kind, Command::Del, invocation, Instant::now() + GIVE_BACK)
        });
        Ok(running)
    }

    /// Waits for what was started.
    pub fn take(&self, running: Running) -> Result<CniResult, Error> {
        fault::point("ipam")?;
        let result = running.result(self.conf)?;
        if result.ips.is_empty() {
            let text = "IPAM plugin returned missing IP config";
            return Err(Error::internal(text).with_details(format!("plugin {:?}", self.kind)));
        }
        Ok(result)
    }

    /// For a link that is there before its addresses: when the ADD fails, it is down before they are given back.
    pub fn silence_on_undo(&self, container: &'a Netlink, interface: &Link, undo: &mut Undo<'a>) {
        if self.says_goodbye_over_link() {
            return;
        }
        let link = interface.clone();
        undo.push("set the container's interface down", move || {
            link::change(container, &link, "set down", |message| message.down())
        });
    }

    /// Runs DEL, CHECK, STATUS or GC; nothing without an IPAM plugin.
    pub fn call(&self, command: Command) -> Result<(), Error> {
        if !self.is_configured() {
            return Ok(());
        }
        fault::point("ipam")?;
        delegate::call(self.kind, command, self.invocation, self.deadline()?)
    }

    fn deadline(&self) -> Result<Instant, Error> {
        let given = cni::json::get(&self.conf.raw, "ipamTimeout");
        let timeout = match given.map(|value| value.as_u64().filter(|s| (1..=3600).contains(s))) {
            None => TIMEOUT,
            Some(Some(seconds)) => Duration::from_secs(seconds),
            // A container must be removable whatever its configuration has become.
            Some(None) if self.invocation.command == Command::Del => TIMEOUT,
            Some(None) => {
                return Err(Error::invalid_config(
                    "ipamTimeout must be a number of seconds from 1 to 3600",
                ));
            }
        };
        Ok(Instant::now() + timeout)
    }
}

/// The first gateway of a family: what a route without next hop goes through.
pub fn gateway(result: &CniResult, v4: bool) -> Option<IpAddr> {
    let mut gateways = result.ips.iter().filter_map(|ip| ip.gateway);
    gateways.find(|gateway| gateway.is_ipv4() == v4)
}

/// Puts the result's addresses and routes on the interface, which is entry `entry` of the result's, and sets it up.
pub fn configure<'a>(
    container: &'a Netlink,
    interface: &Link,
    entry: u32,
    result: &CniResult,
    undo: &mut Undo<'a>,
) -> Result<(), Error> {
    for ip in &result.ips {
        if ip.interface != Some(entry) {
            let (address, index) = (ip.address, ip.interface);
            return Err(Error::internal(format!(
                "failed to add IP addr {address} to {:?}: invalid interface index {index:?}",
                interface.name
            )));
        }
    }
    enable_ipv6(container, interface, result, undo)?;
    for ip in &result.ips {
        addr::add(container, interface, ip.address)?;
    }
    link::set_up(container, interface)?;
    if gateway(result, false).is_some() {
        settle(container, interface, |_| true)?;
    }
    for wanted in &result.routes {
        route::add(container, interface, &programmed(wanted, result)?)?;
    }
    Ok(())
}

/// An interface may have been made with IPv6 switched off (a container runtime's setting for its pods).
pub fn enable_ipv6<'a>(
    container: &'a Netlink,
    interface: &Link,
    result: &CniResult,
    undo: &mut Undo<'a>,
) -> Result<(), Error> {
    if result.ips.iter().all(|ip| ip.address.is_ipv4()) {
        return Ok(());
    }
    sysctl::change(container, "ipv6/conf/lo/disable_ipv6", "0", undo)?;
    let of_interface = |setting| format!("ipv6/conf/{}/{setting}", interface.name);
    sysctl::write(container, &of_interface("disable_ipv6"), "0")?;
    sysctl::write(container, &of_interface("keep_addr_on_down"), "1")
}

/// The route as the kernel gets it.
pub fn programmed(wanted: &cni::Route, result: &CniResult) -> Result<Route, Error> {
    let scope = wanted.scope.map(u8::try_from).transpose().map_err(|_| {
        let (dst, scope) = (wanted.dst, wanted.scope.unwrap_or_default());
        Error::internal(format!("route {dst} has scope {scope}, must be 0 to 255"))
    })?;
    // What is on the link has no next hop: the family's gateway must not be put there.
    let on_link = scope.is_some_and(|scope| scope >= SCOPE_LINK);
    let fallback = || gateway(result, wanted.dst.is_ipv4()).filter(|_| !on_link);
    Ok(Route {
        scope,
        table: wanted.table,
        priority: wanted.priority,
        mtu: wanted.mtu,
        advmss: wanted.advmss,
        ..Route::new(wanted.dst, wanted.gw.or_else(fallback))
    })
}

/// Waits until those of the interface's addresses that matter have passed duplicate address detection: before that no
/// route may name them. For its own link-local address the kernel takes a second or two.
pub fn settle(
    container: &Netlink,
    interface: &Link,
    matters: impl Fn(IpNetwork) -> bool,
) -> Result<(), Error> {
    let deadline = Instant::now() + DETECTION;
    let mut nap = Duration::from_millis(2);
    loop {
        let addresses = addr::list(container, interface)?;
        let name = &interface.name;
        if let Some(duplicate) = addresses.iter().find(|a| a.duplicate) {
            let address = duplicate.network;
            return Err(Error::internal(format!(
                "IP address {address} on {name:?} is in use elsewhere: duplicate address detection failed"
            )));
        }
        let Some(tentative) = addresses.iter().find(|a| a.tentative && matters(a.network)) else {
            return Ok(());
        };
        if Instant::now() > deadline {
            // Without a carrier the detection cannot even begin; that may be meant.
            if !link::get(container, name)?.operational {
                return Ok(());
            }
            let address = tentative.network;
            return Err(Error::internal(format!(
                "IP address {address} on {name:?} is still tentative after {DETECTION:?}"
            )));
        }
        thread::sleep(nap);
        nap = (nap * 2).min(Duration::from_millis(50));
        fault::again();
    }
}

/// Turns forwarding on for the families of these addresses. To be the last thing that an ADD does: others may rely on it
/// as soon as it is on, so that hardly anything may fail after it.
pub fn enable_forwarding<'a>(
    host: &'a Netlink,
    addresses: &[IpNetwork],
    undo: &mut Undo<'a>,
) -> Result<(), Error> {
    let v6 = "ipv6/conf/all/forwarding";
    let first_v6 = addresses.iter().find(|address| address.is_ipv6());
    if let Some(address) = first_v6
        && sysctl::read(host, v6)?.is_none()
    {
        return Err(Error::internal(format!(
            "the kernel has no IPv6, which {address} needs"
        )));
    }
    if addresses.iter().any(IpNetwork::is_ipv4) {
        sysctl::change(host, "ipv4/ip_forward", "1", undo)?;
    }
    match first_v6 {
        Some(_) => sysctl::change(host, v6, "1", undo),
        None => Ok(()),
    }
}
