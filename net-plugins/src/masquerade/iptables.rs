//! Masquerading by the `iptables` and `ip6tables` programs.
//!
//! Two attachments of one container to one network share a chain, as in upstream's plugins: what DEL removes is told
//! apart by the comment, which names network and container.

use std::collections::{BTreeSet, HashSet};
use std::fs;
use std::io::{ErrorKind, Write};
use std::process::{Command, Stdio};

use cni::Error;
use ipnetwork::IpNetwork;

use super::nftables::multicast;
use crate::nft::{self, Family, Table};
use crate::owner::{Owner, sha512_hex};
use crate::{addr, fault};

/// One of the two programs.
#[derive(Clone, Copy)]
struct Program {
    name: &'static str,
    /// Where its newer version keeps the rules.
    table: Table,
    /// Where the kernel lists the tables of its older version.
    legacy: &'static str,
    v4: bool,
}

const PROGRAMS: [Program; 2] = [
    Program {
        name: "iptables",
        table: Table {
            family: Family::Ip,
            name: "nat",
        },
        legacy: "/proc/net/ip_tables_names",
        v4: true,
    },
    Program {
        name: "ip6tables",
        table: Table {
            family: Family::Ip6,
            name: "nat",
        },
        legacy: "/proc/net/ip6_tables_names",
        v4: false,
    },
];

pub(super) fn set_up(owner: &Owner, addresses: &[IpNetwork]) -> Result<(), Error> {
    for program in PROGRAMS {
        let wanted = wanted(program, owner, addresses);
        if wanted.is_empty() {
            continue;
        }
        let present = program.list()?;
        let chain = chain(owner);
        let missing = wanted.into_iter().filter(|rule| !present.contains(rule));
        let new_chain = !present.contains(&format!("-N {chain}"));
        let first = new_chain.then(|| format!(":{chain} - [0:0]"));
        program.restore(first.into_iter().chain(missing))?;
    }
    Ok(())
}

pub(super) fn check(owner: &Owner, addresses: &[IpNetwork]) -> Result<(), Error> {
    // An address that stands alone does not tell its subnet any more, which the rules were made for.
    let alone = (addresses.iter()).filter(|address| **address == addr::host(address.ip()));
    let alone: Vec<_> = alone.map(|address| format!(" -d {address} ")).collect();
    for program in PROGRAMS {
        let mut wanted = wanted(program, owner, addresses);
        wanted.retain(|rule| !alone.iter().any(|to_itself| rule.contains(to_itself)));
        if wanted.is_empty() {
            continue;
        }
        let present = program.list()?;
        if let Some(rule) = wanted.iter().find(|rule| !present.contains(*rule)) {
            let name = program.name;
            return Err(Error::internal(format!(
                "masquerading is broken: {name} lacks the rule {rule}"
            )));
        }
    }
    Ok(())
}

pub(super) fn tear_down(owner: &Owner) -> Result<(), Error> {
    let chain = chain(owner);
    for program in PROGRAMS {
        if program.may_have(&chain)? {
            program.remove(&BTreeSet::from([chain.clone()]))?;
        }
    }
    Ok(())
}

pub(super) fn collect(network: &str, valid: &HashSet<&str>) -> Result<(), Error> {
    let id_of = |rule: &str| {
        let (_, rest) = rule.split_once(&format!("name: {} id: ", quoted(network)))?;
        rest.split_once("\\\"")?
            .1
            .split_once("\\\"")
            .map(|(id, _)| id.to_owned())
    };
    for program in PROGRAMS {
        if !program.is_in_use()? {
            continue;
        }
        let rules = program.list()?;
        let stale = rules.iter().filter(|rule| rule.starts_with("-A CNI-"));
        let stale = stale.filter(|rule| id_of(rule).is_some_and(|id| !valid.contains(id.as_str())));
        let chains: BTreeSet<_> = stale
            .filter_map(|rule| rule.split(' ').nth(1))
            .map(str::to_owned)
            .collect();
        program.remove(&chains)?;
    }
    Ok(())
}

