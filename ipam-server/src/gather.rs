//! Gathers concurrent work into batches: what arrives while a transaction is in flight, and until the next one has begun,
//! goes into that, so that one commit serves many.
//!
//! Work waits in lanes; each lane has one transaction in flight at a time, and a lane that waits for a lock delays no
//! other. A lane exists while it has work. Batches belong to tasks of their own: a client that goes away does not cancel
//! a transaction.

use std::collections::{HashMap, HashSet, VecDeque};
use std::future::Future;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use ipam_api::Attachment;
use tokio::sync::{Semaphore, oneshot, watch};
use tokio::time::{Instant, timeout_at};

use crate::error::{Error, Result};
use crate::store::{Begun, Store};

/// The most that one transaction serves.
const BATCH: usize = 256;

/// What is gathered.
pub(crate) trait Work: Send + Sync + Sized + 'static {
    /// What its asker gets.
    type Answer: Send + 'static;
    /// What it is called in the log.
    const NAME: &'static str;
    /// Whether it is begun even when its asker has gone.
    const UNWATCHED: bool;
    /// A batch holds a key at most once; a repeat waits for the next one.
    fn key(&self) -> Attachment;
    /// Work of one lane is served in order of arrival, one batch at a time.
    fn lane(&self, store: &Store) -> Lane;
    /// The transaction for a lane's next batch.
    fn begin(store: &Store, lane: &Lane) -> impl Future<Output = Result<Begun>> + Send;
    /// One answer each, in order, by the transaction that has begun.
    fn run(begun: Begun, batch: &[Self]) -> impl Future<Output = Vec<Result<Self::Answer>>> + Send;
}

/// Which lane: the names that it is about, sorted.
pub(crate) type Lane = Vec<String>;

/// A bounded queue of work in lanes, and the transactions that serve it. Cheap to clone.
pub(crate) struct Gather<W: Work>(Arc<Shared<W>>);

struct Shared<W: Work> {
    store: Store,
    /// The most work that waits.
    bound: usize,
    /// Transactions that may run at once.
    permits: Semaphore,
    queue: Mutex<Queue<W>>,
    /// How many lanes exist.
    lanes: watch::Sender<usize>,
}

struct Queue<W: Work> {
    lanes: HashMap<Lane, VecDeque<Waiting<W>>>,
    waiting: usize,
    last_ticket: u64,
}

struct Waiting<W: Work> {
    ticket: u64,
    work: W,
    /// After this it goes into no transaction.
    until: Instant,
    since: Instant,
    asker: oneshot::Sender<Result<W::Answer>>,
}

struct Asked<W: Work> {
    ticket: u64,
    lane: Lane,
    answer: oneshot::Receiver<Result<W::Answer>>,
}

impl<W: Work> Clone for Gather<W> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<W: Work> Gather<W> {
    /// An empty queue for at most `bound` waiting, and at most `transactions` at once.
    pub(crate) fn new(store: Store, bound: usize, transactions: usize) -> Self {
        let queue = Queue {
            lanes: HashMap::new(),
            waiting: 0,
            last_ticket: 0,
        };
        Self(Arc::new(Shared {
            store,
            bound,
            permits: Semaphore::new(transactions),
            queue: Mutex::new(queue),
            lanes: watch::Sender::new(0),
        }))
    }

    /// Serves all of `works`, or refuses all when the queue has no room for them; one answer each, in order. What has not
    /// begun at `until` is answered without a transaction.
    pub(crate) async fn ask(
        &self,
        works: Vec<W>,
        until: Instant,
    ) -> Result<Vec<Result<W::Answer>>> {
        let mut answers = Vec::with_capacity(works.len());
        for asked in self.enqueue(works, until)? {
            answers.push(self.wait(asked, until).await);
        }
        Ok(answers)
    }

    /// Waits until nothing is under way.
    pub(crate) async fn drained(&self) {
        let mut lanes = self.0.lanes.subscribe();
        // The sender lives as long as self: the wait ends by the count alone.
        let _ = lanes.wait_for(|count| *count == 0).await;
    }

    fn enqueue(&self, works: Vec<W>, until: Instant) -> Result<Vec<Asked<W>>> {
        let mut queue = self.queue();
        if queue.waiting + works.len() > self.0.bound {
            return Err(Error::unavailable(format!(
                "the queue is full: {} {} wait already",
                queue.waiting,
                W::NAME
            )));
        }
        Ok(works
            .into_iter()
            .map(|work| self.enqueue_one(&mut queue, work, until))
            .collect())
    }

    fn enqueue_one(&self, queue: &mut Queue<W>, work: W, until: Instant) -> Asked<W> {
        let (asker, answer) = oneshot::channel();
        let lane = work.lane(&self.0.store);
        queue.last_ticket += 1;
        queue.waiting += 1;
        let ticket = queue.last_ticket;
        let waiting = Waiting {
            ticket,
            work,
            until,
            since: Instant::now(),
            asker,
        };
        match queue.lanes.get_mut(&lane) {
            Some(line) => line.push_back(waiting),
            None => {
                queue.lanes.insert(lane.clone(), VecDeque::from([waiting]));
                self.0.lanes.send_modify(|count| *count += 1);
                tokio::spawn(self.clone().serve_lane(lane.clone()));
            }
        }
        Asked {
            ticket,
            lane,
            answer,
        }
    }

