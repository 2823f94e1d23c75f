//! Claims whose deadline passes while they wait for their turn: another's transaction waits for a lock that the test holds.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use history::Outcome;
use sqlx::{Connection, PgConnection};
use tokio::runtime::Builder;

use crate::caller::{Ask, Caller};
use crate::node::Node;

const DEADLINE: Duration = Duration::from_millis(150);
/// The server reckons from the claim's arrival, which may be as late as this: it is stopped for less.
const ARRIVAL: Duration = Duration::from_millis(1500);
/// How long the lock is held at most: less than the database lets anybody wait.
const HOLD: Duration = Duration::from_millis(3500);
/// How long somebody may take to come and wait for the lock.
const COMING: Duration = Duration::from_secs(2);

const LOCK: &str = "begin; select 1 from pool_counter c join pool p on p.id = c.pool_id where p.name = 'slow' for update of c";
const WAITING: &str = "select count(*) from pg_stat_activity where $1 = any(pg_blocking_pids(pid))";

/// The lock of the pool `slow`.
struct Held {
    lock: PgConnection,
    /// The process that holds it.
    pid: i32,
    watcher: PgConnection,
}

impl Held {
    async fn take(url: &str) -> Result<Self, sqlx::Error> {
        let mut lock = PgConnection::connect(url).await?;
        sqlx::raw_sql(LOCK).execute(&mut lock).await?;
        let pid = sqlx::query_scalar("select pg_backend_pid()")
            .fetch_one(&mut lock)
            .await?;
        let watcher = PgConnection::connect(url).await?;
        Ok(Self { lock, pid, watcher })
    }

    async fn is_waited_for(&mut self) -> Result<bool, sqlx::Error> {
        let end = Instant::now() + COMING;
        while Instant::now() < end {
            let waiting = sqlx::query_scalar::<_, i64>(WAITING).bind(self.pid);
            let waiting = waiting.fetch_one(&mut self.watcher).await?;
            if waiting > 0 {
                return Ok(true);
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        Ok(false)
    }

    /// True when it was held all the time.
    async fn let_go(mut self) -> bool {
        sqlx::raw_sql("commit")
            .execute(&mut self.lock)
            .await
            .is_ok()
    }
}

/// Holds up the pool `slow` under one claim, and sends another to the same server, whose queue it has to wait in.
pub(crate) fn probe(url: &str, node: &Node, mut first: Caller, mut second: Caller) {
    let runtime = Builder::new_current_thread().enable_all().build();
    let runtime = runtime.expect("a runtime");
    let Ok(mut held) = runtime.block_on(Held::take(url)) else {
        return;
    };
    first.calm();
    second.calm();
    let record = Arc::clone(first.record());
    let answered = AtomicBool::new(false);
    let (proof, proven) = mpsc::channel();
    thread::scope(|scope| {
        let holder = scope.spawn(|| claim(&mut first, node, "holds", HOLD * 2, |_| None));
        if !runtime.block_on(held.is_waited_for()).unwrap_or(false) {
            return;
        }
        let (answered, second) = (&answered, &mut second);
        scope.spawn(move || {
            claim(second, node, "overdue", DEADLINE, |_| {
                answered.store(true, Ordering::SeqCst);
                proven.recv().unwrap_or_default()
            })
        });
        let end = Instant::now() + HOLD;
        while Instant::now() < end && !answered.load(Ordering::SeqCst) {
            thread::sleep(Duration::from_millis(10));
        }
        let until = record.now();
        let was_held = runtime.block_on(held.let_go());
        // An answer to the first tells that it is still the server of then, with the queue of then.
        let is_same_queue = matches!(holder.join(), Ok(Outcome::Granted(_)));
        let span = (DEADLINE + ARRIVAL, until);
        // Nobody listens when the second call had no answer.
        let _ = proof.send((was_held && is_same_queue).then_some(span));
        record.count("fault: database: a lock holds up the queue");
    });
}

fn claim(
    caller: &mut Caller,
    node: &Node,
    what: &str,
    deadline: Duration,
    overdue: impl FnOnce(&Outcome) -> Option<(Duration, Duration)>,
) -> Outcome {
    let id = format!("{what}-{}", caller.name);
    let ask = Ask {
        entries: vec![vec!["slow".to_owned()]],
        deadline: Some(deadline),
        ..Ask::default()
    };
    let stamp = node.stamp_and_list(&id);
    caller.claim_at(0, node, &id, &ask, &stamp, overdue)
}
