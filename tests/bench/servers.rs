//! Two servers on one PostgreSQL against one: on one hot pool, and each on a pool of its own.

use std::net::SocketAddr;
use std::thread;
use std::time::Duration;

use anyhow::{Result, anyhow};
use harness::server::{Launch, Server};
use serde_json::json;

use crate::lab::Lab;
use crate::load::{self, Plan};
use crate::row::{Goal, Peer, Row};
use crate::samples::Samples;
use crate::service::Service;

pub(crate) const ROWS: &[&str] = &["servers-hot", "servers-apart"];

const CLIENTS: usize = 64;
/// What two servers are to keep of one server's rate, with the same clients on the same cores.
const KEPT: f64 = 0.9;

pub(crate) fn run(lab: &Lab) -> Result<Vec<Row>> {
    let first = Service::start(lab)?;
    for (name, subnet) in [
        ("hot", "10.0.0.0/8"),
        ("one", "11.0.0.0/8"),
        ("two", "12.0.0.0/8"),
    ] {
        first.create_pool(name, subnet, &json!({}))?;
    }
    let second = Launch::new()
        .program(lab.binaries.join("ipam-server"))
        .database(first.server.database_url())
        .start()?;
    let servers = [first.address, address(&second)?];
    let time = Duration::from_secs(lab.amount(2, 5));
    let [mut alone, mut hot, mut apart] = [const { Samples::EMPTY }; 3];
    for round in 0..lab.amount(3, 6) {
        eprintln!("two servers, round {}", round + 1);
        // The tables grow from one to the next: none may always be the first.
        for turn in round..round + 3 {
            match turn % 3 {
                0 => {
                    let load = load::claims(servers[0], "hot", CLIENTS, Plan::Time(time))?;
                    alone.push(load.per_second());
                }
                1 => hot.push(both(servers, ["hot", "hot"], time)?),
                _ => apart.push(both(servers, ["one", "two"], time)?),
            }
        }
    }
    first.check_books()?;
    let row = |id, where_: &str, ours: &Samples| Row {
        id,
        what: format!("leases of two servers on {where_}, {CLIENTS} clients"),
        unit: "/s",
        ours: ours.median(),
        peer: Some(Peer {
            name: "one server",
            value: alone.median(),
        }),
        goal: Goal::TimesOrMore(KEPT),
        note: String::new(),
    };
    Ok(vec![
        row("servers-hot", "one pool", &hot),
        row("servers-apart", "a pool each", &apart),
    ])
}

fn address(server: &Server) -> Result<SocketAddr> {
    Ok(server.url().trim_start_matches("http://").parse()?)
}

/// Half of the clients at each server, at the same time; leases per second of both together.
fn both(servers: [SocketAddr; 2], pools: [&str; 2], time: Duration) -> Result<f64> {
    thread::scope(|scope| {
        let loads = [0, 1].map(|n| {
            scope.spawn(move || load::claims(servers[n], pools[n], CLIENTS / 2, Plan::Time(time)))
        });
        let mut sum = 0.0;
        for load in loads {
            let claims = load.join().map_err(|_| anyhow!("a load panicked"))??;
            sum += claims.per_second();
        }
        Ok(sum)
    })
}
