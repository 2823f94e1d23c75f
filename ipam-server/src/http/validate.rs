//! Strings and lists of a request, checked before anything else sees them: a batch must not fail because one of its claims
//! holds what a database cannot store.

use std::net::IpAddr;

use ipam_api::{
    Attachment, CheckRequest, Claim, Entry, GcRequest, NewPool, Pod, PoolPatch, ReleaseRequest,
    StatusRequest,
};

use super::error::{Failure, Result};
use crate::allocator::RELEASES_MAX;
use crate::store::Cursor;

/// The longest name of a cluster, node, network, vrf or pool, and the longest text of a pod: DNS' limit.
const LONGEST_NAME: usize = 253;
/// The longest other text.
const LONGEST_TEXT: usize = 255;
const ENTRIES: usize = 16;
const POOLS_PER_ENTRY: usize = 16;
const WANTED: usize = 16;
const CHECKED: usize = 64;
const VALID: usize = 100_000;
/// Ranges, exclusions or routes of a pool.
const PARTS: usize = 10_000;
const LABELS: usize = 64;
const PAGE: u32 = 1_000;
const DEFAULT_PAGE: u32 = 100;

/// `POST /v1/leases`.
pub(super) fn claim(claim: &Claim) -> Result<()> {
    attachment("attachment.", &claim.attachment)?;
    optional_text("machine_id", claim.machine_id.as_deref())?;
    optional_text("boot_id", claim.boot_id.as_deref())?;
    not_negative("issued", claim.issued)?;
    claim.pod.as_ref().map_or(Ok(()), pod)?;
    if claim.owner.is_some() {
        return invalid("owner", "is not supported yet; leave it out");
    }
    entries(&claim.entries)?;
    count("wanted", claim.wanted.len(), 0, WANTED)?;
    for (index, address) in claim.wanted.iter().enumerate() {
        let field = format!("wanted[{index}]");
        plain_address(&field, *address)?;
        if claim.wanted[..index].contains(address) {
            return invalid(&field, format!("{address} is named twice"));
        }
    }
    Ok(())
}

/// `POST /v1/release`.
pub(super) fn release(request: &ReleaseRequest) -> Result<()> {
    optional_text("boot_id", request.boot_id.as_deref())?;
    count("attachments", request.attachments.len(), 0, RELEASES_MAX)?;
    for (index, one) in request.attachments.iter().enumerate() {
        let at = format!("attachments[{index}].");
        attachment(&at, &one.attachment())?;
        optional_text(&format!("{at}boot_id"), one.boot_id.as_deref())?;
        not_negative(&format!("{at}issued"), one.issued)?;
        not_negative(&format!("{at}claim_issued"), one.claim_issued)?;
    }
    Ok(())
}

/// `POST /v1/gc`.
pub(super) fn gc(request: &GcRequest) -> Result<()> {
    name("cluster", &request.cluster)?;
    name("node", &request.node)?;
    name("network", &request.network)?;
    optional_text("machine_id", request.machine_id.as_deref())?;
    optional_text("boot_id", request.boot_id.as_deref())?;
    not_negative("issued", request.issued)?;
    count("valid", request.valid.len(), 0, VALID)?;
    for (index, one) in request.valid.iter().enumerate() {
        text(&format!("valid[{index}].container_id"), &one.container_id)?;
        text(&format!("valid[{index}].ifname"), &one.ifname)?;
    }
    Ok(())
}

/// `POST /v1/check`.
pub(super) fn check(request: &CheckRequest) -> Result<()> {
    attachment("attachment.", &request.attachment)?;
    count("addresses", request.addresses.len(), 0, CHECKED)
}

/// `POST /v1/status`.
pub(super) fn status(request: &StatusRequest) -> Result<()> {
    entries(&request.entries)
}

/// `POST /v1/pools`, as far as strings and counts go; the addresses are the store's.
pub(super) fn new_pool(pool: &NewPool) -> Result<()> {
    name("name", &pool.name)?;
    pool.vrf.as_deref().map_or(Ok(()), |vrf| name("vrf", vrf))?;
    pool_settings(&PoolPatch {
        ranges: Some(pool.ranges.clone()),
        exclude: Some(pool.exclude.clone()),
        gateway: pool.gateway,
        routes: Some(pool.routes.clone()),
        dns: Some(pool.dns.clone()),
        reuse_delay_s: pool.reuse_delay_s,
        state: Some(pool.state),
        labels: Some(pool.labels.clone()),
    })
}

/// `PATCH /v1/pools/{pool}`, likewise.
pub(super) fn pool_settings(patch: &PoolPatch) -> Result<()> {
    let ranges = patch.ranges.iter().flatten().map(Vec::len);
    count("ranges", ranges.sum(), 0, PARTS)?;
    count(
        "exclude",
        patch.exclude.as_ref().map_or(0, Vec::len),
        0,
        PARTS,
    )?;
    count(
        "routes",
        patch.routes.as_ref().map_or(0, Vec::len),
        0,
        PARTS,
    )?;
    if let Some(dns) = &patch.dns {
        optional_text(
            "dns.domain",
            Some(dns.domain.as_str()).filter(|text| !text.is_empty()),
        )?;
        for (field, list) in [
            ("dns.nameservers", &dns.nameservers),
            ("dns.search", &dns.search),
            ("dns.options", &dns.options),
        ] {
            count(field, list.len(), 0, LABELS)?;
            for (index, item) in list.iter().enumerate() {
                text(&format!("{field}[{index}]"), item)?;
            }
        }
    }
    let labels = patch.labels.iter().flatten();
    count("labels", labels.clone().count(), 0, LABELS)?;
    for (key, value) in labels {
        text("labels: a key", key)?;
        optional_text(
            &format!("labels.{key}"),
            Some(value.as_str()).filter(|text| !text.is_empty()),
        )?;
    }
    Ok(())
}

