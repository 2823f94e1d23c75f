//! Masquerading by nf_tables.

use std::collections::HashSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use cni::Error;
use ipnetwork::IpNetwork;
use nix::errno::Errno;

use crate::nft::rule::Verdict;
use crate::nft::{self, Batch, Expression, Family, FoundRule, Hook, Table};
use crate::owner::{Owner, network_mark};

const TABLE: Table = Table {
    family: Family::Inet,
    name: "cni_plugins_masquerade",
};
const POSTROUTING: &str = "postrouting";
const CHECKS: &str = "masq_checks";
/// After the routing decision, at the priority of source NAT.
const SOURCE_NAT: Hook = Hook {
    kind: "nat",
    number: 4,
    priority: 100,
};
/// How often an owner's rules are looked for again, because somebody else deleted one just now.
const TRIES: u32 = 10;

pub(super) fn set_up(owner: &Owner, addresses: &[IpNetwork]) -> Result<(), Error> {
    let comment = owner.comment();
    let build = |stale: &[FoundRule]| {
        let mut batch = Batch::new(TABLE);
        // Touching what is there already makes the kernel wait for all processors: not on every ADD. Should the last
        // one to leave take it away now, then the new rules find no chain, and this is done again.
        if !is_hooked()? {
            batch.ensure_table();
            batch.ensure_chain(CHECKS, None);
            batch.ensure_chain(POSTROUTING, Some(SOURCE_NAT));
            write_postrouting(&mut batch);
        }
        stale.iter().for_each(|rule| batch.delete_rule(rule));
        for address in addresses {
            let rule = [
                Expression::SourceIs(address.ip()),
                Expression::DestinationNotIn(*address),
                Expression::Masquerade,
            ];
            batch.add_rule(CHECKS, &rule, &comment);
        }
        Ok(batch)
    };
    retry(build, &owner.mark(), "set up masquerading")
}

/// Whether packets come to the checks.
fn is_hooked() -> Result<bool, Error> {
    let rules = nft::rules(TABLE, POSTROUTING)?;
    let last = rules.last().and_then(|rule| rule.jumps_to.as_deref());
    Ok(rules.len() == 3 && last == Some(CHECKS))
}

/// Written in one transaction: so it is right whatever somebody did to it, and when several write at once.
fn write_postrouting(batch: &mut Batch) {
    batch.flush_chain(POSTROUTING);
    for multicast in multicast() {
        let rule = [
            Expression::DestinationIn(multicast),
            Expression::Verdict(Verdict::Return),
        ];
        batch.add_rule(POSTROUTING, &rule, "");
    }
    let rest = Expression::Verdict(Verdict::Goto(CHECKS.to_owned()));
    batch.add_rule(POSTROUTING, &[rest], "");
}

pub(super) fn tear_down(owner: &Owner) -> Result<(), Error> {
    let mark = owner.mark();
    let present = nft::rules(TABLE, CHECKS)?;
    if present.iter().any(|rule| rule.comment.starts_with(&mark)) {
        retry(|rules| Ok(deletion(rules)), &mark, "remove masquerading")?;
    } else if !present.is_empty() {
        return Ok(());
    }
    // Also when there was no rule at all: whoever removed the last one may have died before it came to the table.
    nft::delete_table_if_idle(TABLE, &[POSTROUTING, CHECKS], CHECKS)
}

/// Commits what `build` makes of the rules that carry `mark`, again when one of them was gone by then.
fn retry(
    build: impl Fn(&[FoundRule]) -> Result<Batch, Error>,
    mark: &str,
    what: &str,
) -> Result<(), Error> {
    for _ in 1..TRIES {
        let batch = build(&of(mark)?)?;
        if batch.is_empty() {
            return Ok(());
        }
        match batch.try_commit() {
            Err(failure) if failure.is(Errno::ENOENT) => {}
            Err(failure) => return Err(failure.during(format!("failed to {what}"))),
            Ok(()) => return Ok(()),
        }
    }
    build(&of(mark)?)?.commit(what)
}

fn deletion(rules: &[FoundRule]) -> Batch {
    let mut batch = Batch::new(TABLE);
    rules.iter().for_each(|rule| batch.delete_rule(rule));
    batch
}

pub(super) fn check(owner: &Owner, addresses: &[IpNetwork]) -> Result<(), Error> {
    let rules = of(&owner.mark())?;
    let lacks = |address: &&IpNetwork| !rules.iter().any(|rule| rule.masquerades(**address));
    let name = TABLE.name;
    if let Some(address) = addresses.iter().find(lacks) {
        return Err(Error::internal(format!(
            "masquerading is broken: table {name:?} has no rule for {address}"
        )));
    }
    if !is_hooked()? {
        return Err(Error::internal(format!(
            "masquerading is broken: {POSTROUTING} of table {name:?} is not as it was made"
        )));
    }
    Ok(())
}

pub(super) fn collect(network: &str, valid: &HashSet<String>) -> Result<(), Error> {
    let mark = network_mark(network);
    let whole = mark.len() + 16;
    let garbage = |rules: &[FoundRule]| {
        let is_valid =
            |rule: &FoundRule| valid.contains(rule.comment.get(..whole).unwrap_or_default());
        let stale: Vec<_> = rules.iter().filter(|r| !is_valid(r)).cloned().collect();
        Ok(deletion(&stale))
    };
    retry(garbage, &mark, "remove masquerading")?;
    nft::delete_table_if_idle(TABLE, &[POSTROUTING, CHECKS], CHECKS)
}

fn of(mark: &str) -> Result<Vec<FoundRule>, Error> {
    let mut rules = nft::rules(TABLE, CHECKS)?;
    rules.retain(|rule| rule.comment.starts_with(mark));
    Ok(rules)
}

/// 224.0.0.0/4 and ff00::/8.
pub(super) fn multicast() -> [IpNetwork; 2] {
    let v4 = IpAddr::V4(Ipv4Addr::new(224, 0, 0, 0));
    let v6 = IpAddr::V6(Ipv6Addr::new(0xff00, 0, 0, 0, 0, 0, 0, 0));
    [(v4, 4), (v6, 8)]
        .map(|(ip, prefix)| IpNetwork::new(ip, prefix).unwrap_or_else(|_| IpNetwork::from(ip)))
}
