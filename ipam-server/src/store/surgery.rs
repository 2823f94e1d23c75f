//! Changing and deleting pools.
#![allow(clippy::todo, unused_variables, reason = "being written")]

use super::Versioned;
use super::statements::Database;
use crate::error::Result;
use ipam_api::{DryRun, PoolPatch};

pub(super) async fn change<D: Database>(
    db: &D,
    name: &str,
    patch: &PoolPatch,
    if_match: Option<i64>,
) -> Result<Versioned> {
    todo!()
}

pub(super) async fn try_change<D: Database>(
    db: &D,
    name: &str,
    patch: &PoolPatch,
    if_match: Option<i64>,
) -> Result<DryRun> {
    todo!()
}

pub(super) async fn delete<D: Database>(db: &D, name: &str, if_match: Option<i64>) -> Result<()> {
    todo!()
}

pub(super) async fn try_delete<D: Database>(
    db: &D,
    name: &str,
    if_match: Option<i64>,
) -> Result<DryRun> {
    todo!()
}
