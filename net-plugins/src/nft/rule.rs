//! Rules: writing their expressions, reading back whose they are.

use std::net::IpAddr;

use ipnetwork::IpNetwork;

use super::message::{Attributes, read};

const REGISTER: u32 = 1;
const VERDICT_REGISTER: u32 = 0;
const EQUAL: u32 = 0;
const NOT_EQUAL: u32 = 1;
const META_IIFNAME: u32 = 6;
const META_NFPROTO: u32 = 15;
const LINK_HEADER: u32 = 0;
const NETWORK_HEADER: u32 = 1;
const IFNAMSIZ: usize = 16;

/// What follows when the rule matches.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "named after the verdicts of nft")]
pub enum Verdict {
    Return,
    Drop,
    Jump(String),
    Goto(String),
}

/// A part of a rule: a condition or an action.
#[derive(Clone, Debug)]
pub enum Expression {
    /// The packet comes from this address.
    SourceIs(IpAddr),
    /// The packet goes into this prefix.
    DestinationIn(IpNetwork),
    /// The packet goes elsewhere than into this prefix.
    DestinationNotIn(IpNetwork),
    /// The packet came in over the link of this name.
    CameInOver(String),
    /// The frame has this source address.
    EtherSourceIs([u8; 6]),
    /// The source address becomes that of the link on which the packet leaves.
    Masquerade,
    /// The verdict.
    Verdict(Verdict),
}

/// A rule as listed by the kernel.
#[derive(Clone, Debug)]
pub struct FoundRule {
    /// Its chain.
    pub chain: String,
    /// Its number within the table.
    pub handle: u64,
    /// Its comment; empty when it has none.
    pub comment: String,
    /// The chain that it jumps to, if it does.
    pub jumps_to: Option<String>,
    /// The name of the link that it is about, if it looks at one.
    pub came_in_over: Option<String>,
    /// What it compares fields of the packet with, in its order.
    compared: Vec<Vec<u8>>,
    /// Whether it masquerades.
    masquerades: bool,
    /// How the kernel lists it, to tell whether two rules do the same.
    pub expressions: Vec<u8>,
}

pub(super) fn attributes(
    table: &str,
    chain: &str,
    expressions: &[Expression],
    comment: &str,
) -> Attributes {
    let list = (expressions.iter().flat_map(encode))
        .fold(Attributes::new(), |list, item| list.nested(1, item));
    let rule = Attributes::new()
        .text(1, table)
        .text(2, chain)
        .nested(4, list);
    if comment.is_empty() {
        return rule;
    }
    // The kernel keeps these bytes without reading them; nft finds a comment in them: kind, length, text, NUL.
    let mut user = vec![0, u8::try_from(comment.len() + 1).unwrap_or(u8::MAX)];
    user.extend(comment.as_bytes().iter().take(usize::from(u8::MAX) - 1));
    user.push(0);
    rule.bytes(7, &user)
}

/// What the kernel is told for one part of a rule.
fn encode(expression: &Expression) -> Vec<Attributes> {
    match expression {
        Expression::SourceIs(ip) => {
            let (_, source, _) = layout(ip);
            let mut parts = family_is(ip);
            parts.extend([
                load(NETWORK_HEADER, source, &octets(ip)),
                compare(EQUAL, &octets(ip)),
            ]);
            parts
        }
        Expression::DestinationIn(network) => destination(*network, EQUAL),
        Expression::DestinationNotIn(network) => destination(*network, NOT_EQUAL),
        Expression::CameInOver(name) => {
            let mut padded = name.as_bytes().to_vec();
            padded.resize(IFNAMSIZ, 0);
            vec![meta(META_IIFNAME), compare(EQUAL, &padded)]
        }
        Expression::EtherSourceIs(mac) => vec![load(LINK_HEADER, 6, mac), compare(EQUAL, mac)],
        Expression::Masquerade => vec![Attributes::new().text(1, "masq")],
        Expression::Verdict(verdict) => vec![decide(verdict)],
    }
}

fn destination(network: IpNetwork, operator: u32) -> Vec<Attributes> {
    let (_, _, offset) = layout(&network.ip());
    let (mask, wanted) = (octets(&network.mask()), octets(&network.network()));
    let mut parts = family_is(&network.ip());
    parts.push(load(NETWORK_HEADER, offset, &wanted));
    if network.prefix() < 8 * u8::try_from(wanted.len()).unwrap_or(u8::MAX) {
        parts.push(cut(&mask));
    }
    parts.push(compare(operator, &wanted));
    parts
}

/// The kernel's number of the address family, and where source and destination stand in the header.
fn layout(ip: &IpAddr) -> (u8, u32, u32) {
    match ip {
        IpAddr::V4(_) => (2, 12, 16),
        IpAddr::V6(_) => (10, 8, 24),
    }
}

fn octets(ip: &IpAddr) -> Vec<u8> {
    match ip {
        IpAddr::V4(ip) => ip.octets().to_vec(),
        IpAddr::V6(ip) => ip.octets().to_vec(),
    }
}

