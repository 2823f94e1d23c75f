//! Claims: a batch of them in one transaction, each all or nothing.
//!
//! What is decided on the way, in the order of the locks: nodes (is it one machine?), attachments by key (what do they
//! hold, has a release overtaken the claim?), pools by id (what is free?). First only the pools of first choice are
//! locked; when one of them has nothing left, everything is rolled back and done again with every listed pool locked, so
//! that no pool is ever waited for while another is held.

mod desk;
mod grant;
mod shortage;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use ipam_api::Claim;

use self::desk::{Desk, State};
use super::Granted;
use super::books::Books;
use super::database::Database;
use super::hints::{Guess, Hints};
use super::retry::{begin, finish, retry};
use super::rows::{LeaseRow, PoolRow};
use super::statements::Statements;
use crate::error::{Error, Result};

/// Which pools a transaction locks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reach {
    /// Of each entry the first that is ready.
    FirstChoice,
    /// All that are listed.
    Every,
}

/// What came of a transaction.
enum Tried {
    Served(Vec<Result<Granted>>),
    /// Pools have to be locked that were not.
    OutOfReach,
    /// What was asked ahead was not what was needed.
    GuessedWrong,
}

/// See [`super::Begun::allocate`].
pub(super) async fn allocate<D: Database>(
    db: &D,
    begun: D::Tx,
    claims: &[Claim],
) -> Vec<Result<Granted>> {
    match batch(db, Some(begun), claims).await {
        Ok(answers) => answers,
        Err(error) if claims.len() == 1 => vec![Err(error)],
        Err(error @ Error::Unavailable { .. }) => error.for_each_of(claims.len()),
        // Something that another try cannot mend: it may be one claim's fault, and its neighbours are not to suffer.
        Err(error) => {
            tracing::warn!(%error, claims = claims.len(), "a batch failed; its claims are tried one by one");
            let mut answers = Vec::with_capacity(claims.len());
            for claim in claims {
                let alone = batch(db, None, std::slice::from_ref(claim)).await;
                answers.push(alone.and_then(|mut one| one.pop().unwrap_or_else(no_answer)));
            }
            answers
        }
    }
}

/// `begun`: a transaction for the first try; otherwise it begins its own.
async fn batch<D: Database>(
    db: &D,
    mut begun: Option<D::Tx>,
    claims: &[Claim],
) -> Result<Vec<Result<Granted>>> {
    let mut reach = Reach::FirstChoice;
    let mut guess = db.hints().and_then(|hints| hints.guess(claims));
    for _ in 0..3 {
        let tried = || attempt(db, begun.take(), claims, reach, guess.as_ref());
        match retry::<D, _, _>("allocate", tried).await? {
            Tried::Served(answers) => return Ok(answers),
            Tried::OutOfReach => reach = Reach::Every,
            Tried::GuessedWrong => {}
        }
        guess = None;
    }
    Err(Error::internal(
        "every listed pool was locked, and yet another was asked for",
    ))
}

fn no_answer() -> Result<Granted> {
    Err(Error::internal("a claim was left without an answer"))
}

async fn attempt<D: Database>(
    db: &D,
    begun: Option<D::Tx>,
    claims: &[Claim],
    reach: Reach,
    guess: Option<&Guess>,
) -> Result<Tried> {
    let mut tx = begin(db, begun).await?;
    let outcome = work(&mut tx, db, claims, reach, guess).await;
    match outcome {
        Ok(Outcome { tried, writes }) if !writes => {
            D::rollback(tx).await?;
            Ok(tried)
        }
        other => finish::<D, _>(tx, other.map(|outcome| outcome.tried)).await,
    }
}

struct Outcome {
    tried: Tried,
    /// Whether there is something to be kept.
    writes: bool,
}

impl Outcome {
    /// Nothing is kept: it is tried in another way.
    fn again(tried: Tried) -> Self {
        Self {
            tried,
            writes: false,
        }
    }
}

