//! nf_tables over netlink: just what the plugins need of it. A thousandth of the time that starting `nft` takes.
//!
//! Everything that one [`Batch`] holds is done together or not at all.

mod message;
pub mod rule;
mod socket;

use cni::Error;
use nix::errno::Errno;

use crate::netlink::Failure;
use message::{Attributes, Reply, replies};
pub use rule::{Expression, FoundRule};
use socket::Socket;

/// How often a listing is repeated because the rules were changed meanwhile.
const TRIES: u32 = 100;

/// The families of tables that are used here, by the kernel's numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "named after the families of nft")]
pub enum Family {
    Inet = 1,
    Ip = 2,
    Bridge = 7,
    Ip6 = 10,
}

/// Where a base chain hangs.
#[derive(Clone, Copy, Debug)]
pub struct Hook {
    /// The chain's type: "nat" or "filter".
    pub kind: &'static str,
    /// The kernel's number of the hook.
    pub number: u32,
    /// Its place among the chains of the hook.
    pub priority: i32,
}

/// A table.
#[derive(Clone, Copy, Debug)]
pub struct Table {
    /// Its family.
    pub family: Family,
    /// Its name.
    pub name: &'static str,
}

/// Changes that are done together.
pub struct Batch {
    table: Table,
    messages: Vec<(u16, u16, Attributes)>,
}

impl Batch {
    /// No change yet.
    pub fn new(table: Table) -> Batch {
        Batch {
            table,
            messages: Vec::new(),
        }
    }

    /// Makes the table unless it is there.
    pub fn ensure_table(&mut self) {
        let attributes = Attributes::new().text(1, self.table.name).number(2, 0);
        self.put(message::NEW_TABLE, message::CREATE, attributes);
    }

    /// Makes a chain unless it is there.
    pub fn ensure_chain(&mut self, name: &str, hook: Option<Hook>) {
        let mut attributes = Attributes::new().text(1, self.table.name).text(3, name);
        if let Some(hook) = hook {
            let place = Attributes::new()
                .number(1, hook.number)
                .number(2, hook.priority.cast_unsigned());
            attributes = attributes.nested(4, place).text(7, hook.kind);
        }
        self.put(message::NEW_CHAIN, message::CREATE, attributes);
    }

    /// Deletes all rules of a chain.
    pub fn flush_chain(&mut self, name: &str) {
        let attributes = Attributes::new().text(1, self.table.name).text(2, name);
        self.put(message::DEL_RULE, 0, attributes);
    }

    /// Deletes a chain, which must be empty and not be jumped to.
    pub fn delete_chain(&mut self, name: &str) {
        let attributes = Attributes::new().text(1, self.table.name).text(3, name);
        self.put(message::DEL_CHAIN, 0, attributes);
    }

    /// Deletes the table with everything in it.
    pub fn delete_table(&mut self) {
        let attributes = Attributes::new().text(1, self.table.name);
        self.put(message::DEL_TABLE, 0, attributes);
    }

    /// Appends a rule to a chain.
    pub fn add_rule(&mut self, chain: &str, expressions: &[Expression], comment: &str) {
        let rule = rule::attributes(self.table.name, chain, expressions, comment);
        let flags = message::CREATE | message::APPEND;
        self.put(message::NEW_RULE, flags, rule);
    }

    /// Deletes a rule that was found before.
    pub fn delete_rule(&mut self, rule: &FoundRule) {
        let attributes = (Attributes::new().text(1, self.table.name))
            .text(2, &rule.chain)
            .bytes(3, &rule.handle.to_be_bytes());
        self.put(message::DEL_RULE, 0, attributes);
    }

    fn put(&mut self, kind: u16, flags: u16, attributes: Attributes) {
        self.messages.push((kind, flags, attributes));
    }

    /// Whether it holds no change.
    pub fn is_empty(&self) -> bool {
        self.messages.is_empty()
    }

    /// Does the changes. `what` completes "failed to …".
    pub fn commit(self, what: &str) -> Result<(), Error> {
        self.try_commit()
            .map_err(|failure| failure.during(format!("failed to {what}")))
    }

