//! Calls of prepared statements, and those that are sent ahead: several in one round trip, before they are asked for.

use sqlx::postgres::PgRow;
use sqlx::{AssertSqlSafe, Either, Executor, FromRow};
use tokio_stream::StreamExt;

use super::call::Call;
use super::{BEGIN, Tx, holders, leases, locked, nodes, pools};
use crate::store::statements::{Ahead, AheadStatements, Answer};

/// A call that was sent ahead, and what the database answered.
#[derive(Debug)]
pub(super) struct Answered {
    call: String,
    rows: Vec<PgRow>,
}

impl AheadStatements for Tx {
    async fn ahead(&mut self, next: &[Ahead<'_>]) -> Answer<()> {
        let mut calls = Vec::new();
        for one in next {
            match one {
                Ahead::Nodes(names) => calls.push(nodes::call(names)),
                Ahead::Attachments(rows) => calls.push(holders::upsert(rows)),
                Ahead::LeasesOf(keys) => calls.push(leases::of_keys(keys)),
                Ahead::Pools(names) => calls.push(pools::by_name(names)),
                Ahead::Locked(ids, wanted) => calls.extend(locked::calls(ids, *wanted)),
            }
        }
        self.call_ahead(calls).await
    }

    async fn forget_ahead(&mut self) -> Answer<()> {
        if !self.ahead.is_empty() {
            self.ahead.clear();
            let anew = AssertSqlSafe(format!("rollback; {BEGIN}"));
            self.connection().execute(sqlx::raw_sql(anew)).await?;
        }
        Ok(())
    }
}

impl Tx {
    /// The rows that a call answers: from ahead, if the very same was sent.
    pub(crate) async fn call<R>(&mut self, call: Call) -> Answer<Vec<R>>
    where
        R: for<'r> FromRow<'r, PgRow>,
    {
        if let Some(rows) = self.take_ahead(&call)? {
            return Ok(rows);
        }
        let answers = self.exchange(&call.text(), 1).await?;
        answers.iter().flatten().map(R::from_row).collect()
    }

    /// The rows of the call that was sent ahead and that begins with these values.
    pub(super) fn take_ahead<R>(&mut self, call: &Call) -> Answer<Option<Vec<R>>>
    where
        R: for<'r> FromRow<'r, PgRow>,
    {
        let sent = (self.ahead.iter()).position(|sent| call.begins(&sent.call));
        let rows = sent.map(|index| self.ahead.remove(index).rows);
        rows.map(|rows| rows.iter().map(R::from_row).collect())
            .transpose()
    }

    /// Whether that call was sent ahead.
    pub(super) fn has_ahead(&self, call: &Call) -> bool {
        self.ahead.iter().any(|sent| call.begins(&sent.call))
    }

    /// Sends calls in one round trip and keeps their answers.
    pub(super) async fn call_ahead(&mut self, calls: Vec<Call>) -> Answer<()> {
        let calls: Vec<_> = calls.into_iter().map(Call::text).collect();
        let answers = self.exchange(&calls.join(";\n"), calls.len()).await?;
        let answered = calls.into_iter().zip(answers);
        (self.ahead).extend(answered.map(|(call, rows)| Answered { call, rows }));
        Ok(())
    }

    /// Sends calls, of which nothing is asked but that they succeed, in one round trip.
    pub(super) async fn run(&mut self, calls: Vec<Call>) -> Answer<()> {
        if calls.is_empty() {
            return Ok(());
        }
        let texts: Vec<_> = calls.into_iter().map(Call::text).collect();
        let text = AssertSqlSafe(texts.join(";\n"));
        self.connection().execute(sqlx::raw_sql(text)).await?;
        Ok(())
    }

    /// The rows that each of so many calls answers.
    async fn exchange(&mut self, calls: &str, count: usize) -> Answer<Vec<Vec<PgRow>>> {
        let text = AssertSqlSafe(calls);
        let mut answers = Vec::with_capacity(count);
        let mut rows = Vec::new();
        let mut sent = sqlx::raw_sql(text).fetch_many(self.connection());
        while let Some(next) = sent.try_next().await? {
            match next {
                Either::Right(row) => rows.push(row),
                // The end of one call's answer.
                Either::Left(_) => answers.push(std::mem::take(&mut rows)),
            }
        }
        if answers.len() == count {
            return Ok(answers);
        }
        let answers = answers.len();
        Err(sqlx::Error::Protocol(format!(
            "{answers} answers to {count} calls"
        )))
    }
}
