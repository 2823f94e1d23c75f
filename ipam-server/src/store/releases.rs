//! Releases: a batch of them in one transaction.
#![allow(clippy::todo, unused_variables, reason = "being written")]

use super::Releasing;
use super::statements::Database;
use crate::error::Result;

pub(super) async fn release<D: Database>(db: &D, releases: &[Releasing]) -> Vec<Result<u64>> {
    todo!()
}

pub(super) async fn release_lease<D: Database>(db: &D, id: &str) -> Result<()> {
    todo!()
}
