//! Reading leases and their past.
#![allow(clippy::todo, unused_variables, reason = "being written")]

use super::statements::Database;
use super::{Cursor, LeaseFilter};
use crate::error::Result;
use ipam_api::{CheckAnswer, CheckRequest, HistoryEntry, Lease, Page};
use std::net::IpAddr;
use time::OffsetDateTime;

pub(super) async fn check<D: Database>(db: &D, check: &CheckRequest) -> Result<CheckAnswer> {
    todo!()
}

pub(super) async fn leases<D: Database>(
    db: &D,
    filter: &LeaseFilter,
    cursor: &Cursor,
) -> Result<Page<Lease>> {
    todo!()
}

pub(super) async fn lease<D: Database>(db: &D, id: &str) -> Result<Lease> {
    todo!()
}

pub(super) async fn history<D: Database>(
    db: &D,
    vrf: &str,
    address: IpAddr,
    at: Option<OffsetDateTime>,
    cursor: &Cursor,
) -> Result<Page<HistoryEntry>> {
    todo!()
}