async fn work<D: Database>(
    tx: &mut D::Tx,
    db: &D,
    claims: &[Claim],
    reach: Reach,
    guess: Option<&Guess>,
) -> Result<Outcome> {
    let (mut desks, noted) = desk::open(tx, claims, guess).await?;
    let pools = listed_pools(tx, &desks, db.hints()).await?;
    for desk in &mut desks {
        desk.decide(&pools);
    }
    let mut wanted = BTreeMap::new();
    for pool_id in desks.iter().flat_map(|desk| desk.pools_to_lock(reach)) {
        *wanted.entry(pool_id).or_default() += 1;
    }
    // A further pool is not locked while one is held.
    let others = |guess: &Guess| !wanted.is_empty() && !wanted.keys().eq(&guess.ids);
    if guess.is_some_and(others) {
        return Ok(Outcome::again(Tried::GuessedWrong));
    }
    let mut books = Books::open(tx, db.clock(), &wanted).await?;
    for desk in &mut desks {
        if !grant::grant(tx, desk, &mut books, reach).await? {
            return Ok(Outcome::again(Tried::OutOfReach));
        }
    }
    end_quarantines(tx, &desks, &mut books).await?;
    write(tx, &desks, books).await?;
    let answers: Vec<_> = desks.into_iter().map(Desk::answer).collect();
    Ok(Outcome {
        writes: noted || answers.iter().any(Result::is_ok),
        tried: Tried::Served(answers),
    })
}

/// The pools that the claims name, and those of the leases that their attachments hold.
async fn listed_pools<T: Statements>(
    tx: &mut T,
    desks: &[Desk<'_>],
    hints: Option<&Hints>,
) -> Result<Vec<Arc<PoolRow>>> {
    let waiting = || {
        desks
            .iter()
            .filter(|desk| matches!(desk.state, State::Waiting))
    };
    let names: BTreeSet<_> = waiting()
        .flat_map(|desk| desk.claim.entries.iter().flat_map(|entry| &entry.pools))
        .cloned()
        .collect();
    let held: BTreeSet<_> = waiting()
        .flat_map(|desk| desk.held.iter().map(|lease| lease.pool_id))
        .collect();
    let names = Vec::from_iter(names);
    let mut pools = tx.pools_by_name(&names).await?;
    if let Some(hints) = hints {
        hints.learn(&names, &pools);
    }
    let missing = held
        .into_iter()
        .filter(|id| pools.iter().all(|pool| pool.id != *id));
    let missing: Vec<_> = missing.collect();
    pools.append(&mut tx.pools_by_id(&missing).await?);
    Ok(pools.into_iter().map(Arc::new).collect())
}

/// What is claimed again is not left behind.
async fn end_quarantines<T: Statements>(
    tx: &mut T,
    desks: &[Desk<'_>],
    books: &mut Books,
) -> Result<()> {
    let kept = |desk: &&Desk<'_>| matches!(desk.state, State::Held { .. }) && desk.is_quarantined();
    let kept: Vec<_> = desks.iter().filter(kept).collect();
    for lease in kept.iter().flat_map(|desk| &desk.held) {
        if let Some(ledger) = books.get(lease.pool_id) {
            ledger.quarantine(lease, None);
        }
    }
    let ids: Vec<_> = kept.iter().map(|desk| desk.row.id).collect();
    tx.quarantine_leases(&ids, None).await?;
    Ok(())
}

async fn write<T: Statements>(tx: &mut T, desks: &[Desk<'_>], books: Books) -> Result<()> {
    let now = books.now;
    let mut changes = books.close();
    let (mut replaced, mut unused) = (Vec::<LeaseRow>::new(), Vec::new());
    for desk in desks {
        match &desk.state {
            State::Granted { leases, .. } => {
                replaced.extend_from_slice(&desk.held);
                changes.leases.extend_from_slice(leases);
                if !desk.inserted {
                    changes.attachments.push(desk.row.clone());
                }
            }
            State::Held { noted: true, .. } => changes.attachments.push(desk.row.clone()),
            _ if desk.inserted => unused.push(desk.row.id),
            _ => {}
        }
    }
    tx.delete_attachments(&unused).await?;
    // The history copies the attachment's row: before that is changed.
    tx.write_last(&replaced, now, "replaced", &changes).await?;
    Ok(())
}