/// The rules as `iptables -S` prints them.
fn wanted(program: Program, owner: &Owner, addresses: &[IpNetwork]) -> Vec<String> {
    let chain = chain(owner);
    let comment = comment(owner);
    let [v4, v6] = multicast();
    let multicast = if program.v4 { v4 } else { v6 };
    let mine = addresses
        .iter()
        .filter(|address| address.is_ipv4() == program.v4);
    let mut rules = Vec::new();
    for address in mine {
        let (subnet, host) = (addr::subnet(*address), addr::host(address.ip()));
        rules.push(format!("-A {chain} -d {subnet} {comment} -j ACCEPT"));
        let masquerade = format!("-A {chain} ! -d {multicast} {comment} -j MASQUERADE");
        // A second subnet's ACCEPT must stand before it: iptables appends.
        rules.retain(|rule| *rule != masquerade);
        rules.push(masquerade);
        rules.insert(0, format!("-A POSTROUTING -s {host} {comment} -j {chain}"));
    }
    rules
}

fn chain(owner: &Owner) -> String {
    let text = format!("{}{}", owner.network, owner.container_id);
    format!("CNI-{}", sha512_hex(&text, 24))
}

fn comment(owner: &Owner) -> String {
    let (network, id) = (quoted(&owner.network), quoted(&owner.container_id));
    format!("-m comment --comment \"name: {network} id: {id}\"")
}

/// Names and ids hold nothing that would have to be escaped themselves.
fn quoted(text: &str) -> String {
    format!("\\\"{text}\\\"")
}

impl Program {
    /// Whether the chain may exist: starting the program costs more than the rest of a DEL.
    fn may_have(self, chain: &str) -> Result<bool, Error> {
        Ok(self.has_legacy() || nft::chain_exists(self.table, chain)?)
    }

    /// Whether any chain like those of [`chain`] may exist.
    fn is_in_use(self) -> Result<bool, Error> {
        let chains = nft::chain_names(self.table)?;
        Ok(self.has_legacy() || chains.iter().any(|chain| chain.starts_with("CNI-")))
    }

    fn has_legacy(self) -> bool {
        fs::read_to_string(self.legacy).is_ok_and(|names| names.lines().any(|name| name == "nat"))
    }

    /// The rules of the nat table.
    fn list(self) -> Result<Vec<String>, Error> {
        fault::point(self.name)?;
        let output = Command::new(self.name)
            .args(["-w", "-t", "nat", "-S"])
            .output()
            .map_err(|e| self.failed(&e))?;
        if !output.status.success() {
            return Err(self.failed(&String::from_utf8_lossy(&output.stderr).trim()));
        }
        let text = String::from_utf8_lossy(&output.stdout);
        Ok(text.lines().map(|line| line.trim().to_owned()).collect())
    }

    /// Removes the chains and every jump to them.
    fn remove(self, chains: &BTreeSet<String>) -> Result<(), Error> {
        let rules = self.list()?;
        let target = |rule: &str| rule.rsplit(' ').next().map(str::to_owned);
        let jumps = rules.iter().filter(|rule| {
            rule.starts_with("-A POSTROUTING ") && target(rule).is_some_and(|t| chains.contains(&t))
        });
        let deletions = jumps.map(|rule| rule.replacen("-A", "-D", 1));
        let present = chains.iter().filter(|c| rules.contains(&format!("-N {c}")));
        let ends = present.flat_map(|c| [format!("-F {c}"), format!("-X {c}")]);
        let lines: Vec<_> = deletions.chain(ends).collect();
        if lines.is_empty() {
            return Ok(());
        }
        self.restore(lines)
    }

    /// Does all changes in one transaction.
    fn restore(self, lines: impl IntoIterator<Item = String>) -> Result<(), Error> {
        fault::point(self.name)?;
        let lines: Vec<_> = lines.into_iter().collect();
        let input = format!("*nat\n{}\nCOMMIT\n", lines.join("\n"));
        let mut child = Command::new(format!("{}-restore", self.name))
            .args(["-w", "--noflush"])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|e| self.failed(&e))?;
        if let Some(mut stdin) = child.stdin.take() {
            match stdin.write_all(input.as_bytes()) {
                Err(e) if e.kind() != ErrorKind::BrokenPipe => return Err(self.failed(&e)),
                _ => {}
            }
        }
        let output = child.wait_with_output().map_err(|e| self.failed(&e))?;
        if output.status.success() {
            return Ok(());
        }
        Err(self.failed(&String::from_utf8_lossy(&output.stderr).trim()))
    }

    fn failed(self, why: &dyn std::fmt::Display) -> Error {
        Error::internal(format!(
            "failed to change the rules of {}: {why}",
            self.name
        ))
    }
}
