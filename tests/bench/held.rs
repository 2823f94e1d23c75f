//! One ADD of the IPAM plugin while so many leases are held, and the memory of a server that holds them.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::json;

use crate::host_local::HostLocal;
use crate::lab::Lab;
use crate::plugin::{Plugin, address, nowhere};
use crate::row::{Goal, Peer, Row};
use crate::samples::Samples;
use crate::service::Service;

pub(crate) const ROWS: &[&str] = &[
    "add-0",
    "add-5000",
    "add-50000",
    "flat-5000",
    "flat-50000",
    "memory",
];

const POOL: &str = "held";
const MILLION: u64 = 1_000_000;

/// Medians in milliseconds with so many leases held; the peer's where it was measured.
pub(crate) struct Rung {
    pub(crate) held: u64,
    pub(crate) ours: f64,
    /// Of a service that holds none, in turn with it.
    empty: f64,
    pub(crate) peer: Option<f64>,
}

/// A service, and our plugin.
struct Side {
    service: Service,
    plugin: Plugin,
}

/// One side and the peer with as many leases, the other side without.
pub(crate) struct Ladder {
    filled: Side,
    empty: Side,
    peer: HostLocal,
    samples: usize,
}

impl Side {
    fn new(lab: &Lab, folder: &Path) -> Result<Self> {
        let service = Service::start(lab)?;
        service.create_pool(POOL, "10.0.0.0/8", &json!({}))?;
        let config = json!({
            "cniVersion": "1.0.0", "name": "bench", "type": "cluster-ipam",
            "ipam": {
                "type": "cluster-ipam", "server": service.server.url(), "pools": [POOL], "node": "bench",
                "stateDir": folder.join("state")
            }
        });
        let plugin = Plugin::new(config, lab.binaries_path()?, folder)?;
        Ok(Self { service, plugin })
    }

    /// How long an ADD takes; its DEL follows.
    fn add(&self, container: &str) -> Result<Duration> {
        let (took, result) = self.plugin.call("ADD", &nowhere(container))?;
        address(&result)?;
        self.plugin.call("DEL", &nowhere(container))?;
        Ok(took)
    }
}

impl Ladder {
    pub(crate) fn new(lab: &Lab) -> Result<Self> {
        let folder = lab.folder.path();
        Ok(Self {
            filled: Side::new(lab, &folder.join("filled"))?,
            empty: Side::new(lab, &folder.join("empty"))?,
            peer: HostLocal::new(folder)?,
            samples: lab.amount(15, 40),
        })
    }

    /// All of them in turn, with so many leases held.
    pub(crate) fn climb(&mut self, held: u64, with_peer: bool) -> Result<Rung> {
        eprintln!("ADD with {held} leases held");
        self.filled.service.fill(POOL, held)?;
        if with_peer {
            self.peer.fill(held)?;
        }
        let [mut ours, mut none, mut theirs] = [const { Samples::EMPTY }; 3];
        for number in 0..=self.samples {
            let container = format!("sample-{number}");
            let mut sides = [(&self.filled, &mut ours), (&self.empty, &mut none)];
            // Whoever comes after the peer finds the machine's caches full of its files.
            if number % 2 == 1 {
                sides.reverse();
            }
            for (side, samples) in sides {
                let took = side.add(&container)?;
                // The first ones find cold caches, and ours writes down which service it is.
                if number > 0 {
                    samples.push_time(took);
                }
            }
            let peer = if with_peer {
                Some(self.peer.add(&container)?)
            } else {
                None
            };
            if number > 0 {
                peer.into_iter().for_each(|took| theirs.push_time(took));
            }
        }
        let leased = self.filled.service.pool(POOL)?.usage.leased;
        ensure!(leased == held, "{leased} leases instead of {held}");
        Ok(Rung {
            held,
            ours: ours.median(),
            empty: none.median(),
            peer: with_peer.then(|| theirs.median()),
        })
    }

    /// Ends it, once the books are in order.
    pub(crate) fn close(self) -> Result<()> {
        self.filled.service.check_books()?;
        self.empty.service.check_books()
    }
}

pub(crate) fn run(lab: &Lab) -> Result<Vec<Row>> {
    let mut ladder = Ladder::new(lab)?;
    let mut rungs = Vec::new();
    for held in [0, 5_000, 50_000] {
        rungs.push(ladder.climb(held, true)?);
    }
    let mut rows = adds(&rungs)?;
    if lab.wants_memory {
        let held = lab.amount(MILLION / 10, MILLION);
        eprintln!("memory of the server with {held} leases");
        ladder.filled.service.fill(POOL, held)?;
        rows.push(Row {
            id: "memory",
            what: format!("memory of the server at {held} leases"),
            unit: "MiB",
            ours: ladder.filled.service.memory_mib()?,
            peer: None,
            goal: Goal::OrLess(64.0),
            note: String::new(),
        });
    }
    ladder.close()?;
    Ok(rows)
}

fn adds(rungs: &[Rung]) -> Result<Vec<Row>> {
    let row = |id, what: String, ours, name, peer, goal| Row {
        id,
        what,
        unit: "ms",
        ours,
        peer: Some(Peer { name, value: peer }),
        goal: Goal::TimesOrLess(goal),
        note: String::new(),
    };
    let mut rows = Vec::new();
    for (rung, (id, goal)) in
        rungs
            .iter()
            .zip([("add-0", 0.4), ("add-5000", 0.05), ("add-50000", 0.05)])
    {
        let peer = rung.peer.context("the peer was measured")?;
        let what = format!("ADD of the IPAM plugin, {} leases held", rung.held);
        rows.push(row(id, what, rung.ours, "host-local", peer, goal));
    }
    for (rung, id) in rungs[1..].iter().zip(["flat-5000", "flat-50000"]) {
        let what = format!("the same, {} against none held", rung.held);
        rows.push(row(id, what, rung.ours, "itself", rung.empty, 1.2));
    }
    Ok(rows)
}
