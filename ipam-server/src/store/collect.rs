//! GC.
#![allow(clippy::todo, unused_variables, reason = "being written")]

use super::statements::Database;
use crate::error::Result;
use ipam_api::GcRequest;

pub(super) async fn collect<D: Database>(db: &D, gc: &GcRequest) -> Result<u64> {
    todo!()
}