    /// [`Batch::commit`] for a caller who knows what to do about a certain refusal.
    pub(crate) fn try_commit(self) -> Result<(), Failure> {
        self.commit_at(None)
    }

    /// Does the changes; with a generation only if nothing at all was changed since (`ERESTART` otherwise).
    fn commit_at(self, generation: Option<u32>) -> Result<(), Failure> {
        let count = u32::try_from(self.messages.len()).unwrap_or(u32::MAX);
        let mut bytes = message::batch_begin(generation);
        for ((kind, flags, attributes), sequence) in self.messages.into_iter().zip(1..) {
            let flags = flags | message::ACK;
            let family = self.table.family as u8;
            bytes.extend(message::encode(kind, flags, sequence, family, attributes));
        }
        bytes.extend(message::batch_end(count + 1));
        let socket = Socket::open()?;
        socket.send(&bytes)?;
        let mut answered = 0;
        // The refusal of the first bad change comes among the acknowledgements; one of sequence 0 is about the whole.
        let mut refusal = None;
        while answered < count {
            for reply in replies(&socket.receive()?) {
                let Reply::Outcome { sequence, errno } = reply else {
                    continue;
                };
                if errno != 0 && refusal.is_none() {
                    refusal = Some(Failure::Errno(errno));
                }
                answered = if sequence == 0 { count } else { answered + 1 };
            }
        }
        refusal.map_or(Ok(()), Err)
    }
}

/// The rules of a chain; none when the chain or its table does not exist.
pub fn rules(table: Table, chain: &str) -> Result<Vec<FoundRule>, Error> {
    let request = || Attributes::new().text(1, table.name).text(2, chain);
    let what = format!(
        "failed to list the rules of chain {chain:?} of table {:?}",
        table.name
    );
    for _ in 0..TRIES {
        match dump(table, message::GET_RULE, request()) {
            Ok(Some(found)) => {
                let rules = found.iter().filter_map(|bytes| FoundRule::read(bytes));
                return Ok(rules.filter(|rule| rule.chain == chain).collect());
            }
            Ok(None) => {}
            Err(failure) if is_absence(&failure) => return Ok(Vec::new()),
            Err(failure) => return Err(failure.during(what)),
        }
    }
    Err(Error::try_again(format!(
        "{what}: they are changing all the time"
    )))
}

/// Whether a chain exists.
pub fn chain_exists(table: Table, chain: &str) -> Result<bool, Error> {
    let attributes = Attributes::new().text(1, table.name).text(3, chain);
    match request(table, message::GET_CHAIN, message::ACK, attributes) {
        Ok(_) => Ok(true),
        Err(failure) if is_absence(&failure) => Ok(false),
        Err(failure) => Err(failure.during(format!("failed to look up chain {chain:?}"))),
    }
}

/// The names of a table's chains; none when there is no such table.
pub fn chain_names(table: Table) -> Result<Vec<String>, Error> {
    for _ in 0..TRIES {
        if let Some(chains) = chains(table)? {
            return Ok(chains.into_iter().map(|chain| chain.name).collect());
        }
    }
    let name = table.name;
    Err(Error::try_again(format!(
        "the chains of table {name:?} are changing all the time"
    )))
}

/// The chains of a table; `None` when they were changed meanwhile.
fn chains(table: Table) -> Result<Option<Vec<FoundChain>>, Error> {
    let attributes = Attributes::new().text(1, table.name);
    match dump(table, message::GET_CHAIN, attributes) {
        Ok(None) => Ok(None),
        Ok(Some(found)) => {
            let chains = found.iter().map(|bytes| FoundChain::read(bytes));
            Ok(Some(
                chains.filter(|chain| chain.table == table.name).collect(),
            ))
        }
        Err(failure) if is_absence(&failure) => Ok(Some(Vec::new())),
        Err(failure) => Err(failure.during("failed to list the chains")),
    }
}

