//! Spools of a size that nobody hopes for, delivered to a real server by processes that are killed, that run at once, and
//! that have no disk left.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use harness::server::{Launch, Server};
use harness::{binaries, postgres, require};
use ipam_api::Release;
use ipam_client_plugin::client::Access;
use ipam_client_plugin::spool::{Record, Spool};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::disk::Disk;
use crate::plugin::{call, flush, flushing};

const NODE: &str = "n1";
const BOOT: &str = "boot-1";
const RECORDS: usize = 10_000;
/// Of that many attachments one holds a lease; the others were released already.
const HELD_EACH: usize = 20;
/// Of that many that hold one, one was claimed again after its release was spooled.
const ALIVE_EACH: usize = 5;

/// A node with a spool in memory: what a disk takes for so many files is not what is tested.
struct Node {
    folder: TempDir,
    server: Server,
}

impl Node {
    fn new() -> Option<Self> {
        let server = Launch::new()
            .database(&postgres::database()?)
            .env("IPAM_LOG", "error");
        let server = server.start().expect("a server");
        let pool = json!({ "name": "v4", "subnet": "10.0.0.0/16", "reuse_delay_s": 0 });
        let made = server.rest().post("/v1/pools", &pool).expect("an answer");
        made.expect(201);
        let folder = TempDir::with_prefix_in("ipam-spool-", "/dev/shm").expect("a folder");
        let file = json!({ "server": server.socket_url(), "node": NODE });
        fs::write(folder.path().join("node.json"), file.to_string()).expect("the node file");
        Some(Self { folder, server })
    }

    /// Releases of `c0`, `c1`, … that were issued at 10, of which some hold leases: most of them were claimed before, and
    /// some after it.
    fn fill(&self, records: usize) {
        let spool = Spool::of(&self.folder.path().join("state"));
        for number in 0..records {
            let id = format!("c{number}");
            if number % HELD_EACH == 0 {
                let is_alive = number % (HELD_EACH * ALIVE_EACH) == 0;
                self.claim(&id, if is_alive { 11 } else { 9 });
            }
            spool.write(&record(&id)).expect("a record");
        }
    }

    fn claim(&self, id: &str, issued: i64) {
        let claim = json!({
            "attachment": { "node": NODE, "network": "net", "container_id": id, "ifname": "eth0" },
            "boot_id": BOOT, "issued": issued, "entries": [{ "pools": ["v4"] }],
        });
        let answer = self.server.rest().post("/v1/leases", &claim);
        answer.expect("an answer").expect(201);
    }

    fn spooled(&self) -> usize {
        let spool = Spool::of(&self.folder.path().join("state"));
        spool.names().expect("the spool").len()
    }

    fn config(&self, state: &Path) -> Value {
        json!({
            "cniVersion": "1.1.0", "name": "pods", "type": "bridge",
            "ipam": {
                "type": "cluster-ipam", "server": self.server.socket_url(), "pools": ["v4"], "node": "n2",
                "nodeFile": self.folder.path().join("node.json"), "stateDir": state,
            },
        })
    }

    /// Only those that were claimed again hold anything.
    fn assert_delivered(&self, records: usize) {
        assert_eq!(self.spooled(), 0);
        let alive = records.div_ceil(HELD_EACH * ALIVE_EACH);
        let pool = self.server.rest().get("/v1/pools/v4").expect("an answer");
        assert_eq!(pool.expect(200)["usage"]["leased"], json!(alive));
        let answer = self.server.rest().get("/v1/leases?limit=1000");
        let leases = answer.expect("an answer").expect(200);
        for lease in leases["items"].as_array().expect("a list") {
            let id = lease["attachment"]["container_id"].as_str().expect("an id");
            let number: usize = id[1..].parse().expect("a number");
            assert_eq!(number % (HELD_EACH * ALIVE_EACH), 0, "{id} was released");
        }
    }
}

fn record(id: &str) -> Record {
    Record {
        release: Release {
            cluster: "default".to_owned(),
            node: NODE.to_owned(),
            network: "net".to_owned(),
            container_id: id.to_owned(),
            ifname: "eth0".to_owned(),
            boot_id: Some(BOOT.to_owned()),
            issued: Some(10),
            claim_issued: None,
        },
        access: Access::default(),
    }
}

#[test]
fn a_spool_of_ten_thousand_outlives_kills_of_its_flush_and_frees_nobody_who_is_alive_again() {
    let Some(node) = Node::new() else {
        return;
    };
    node.fill(RECORDS);
    let mut left = RECORDS;
    for _ in 0..3 {
        let mut flushing = flushing(node.folder.path());
        let mut child = (flushing.stdout(Stdio::null()).spawn()).expect("cluster-ipam starts");
        while node.spooled() > left.saturating_sub(1_500)
            && child.try_wait().is_ok_and(|it| it.is_none())
        {
            thread::sleep(Duration::from_millis(2));
        }
        child.kill().expect("it is killed");
        child.wait().expect("it ends");
        assert!(node.spooled() < left, "it has delivered some");
        left = node.spooled();
    }
    assert!(left > 0, "the kills came in the middle");
    let said = flush(node.folder.path()).expect("everything is delivered");
    assert!(said.contains(" 0 left"), "{said}");
    node.assert_delivered(RECORDS);
}

#[test]
fn many_that_deliver_one_spool_at_once_neither_fail_nor_free_what_is_alive() {
    let Some(node) = Node::new() else {
        return;
    };
    let records = RECORDS / 5;
    node.fill(records);
    let config = node.config(&node.folder.path().join("state"));
    thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| flush(node.folder.path()));
        }
        for number in 0..6 {
            let config = &config;
            scope.spawn(move || {
                // Each ADD and DEL takes a batch along.
                for round in 0..5 {
                    let id = format!("other-{number}-{round}");
                    let plugin = || Command::new(binaries::path("cluster-ipam"));
                    call(plugin(), "ADD", &id, config).expect("ADD");
                    call(plugin(), "DEL", &id, config).expect("DEL");
                }
            });
        }
    });
    flush(node.folder.path()).expect("the rest is delivered");
    node.assert_delivered(records);
}

#[test]
fn without_a_server_and_without_disk_a_del_fails_and_the_next_one_loses_nothing() {
    if !require::namespaces() {
        return;
    }
    let Some(mut node) = Node::new() else {
        return;
    };
    let disk = Disk::new(24);
    let config = node.config(Path::new(&Disk::path("state")));
    let plugin = || disk.namespace.command(binaries::path("cluster-ipam"));
    call(plugin(), "ADD", "c1", &config).expect("ADD");
    node.server.kill().expect("it is killed");
    disk.fill();
    let error = call(plugin(), "DEL", "c1", &config).expect_err("it can promise nothing");
    assert!(
        error.contains("cannot be kept in") && error.contains("/state/spool"),
        "{error}"
    );
    assert!(
        error.contains("\"code\": 5") || error.contains("\"code\":5"),
        "{error}"
    );

    disk.empty();
    call(plugin(), "DEL", "c1", &config).expect("it is spooled");
    node.server.restart().expect("it starts");
    call(plugin(), "ADD", "c2", &config).expect("ADD delivers the spool");
    call(plugin(), "DEL", "c2", &config).expect("DEL");
    let leases = node.server.rest().get("/v1/leases").expect("an answer");
    assert_eq!(leases.expect(200)["items"], json!([]));
}
