//! `macspoofchk`: frames from a container with another source address than its interface's are dropped at the bridge.
//!
//! Table, chains and comments are upstream's, so that either can clean up after the other.

use std::collections::{BTreeMap, HashSet};

use cni::Error;

use crate::link;
use crate::mac::Mac;
use crate::netlink::Netlink;
use crate::nft::rule::Verdict;
use crate::nft::{self, Batch, Expression, Family, FoundRule, Hook, Table};
use crate::owner::Owner;
use crate::undo;

const TABLE: Table = Table {
    family: Family::Bridge,
    name: "nat",
};
const PREROUTING: &str = "PREROUTING";
const FIRST: Hook = Hook {
    kind: "filter",
    number: 0,
    priority: -300,
};
const CHAIN: &str = "cni-br-iface-";

/// The rules of one interface.
pub struct SpoofCheck {
    chain: String,
    mac_chain: String,
    comment: String,
}

impl SpoofCheck {
    /// The rules for an interface of a container.
    pub fn of(container_id: &str, ifname: &str) -> SpoofCheck {
        let chain = format!("{CHAIN}{container_id}-{ifname}");
        SpoofCheck {
            mac_chain: format!("{chain}-mac"),
            chain,
            comment: format!("macspoofchk-{container_id}-{ifname}"),
        }
    }

    /// Lets only `mac` through from the host's link `host_name`. What was there before is replaced.
    pub fn set_up(&self, host_name: &str, mac: Mac) -> Result<(), Error> {
        let mut batch = Batch::new(TABLE);
        batch.ensure_table();
        batch.ensure_chain(PREROUTING, Some(FIRST));
        for chain in [&self.mac_chain, &self.chain] {
            batch.ensure_chain(chain, None);
            batch.flush_chain(chain);
        }
        for stale in self.jumps()? {
            batch.delete_rule(&stale);
        }
        let jump = |to: &str| Expression::Verdict(Verdict::Jump(to.to_owned()));
        let same = Expression::EtherSourceIs(mac.bytes());
        let from = Expression::CameInOver(host_name.to_owned());
        let (chain, mac_chain) = (&self.chain, &self.mac_chain);
        batch.add_rule(PREROUTING, &[from, jump(chain)], &self.comment);
        batch.add_rule(chain, &[jump(mac_chain)], &self.comment);
        let pass = Expression::Verdict(Verdict::Return);
        batch.add_rule(mac_chain, &[same, pass], &self.comment);
        batch.add_rule(
            mac_chain,
            &[Expression::Verdict(Verdict::Drop)],
            &self.comment,
        );
        batch.commit("set up the MAC spoofing check")
    }

    /// Removes the rules; that there are none is fine.
    pub fn tear_down(&self) -> Result<(), Error> {
        self.remove(&self.jumps()?, true)
    }

    /// Removes the rules for DEL, when the owner's link is gone already. Network names play no part in the chains' names:
    /// rules that are about another attachment's link stay. `wanted`: the network has its interfaces checked.
    pub fn tear_down_for(&self, owner: &Owner, host: &Netlink, wanted: bool) -> Result<(), Error> {
        let jumps = self.jumps()?;
        for name in jumps.iter().filter_map(|jump| jump.came_in_over.as_ref()) {
            let link = link::find(host, name)?.unwrap_or_default();
            if owner.is_not_in(&link.alias) {
                return Ok(());
            }
        }
        self.remove(&jumps, wanted)
    }

    /// `wanted`: an empty table is of these plugins, and goes also when there is nothing else to remove.
    fn remove(&self, jumps: &[FoundRule], wanted: bool) -> Result<(), Error> {
        let mut batch = Batch::new(TABLE);
        jumps.iter().for_each(|jump| batch.delete_rule(jump));
        for chain in [&self.chain, &self.mac_chain] {
            if nft::chain_exists(TABLE, chain)? {
                batch.flush_chain(chain);
                batch.delete_chain(chain);
            }
        }
        match batch.is_empty() {
            false => batch.commit("remove the MAC spoofing check")?,
            true if !wanted => return Ok(()),
            true => {}
        }
        delete_idle_table()
    }

    /// Fails unless frames from `host_name` are checked.
    pub fn check(&self, host_name: &str) -> Result<(), Error> {
        let hooked = self.jumps()?;
        let over = |rule: &FoundRule| rule.came_in_over.as_deref() == Some(host_name);
        let whole = nft::rules(TABLE, &self.chain)?.len() == 1
            && nft::rules(TABLE, &self.mac_chain)?.len() == 2;
        if whole && hooked.iter().any(over) {
            return Ok(());
        }
        let chain = &self.chain;
        Err(Error::internal(format!(
            "the MAC spoofing check of {host_name:?} is broken: chain {chain:?} of table bridge nat"
        )))
    }

    fn jumps(&self) -> Result<Vec<FoundRule>, Error> {
        let mut rules = nft::rules(TABLE, PREROUTING)?;
        rules.retain(|rule| {
            rule.comment == self.comment || rule.jumps_to.as_ref() == Some(&self.chain)
        });
        Ok(rules)
    }
}

/// Removes what is left when no interface is checked any more: whoever removed the last check may have died before it
/// came to that.
pub fn delete_idle_table() -> Result<(), Error> {
    nft::delete_table_if_idle(TABLE, &[PREROUTING], PREROUTING)
}

/// Removes the rules about links that do not exist any more.
pub fn collect(host: &Netlink) -> Result<(), Error> {
    // The rules before the links: an ADD makes its link first, so that it is found for every rule that is found here.
    let rules = nft::rules(TABLE, PREROUTING)?;
    let links = link::list(host)?;
    let names: HashSet<_> = links.iter().map(|link| link.name.as_str()).collect();
    let mut by_chain: BTreeMap<String, Vec<FoundRule>> = BTreeMap::new();
    for rule in rules {
        let ours = rule.jumps_to.clone();
        if let Some(chain) = ours.filter(|chain| chain.starts_with(CHAIN)) {
            by_chain.entry(chain).or_default().push(rule);
        }
    }
    let is_gone = |rule: &FoundRule| {
        let name = rule.came_in_over.as_deref();
        name.is_some_and(|name| !names.contains(name))
    };
    by_chain.retain(|_, jumps| jumps.iter().all(is_gone));
    undo::all(by_chain.into_iter().map(|(chain, jumps)| {
        let orphan = SpoofCheck {
            mac_chain: format!("{chain}-mac"),
            chain,
            comment: String::new(),
        };
        // These very rules: when an ADD has made others meanwhile, nothing is removed.
        orphan.remove(&jumps, false)
    }))
}
