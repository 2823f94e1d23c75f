//! Claims: a batch of them in one transaction.
#![allow(clippy::todo, unused_variables, reason = "being written")]

use super::Granted;
use super::statements::Database;
use crate::error::Result;
use ipam_api::Claim;

pub(super) async fn allocate<D: Database>(db: &D, claims: &[Claim]) -> Vec<Result<Granted>> {
    todo!()
}
