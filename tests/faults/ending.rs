//! Reads what a service holds and held, over its REST API.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Duration;

use harness::rest::Rest;
use history::{Ending, Life, Pool};
use ipam_api::{HistoryEntry, Lease, Node, Page};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

/// A pool of the test's: its range has no gateway and no exclusion in it.
pub(crate) struct Range {
    pub(crate) name: &'static str,
    vrf: &'static str,
    subnet: &'static str,
    first: &'static str,
    pub(crate) size: u16,
    reuse_delay_s: u16,
}

/// Small, so that addresses are used again at once, and run out.
pub(crate) const RANGES: [Range; 5] = [
    Range {
        name: "v4",
        vrf: "default",
        subnet: "10.0.0.0/24",
        first: "10.0.0.16",
        size: 48,
        reuse_delay_s: 0,
    },
    Range {
        name: "more-v4",
        vrf: "default",
        subnet: "10.1.0.0/24",
        first: "10.1.0.16",
        size: 24,
        reuse_delay_s: 1,
    },
    Range {
        name: "v6",
        vrf: "default",
        subnet: "2001:db8::/64",
        first: "2001:db8::10",
        size: 80,
        reuse_delay_s: 1,
    },
    Range {
        name: "blue",
        vrf: "blue",
        subnet: "10.0.0.0/24",
        first: "10.0.0.16",
        size: 16,
        reuse_delay_s: 0,
    },
    Range {
        name: "slow",
        vrf: "default",
        subnet: "10.2.0.0/24",
        first: "10.2.0.16",
        size: 16,
        reuse_delay_s: 0,
    },
];

/// How long the addresses rest that rest the longest.
pub(crate) fn longest_rest() -> Duration {
    let longest = RANGES.iter().map(|range| range.reuse_delay_s).max();
    Duration::from_secs(longest.unwrap_or_default().into())
}

impl Range {
    fn address(&self, index: u16) -> IpAddr {
        let first: IpAddr = self.first.parse().expect("an address");
        match first {
            IpAddr::V4(first) => IpAddr::V4((u32::from(first) + u32::from(index)).into()),
            IpAddr::V6(first) => IpAddr::V6((u128::from(first) + u128::from(index)).into()),
        }
    }
}

/// Creates the pools.
pub(crate) fn create(rest: &Rest) {
    let post = |path: &str, body: Value| {
        rest.post(path, &body).expect("an answer").expect(201);
    };
    post("/v1/vrfs", json!({ "name": "blue" }));
    for range in &RANGES {
        let last = range.address(range.size - 1);
        let ranges = json!([{ "first": range.first, "last": last }]);
        post(
            "/v1/pools",
            json!({
                "name": range.name, "vrf": range.vrf, "subnet": range.subnet, "ranges": ranges,
                "reuse_delay_s": range.reuse_delay_s,
            }),
        );
    }
}

/// Forgets the nodes that became disputed, as an admin has to in the end: until then nothing of their earlier boots is freed.
pub(crate) fn forget_disputed(rest: &Rest) -> BTreeSet<(String, String)> {
    let nodes = pages::<Node>(rest, "/v1/nodes?").into_iter();
    let disputed = nodes.filter(|node| node.disputed_at.is_some());
    disputed
        .map(|node| {
            let path = format!("/v1/nodes/{}?cluster={}", node.name, node.cluster);
            let answer = rest.delete(&path).expect("an answer");
            assert!(
                answer.status < 300,
                "{path}: {} {}",
                answer.status,
                answer.body
            );
            (node.cluster, node.name)
        })
        .collect()
}

/// Everything, when no call is under way. A server reclaims what a reboot left behind whenever it likes: so it is read
/// again until the accounts are the same afterwards as before.
pub(crate) fn read(rest: &Rest) -> Ending {
    for _ in 0..20 {
        let pools = pools(rest);
        let lives = lives(rest);
        let mut listed: Vec<_> = (pages::<Lease>(rest, "/v1/leases?").into_iter())
            .map(|lease| lease.id)
            .collect();
        if pools == self::pools(rest) {
            let held = lives.iter().filter(|life| life.released.is_none());
            let mut held: Vec<_> = held.map(|life| life.lease.clone()).collect();
            listed.sort();
            held.sort();
            assert_eq!(listed, held, "the list of leases and the history differ");
            return Ending {
                pools,
                lives,
                ..Ending::default()
            };
        }
    }
    panic!("the accounts change, though nobody asks for anything");
}

fn pools(rest: &Rest) -> Vec<Pool> {
    let pool = |range: &Range| {
        let pool: ipam_api::Pool = one(rest, &format!("/v1/pools/{}", range.name));
        Pool {
            name: pool.name,
            size: u64::from(range.size),
            reserved: 0,
            reuse_delay: Duration::from_secs(u64::from(range.reuse_delay_s)),
            usage: pool.usage,
        }
    };
    RANGES.iter().map(pool).collect()
}

fn lives(rest: &Rest) -> Vec<Life> {
    let mut lives = Vec::new();
    for range in &RANGES {
        for index in 0..range.size {
            let address = range.address(index);
            let path = format!("/v1/history?vrf={}&address={address}", range.vrf);
            let entries = pages::<HistoryEntry>(rest, &path);
            lives.extend(entries.into_iter().map(life));
        }
    }
    lives
}

fn life(entry: HistoryEntry) -> Life {
    let reason = entry.reason.unwrap_or_default();
    Life {
        lease: entry.lease_id,
        vrf: entry.vrf,
        pool: entry.pool,
        address: entry.address,
        attachment: entry.attachment,
        created: entry.created_at,
        released: entry.released_at.map(|at| (at, reason)),
    }
}

fn one<T: DeserializeOwned>(rest: &Rest, path: &str) -> T {
    let body = rest.get(path).expect("an answer").expect(200);
    serde_json::from_value(body).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn pages<T: DeserializeOwned>(rest: &Rest, path: &str) -> Vec<T> {
    let mut items = Vec::new();
    let mut cursor = String::new();
    loop {
        let page: Page<T> = one(rest, &format!("{path}&limit=1000{cursor}"));
        items.extend(page.items);
        match page.next_cursor {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return items,
        }
    }
}