/// Where a list goes on.
pub(super) fn cursor(after: Option<String>, limit: Option<u32>) -> Result<Cursor> {
    optional_text("cursor", after.as_deref())?;
    let limit = limit.unwrap_or(DEFAULT_PAGE);
    if !(1..=PAGE).contains(&limit) {
        return invalid("limit", format!("{limit} is not between 1 and {PAGE}"));
    }
    Ok(Cursor { after, limit })
}

/// Letters, digits, `_`, `.` and `-`, beginning with a letter or digit: CNI's rule for networks, which hostnames keep too,
/// and which needs no escape in a path.
pub(super) fn name(field: &str, value: &str) -> Result<()> {
    let good = value.len() <= LONGEST_NAME
        && value
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte))
        && value
            .as_bytes()
            .first()
            .is_some_and(u8::is_ascii_alphanumeric);
    match good {
        true => Ok(()),
        false => invalid(
            field,
            format!(
                "{} is not a name: 1 to {LONGEST_NAME} letters, digits, '_', '.' or '-', the first a letter or digit",
                shown(value)
            ),
        ),
    }
}

/// Not empty, not too long, no control characters.
pub(super) fn text(field: &str, value: &str) -> Result<()> {
    bounded(field, value, LONGEST_TEXT)
}

/// The same, where there is something.
pub(super) fn optional_text(field: &str, value: Option<&str>) -> Result<()> {
    value.map_or(Ok(()), |value| text(field, value))
}

fn bounded(field: &str, value: &str, longest: usize) -> Result<()> {
    if value.is_empty() {
        return invalid(field, "is empty");
    }
    if value.len() > longest {
        let length = value.len();
        return invalid(
            field,
            format!("{} has {length} bytes, more than {longest}", shown(value)),
        );
    }
    if value.chars().any(char::is_control) {
        return invalid(field, format!("{} has a control character", shown(value)));
    }
    Ok(())
}

fn attachment(at: &str, attachment: &Attachment) -> Result<()> {
    let Attachment {
        cluster,
        node,
        network,
        container_id,
        ifname,
    } = attachment;
    name(&format!("{at}cluster"), cluster)?;
    name(&format!("{at}node"), node)?;
    name(&format!("{at}network"), network)?;
    text(&format!("{at}container_id"), container_id)?;
    text(&format!("{at}ifname"), ifname)
}

fn pod(pod: &Pod) -> Result<()> {
    for (field, value) in [
        ("pod.namespace", &pod.namespace),
        ("pod.name", &pod.name),
        ("pod.uid", &pod.uid),
    ] {
        if let Some(value) = value {
            bounded(field, value, LONGEST_NAME)?;
        }
    }
    Ok(())
}

/// `NAME`, or `NAMESPACE/NAME`.
pub(super) fn pod_filter(value: &str) -> Result<()> {
    let (namespace, name) = value.split_once('/').unwrap_or(("default", value));
    bounded("pod", namespace, LONGEST_NAME)?;
    bounded("pod", name, LONGEST_NAME)
}

fn entries(entries: &[Entry]) -> Result<()> {
    count("entries", entries.len(), 1, ENTRIES)?;
    for (index, entry) in entries.iter().enumerate() {
        let field = format!("entries[{index}].pools");
        count(&field, entry.pools.len(), 1, POOLS_PER_ENTRY)?;
        for (number, pool) in entry.pools.iter().enumerate() {
            name(&format!("{field}[{number}]"), pool)?;
        }
    }
    Ok(())
}

/// IPv4-mapped IPv6 would be another address to clients and the same to the store.
pub(super) fn plain_address(field: &str, address: IpAddr) -> Result<()> {
    match address {
        IpAddr::V6(v6) if v6.to_ipv4_mapped().is_some() => invalid(
            field,
            format!("{address} is an IPv4-mapped address; write it as IPv4"),
        ),
        _ => Ok(()),
    }
}

fn not_negative(field: &str, value: Option<i64>) -> Result<()> {
    match value {
        Some(number @ ..0) => invalid(field, format!("{number} is negative")),
        _ => Ok(()),
    }
}

fn count(field: &str, found: usize, least: usize, most: usize) -> Result<()> {
    match (least..=most).contains(&found) {
        true => Ok(()),
        false => invalid(
            field,
            format!("has {found} items; {least} to {most} are allowed"),
        ),
    }
}

/// A value as errors show it: escaped, and not longer than a line.
fn shown(value: &str) -> String {
    let mut text: String = value.chars().take(80).collect();
    if text.len() < value.len() {
        text.push('…');
    }
    format!("{text:?}")
}

fn invalid<T>(field: &str, what: impl std::fmt::Display) -> Result<T> {
    Err(Failure::invalid(format!("{field}: {what}")))
}
