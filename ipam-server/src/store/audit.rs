//! The accounting, checked.
#![allow(clippy::todo, unused_variables, reason = "being written")]

use super::statements::Database;
use crate::error::Result;

pub(super) async fn audit<D: Database>(db: &D) -> Result<Vec<String>> {
    todo!()
}
