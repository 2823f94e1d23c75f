//! Containers come and go while the server does not answer.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use harness::runtime::Runtime;

use crate::cluster::{Cluster, flush, runtimes};
use crate::pods::ready;

#[test]
fn a_container_is_deleted_while_the_server_is_down_and_its_lease_is_released_afterwards() {
    if !ready() {
        return;
    }
    let mut cluster = Cluster::new();
    let [mut a, mut b] = runtimes(&cluster.nodes, &cluster.ipam(&["v4", "v6"]));
    a.start("one").expect("ADD");
    b.start("two").expect("ADD");

    cluster.server.kill().expect("killed");
    b.stop("two").expect("DEL succeeds without a server");
    let error = a.start("three").expect_err("ADD needs a server");
    assert!(
        format!("{error:#}").contains("(code 11)"),
        "try again later: {error:#}"
    );

    cluster.server.restart().expect("the server comes back");
    assert_eq!(
        cluster.leases().len(),
        4,
        "no lease is lost, none is released yet"
    );
    flush(b.node());
    let holders: Vec<_> = cluster.leases().into_values().collect();
    assert_eq!(holders, ["node-a/one"; 2]);
    a.stop("one").expect("DEL");
    flush(a.node());
    cluster.assert_empty();
}

#[test]
fn the_next_add_on_the_node_settles_the_spool() {
    if !ready() {
        return;
    }
    let mut cluster = Cluster::new();
    let [mut a, _] = runtimes(&cluster.nodes, &cluster.ipam(&["v4"]));
    a.start("one").expect("ADD");
    cluster.server.kill().expect("killed");
    a.stop("one").expect("DEL succeeds without a server");
    cluster.server.restart().expect("the server comes back");

    // The same container id again: its own release must not be served after the new claim.
    a.start("one").expect("ADD");
    eventually("one lease is left", || cluster.leases().len() == 1);
    a.check("one").expect("the new lease is the one that stays");
    a.stop("one").expect("DEL");
    cluster.assert_empty();
}

/// However often the server is killed, at the end the leases are those of the containers that run.
#[test]
fn a_server_that_is_killed_again_and_again_neither_loses_nor_leaks_a_lease() {
    if !ready() {
        return;
    }
    let mut cluster = Cluster::new();
    let ipam = cluster.ipam(&["v4", "v6"]);
    let mut runtimes = runtimes(&cluster.nodes, &ipam);
    let over = AtomicBool::new(false);
    let started: usize = thread::scope(|scope| {
        let over = &over;
        let threads = runtimes
            .each_mut()
            .map(|runtime| scope.spawn(move || churn(runtime, over)));
        for _ in 0..4 {
            thread::sleep(Duration::from_millis(700));
            cluster.server.kill().expect("killed");
            thread::sleep(Duration::from_millis(200));
            cluster.server.restart().expect("the server comes back");
        }
        over.store(true, Ordering::Relaxed);
        threads
            .map(|thread| thread.join().expect("no panic"))
            .iter()
            .sum()
    });
    assert!(started >= 10, "{started} containers were started only");

    let mut running = BTreeSet::new();
    for runtime in &runtimes {
        flush(runtime.node());
        for container in runtime.containers() {
            runtime
                .check(&container)
                .expect("a running container has its addresses");
            running.insert(format!("{}/{container}", runtime.node().name()));
        }
    }
    let leases = cluster.leases();
    assert_eq!(
        leases.len(),
        running.len() * 2,
        "one address of each family: {leases:?}"
    );
    assert_eq!(BTreeSet::from_iter(leases.into_values()), running);
    for runtime in &mut runtimes {
        for container in runtime.containers() {
            runtime.stop(&container).expect("DEL");
        }
    }
    cluster.assert_empty();
}

/// Starts containers, and stops all but every fourth, until it is over. Answers how many started.
fn churn(runtime: &mut Runtime<'_>, over: &AtomicBool) -> usize {
    let mut started = 0;
    let mut number = 0;
    while !over.load(Ordering::Relaxed) {
        number += 1;
        let container = format!("churn-{number}");
        if runtime.start(&container).is_ok() {
            started += 1;
            if number % 4 != 0 {
                runtime
                    .stop(&container)
                    .expect("DEL succeeds whatever the server does");
            }
        }
    }
    started
}

fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    for _ in 0..500 {
        if holds() {
            return;
        }
        thread::sleep(Duration::from_millis(20));
    }
    panic!("not within 10 s: {what}");
}