    async fn wait(&self, mut asked: Asked<W>, until: Instant) -> Result<W::Answer> {
        let answer = match timeout_at(until, &mut asked.answer).await {
            Ok(answer) => answer,
            Err(_) if self.withdraw(&asked) => return Err(overdue()),
            // Its transaction is under way: nothing stops a commit, so its outcome is the answer.
            Err(_) => asked.answer.await,
        };
        answer.unwrap_or_else(|_| Err(Error::internal("a batch was given up")))
    }

    /// Takes work out of the queue; false when its transaction has begun.
    fn withdraw(&self, asked: &Asked<W>) -> bool {
        let mut queue = self.queue();
        let Some(line) = queue.lanes.get_mut(&asked.lane) else {
            return false;
        };
        let Some(index) = line.iter().position(|one| one.ticket == asked.ticket) else {
            return false;
        };
        line.remove(index);
        queue.waiting -= 1;
        true
    }

    async fn serve_lane(self, lane: Lane) {
        loop {
            // The semaphore is never closed.
            let _permit = self.0.permits.acquire().await;
            if self.is_over(&lane) {
                return;
            }
            // Its batch is taken when the transaction has begun: what arrives until then goes with it.
            let begun = W::begin(&self.0.store, &lane).await;
            let batch = self.take(&lane);
            self.serve(begun, batch).await;
        }
    }

    /// Whether the lane is empty; then it is gone.
    fn is_over(&self, lane: &Lane) -> bool {
        let mut queue = self.queue();
        let is_empty = queue.lanes.get(lane).is_none_or(VecDeque::is_empty);
        if is_empty {
            queue.lanes.remove(lane);
            self.0.lanes.send_modify(|count| *count -= 1);
        }
        is_empty
    }

    /// The next batch of a lane. Empty when all that waited has been withdrawn.
    fn take(&self, lane: &Lane) -> Vec<Waiting<W>> {
        let mut queue = self.queue();
        let batch = queue.lanes.get_mut(lane).map(next_batch);
        let batch = batch.unwrap_or_default();
        queue.waiting -= batch.len();
        batch
    }

    async fn serve(&self, transaction: Result<Begun>, batch: Vec<Waiting<W>>) {
        let begun = Instant::now();
        let mut works = Vec::with_capacity(batch.len());
        let mut askers = Vec::with_capacity(batch.len());
        let mut waited = Duration::ZERO;
        for one in batch {
            if one.until <= begun {
                // Nobody listens any more when the asker is gone.
                let _ = one.asker.send(Err(overdue()));
            } else if W::UNWATCHED || !one.asker.is_closed() {
                waited = waited.max(begun - one.since);
                works.push(one.work);
                askers.push(one.asker);
            }
        }
        if works.is_empty() {
            if let Ok(transaction) = transaction {
                transaction.give_up().await;
            }
            return;
        }
        let works = Arc::new(works);
        let answers = match transaction {
            Ok(transaction) => self.answers(transaction, &works).await,
            Err(error) => error.for_each_of(works.len()),
        };
        tracing::debug!(
            served = works.len(),
            waited_us = waited.as_micros(),
            took_us = begun.elapsed().as_micros(),
            "one transaction for {}",
            W::NAME
        );
        for (asker, answer) in askers.into_iter().zip(answers) {
            let _ = asker.send(answer);
        }
    }

    async fn answers(&self, begun: Begun, works: &Arc<Vec<W>>) -> Vec<Result<W::Answer>> {
        if let Ok(answers) = self.transaction(begun, works, 0..works.len()).await {
            return answers;
        }
        // A panic. It may be the fault of one of them only.
        let mut answers = Vec::with_capacity(works.len());
        for index in 0..works.len() {
            match self.alone(works, index).await {
                Ok(one) => answers.extend(one),
                Err(error) => answers.push(Err(error)),
            }
        }
        answers
    }

    async fn alone(&self, works: &Arc<Vec<W>>, index: usize) -> Result<Vec<Result<W::Answer>>> {
        let begun = self.0.store.begin().await?;
        let answers = self.transaction(begun, works, index..index + 1).await;
        answers.map_err(Error::internal)
    }

    /// Runs in a task of its own, so that a panic fails what panicked and not the lane.
    async fn transaction(
        &self,
        begun: Begun,
        works: &Arc<Vec<W>>,
        range: Range<usize>,
    ) -> Result<Vec<Result<W::Answer>>, String> {
        let count = range.len();
        let works = Arc::clone(works);
        let run = tokio::spawn(async move { W::run(begun, &works[range]).await });
        match run.await {
            Ok(answers) if answers.len() == count => Ok(answers),
            Ok(answers) => Err(format!("{} answers for {count} {}", answers.len(), W::NAME)),
            Err(error) => Err(error.to_string()),
        }
    }

    fn queue(&self) -> MutexGuard<'_, Queue<W>> {
        // Nothing panics between two steps that belong together.
        self.0
            .queue
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

/// Takes the oldest work off the line, each key at most once.
fn next_batch<W: Work>(line: &mut VecDeque<Waiting<W>>) -> Vec<Waiting<W>> {
    let mut batch = Vec::new();
    let mut keys = HashSet::new();
    let mut repeats = Vec::new();
    while batch.len() < BATCH
        && let Some(one) = line.pop_front()
    {
        if keys.insert(one.work.key()) {
            batch.push(one);
        } else {
            repeats.push(one);
        }
    }
    for one in repeats.into_iter().rev() {
        line.push_front(one);
    }
    batch
}

fn overdue() -> Error {
    Error::unavailable("the deadline passed before its turn came; nothing was done")
}