fn family_is(ip: &IpAddr) -> Vec<Attributes> {
    let (family, ..) = layout(ip);
    vec![meta(META_NFPROTO), compare(EQUAL, &[family])]
}

fn named(name: &str, data: Attributes) -> Attributes {
    Attributes::new().text(1, name).nested(2, data)
}

fn meta(key: u32) -> Attributes {
    named("meta", Attributes::new().number(2, key).number(1, REGISTER))
}

/// Loads as many bytes as `like` has.
fn load(base: u32, offset: u32, like: &[u8]) -> Attributes {
    let length = u32::try_from(like.len()).unwrap_or(u32::MAX);
    let place = Attributes::new().number(1, REGISTER).number(2, base);
    named("payload", place.number(3, offset).number(4, length))
}

fn cut(mask: &[u8]) -> Attributes {
    let length = u32::try_from(mask.len()).unwrap_or(u32::MAX);
    let registers = Attributes::new().number(1, REGISTER).number(2, REGISTER);
    let zero = vec![0; mask.len()];
    let data = registers
        .number(3, length)
        .nested(4, Attributes::new().bytes(1, mask))
        .nested(5, Attributes::new().bytes(1, &zero));
    named("bitwise", data)
}

fn compare(operator: u32, value: &[u8]) -> Attributes {
    let data = Attributes::new().number(1, REGISTER).number(2, operator);
    named("cmp", data.nested(3, Attributes::new().bytes(1, value)))
}

fn decide(verdict: &Verdict) -> Attributes {
    let (code, chain) = match verdict {
        Verdict::Drop => (0, None),
        Verdict::Jump(chain) => (-3_i32, Some(chain)),
        Verdict::Goto(chain) => (-4, Some(chain)),
        Verdict::Return => (-5, None),
    };
    let mut inner = Attributes::new().number(1, code.cast_unsigned());
    if let Some(chain) = chain {
        inner = inner.text(2, chain);
    }
    let data = Attributes::new().number(1, VERDICT_REGISTER);
    named(
        "immediate",
        data.nested(2, Attributes::new().nested(2, inner)),
    )
}

impl FoundRule {
    pub(super) fn read(bytes: &[u8]) -> Option<FoundRule> {
        let mut rule = FoundRule {
            chain: String::new(),
            handle: 0,
            comment: String::new(),
            jumps_to: None,
            came_in_over: None,
            compared: Vec::new(),
            masquerades: false,
            expressions: Vec::new(),
        };
        for (kind, value) in read(bytes) {
            match kind {
                2 => rule.chain = text(value),
                3 => rule.handle = u64::from_be_bytes(value.try_into().ok()?),
                4 => rule.read_expressions(value),
                7 => rule.comment = comment(value),
                _ => {}
            }
        }
        Some(rule)
    }

    /// Whether it masquerades what comes from the address and leaves its subnet.
    pub(crate) fn masquerades(&self, address: IpNetwork) -> bool {
        let subnet = octets(&address.network());
        // nft compares no more bytes than the prefix has.
        let bytes = usize::from(address.prefix().div_ceil(8));
        let is_subnet = |value: &Vec<u8>| value.len() >= bytes && subnet.starts_with(value);
        self.masquerades
            && self.compared.contains(&octets(&address.ip()))
            && self.compared.iter().any(is_subnet)
    }

    fn read_expressions(&mut self, bytes: &[u8]) {
        self.expressions = bytes.to_vec();
        let mut over = false;
        for (_, expression) in read(bytes) {
            let parts = read(expression);
            let name = parts.iter().find(|(k, _)| *k == 1).map(|(_, v)| text(v));
            let data = parts.iter().find(|(k, _)| *k == 2).map(|(_, v)| *v);
            let data = data.unwrap_or_default();
            match name.as_deref() {
                Some("meta") => over = inside(data, &[2]) == Some(&META_IIFNAME.to_be_bytes()),
                Some("cmp") => {
                    let value = inside(data, &[3, 1]);
                    if over {
                        self.came_in_over = value.map(text);
                    }
                    over = false;
                    self.compared.extend(value.map(<[u8]>::to_vec));
                }
                Some("masq") => self.masquerades = true,
                Some("immediate") => self.jumps_to = inside(data, &[2, 2, 2]).map(text),
                _ => {}
            }
        }
    }
}

/// The value at the end of a path of nested attributes.
fn inside<'a>(bytes: &'a [u8], path: &[u16]) -> Option<&'a [u8]> {
    path.iter().try_fold(bytes, |bytes, kind| {
        read(bytes)
            .into_iter()
            .find(|(k, _)| k == kind)
            .map(|(_, v)| v)
    })
}

pub(super) fn text(bytes: &[u8]) -> String {
    let end = bytes.iter().position(|b| *b == 0).unwrap_or(bytes.len());
    String::from_utf8_lossy(bytes.get(..end).unwrap_or_default()).into_owned()
}

fn comment(user: &[u8]) -> String {
    match user {
        [0, length, rest @ ..] => text(rest.get(..usize::from(*length)).unwrap_or_default()),
        _ => String::new(),
    }
}
