//! Vrfs and pools: create and show.
#![allow(clippy::todo, unused_variables, reason = "being written")]

use super::statements::Database;
use super::{Cursor, PoolSummary, Versioned};
use crate::error::Result;
use ipam_api::{NewPool, Page, Pool, PoolChange, Vrf};

pub(super) async fn create_vrf<D: Database>(db: &D, name: &str) -> Result<bool> {
    todo!()
}

pub(super) async fn vrfs<D: Database>(db: &D, cursor: &Cursor) -> Result<Page<Vrf>> {
    todo!()
}

pub(super) async fn create<D: Database>(db: &D, new: &NewPool) -> Result<(Versioned, bool)> {
    todo!()
}

pub(super) async fn show<D: Database>(db: &D, name: &str) -> Result<Versioned> {
    todo!()
}

pub(super) async fn list<D: Database>(
    db: &D,
    vrf: Option<&str>,
    cursor: &Cursor,
) -> Result<Page<Pool>> {
    todo!()
}

pub(super) async fn summary<D: Database>(db: &D) -> Result<Vec<PoolSummary>> {
    todo!()
}

pub(super) async fn changes<D: Database>(
    db: &D,
    pool: &str,
    cursor: &Cursor,
) -> Result<Page<PoolChange>> {
    todo!()
}