/// Deletes a table that the plugins made and nobody uses any more: it has no chains but `own`, none of them drops by
/// policy, and the chain `last` has no rules.
pub fn delete_table_if_idle(table: Table, own: &[&str], last: &str) -> Result<(), Error> {
    for _ in 0..TRIES {
        let Some(generation) = generation()? else {
            return Ok(());
        };
        let Some(chains) = chains(table)? else {
            continue;
        };
        if chains.is_empty() {
            return Ok(());
        }
        let foreign = |chain: FoundChain| chain.drops || !own.contains(&chain.name.as_str());
        if chains.into_iter().any(foreign) || !rules(table, last)?.is_empty() {
            return Ok(());
        }
        let mut batch = Batch::new(table);
        batch.delete_table();
        match batch.commit_at(Some(generation)) {
            // Somebody changed something, perhaps in this very table: look again.
            Err(failure) if failure.is(Errno::ERESTART) => {}
            Err(failure) if failure.is(Errno::ENOENT) => return Ok(()),
            Err(failure) => return Err(failure.during("failed to delete the table")),
            Ok(()) => return Ok(()),
        }
    }
    // An empty table that stays does no harm, and the next one who leaves tries again.
    Ok(())
}

/// The number of the present state of all rules; `None` on a kernel without nf_tables.
fn generation() -> Result<Option<u32>, Error> {
    let anywhere = Table {
        family: Family::Inet,
        name: "",
    };
    let answer = request(
        anywhere,
        message::GET_GENERATION,
        message::ACK,
        Attributes::new(),
    );
    let found = match answer {
        Ok((found, _)) => found,
        Err(failure) if is_absence(&failure) => return Ok(None),
        Err(failure) => return Err(failure.during("failed to read the generation of nf_tables")),
    };
    let mut attributes = found.iter().flat_map(|bytes| message::read(bytes));
    let id = attributes.find(|(kind, _)| *kind == 1);
    Ok(id.and_then(|(_, value)| Some(u32::from_be_bytes(value.try_into().ok()?))))
}

/// The objects of one listing; `None` when it was interrupted by a change.
fn dump(table: Table, kind: u16, attributes: Attributes) -> Result<Option<Vec<Vec<u8>>>, Failure> {
    let (found, whole) = request(table, kind, message::DUMP, attributes)?;
    Ok(whole.then_some(found))
}

/// Asks one thing. Returns the objects that were told, and whether nothing changed while they were listed.
fn request(
    table: Table,
    kind: u16,
    flags: u16,
    attributes: Attributes,
) -> Result<(Vec<Vec<u8>>, bool), Failure> {
    let socket = Socket::open()?;
    socket.send(&message::encode(
        kind,
        flags,
        1,
        table.family as u8,
        attributes,
    ))?;
    let mut found = Vec::new();
    let mut whole = true;
    loop {
        for reply in replies(&socket.receive()?) {
            match reply {
                Reply::Outcome { errno: 0, .. } => return Ok((found, whole)),
                Reply::Outcome { errno, .. } => return Err(Failure::Errno(errno)),
                Reply::Object { bytes, interrupted } => {
                    whole &= !interrupted;
                    found.push(bytes);
                }
            }
        }
    }
}

/// A chain as listed by the kernel.
struct FoundChain {
    table: String,
    name: String,
    drops: bool,
}

impl FoundChain {
    fn read(bytes: &[u8]) -> FoundChain {
        let mut chain = FoundChain {
            table: String::new(),
            name: String::new(),
            drops: false,
        };
        for (kind, value) in message::read(bytes) {
            match kind {
                1 => chain.table = rule::text(value),
                3 => chain.name = rule::text(value),
                5 => chain.drops = value == [0; 4],
                _ => {}
            }
        }
        chain
    }
}

/// What a kernel says that has no such thing, or no nf_tables (for this family) at all.
fn is_absence(failure: &Failure) -> bool {
    [
        Errno::ENOENT,
        Errno::EINVAL,
        Errno::EOPNOTSUPP,
        Errno::EAFNOSUPPORT,
        Errno::EPROTONOSUPPORT,
    ]
    .into_iter()
    .any(|errno| failure.is(errno))
}
