//! Background work.
#![allow(clippy::todo, unused_variables, reason = "being written")]

use super::statements::Database;
use crate::error::Result;
use std::time::Duration;

pub(super) async fn tidy<D: Database>(db: &D, keep: Duration) -> Result<bool> {
    todo!()
}
