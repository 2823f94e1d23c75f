//! What a transaction has decided: a call for each kind of rows that there are, all in one round trip.

use super::call::Call;
use super::{Tx, holders, leases};
use crate::store::changes::Changes;
use crate::store::moment::Moment;
use crate::store::rows::{CounterRow, FreeRow, LeaseRow};
use crate::store::statements::{Answer, ChangeStatements};

impl ChangeStatements for Tx {
    async fn write(&mut self, changes: &Changes) -> Answer<()> {
        self.hints.leave(&changes.counters);
        self.run(calls(changes)).await
    }

    async fn write_last(
        &mut self,
        archived: &[LeaseRow],
        now: Moment,
        reason: &str,
        changes: &Changes,
    ) -> Answer<()> {
        let archive = (!archived.is_empty()).then(|| leases::archive(archived, now, reason));
        let calls = archive.into_iter().chain(calls(changes));
        let texts: Vec<_> = calls.map(Call::text).collect();
        self.hints.leave(&changes.counters);
        self.last = texts.join(";\n");
        Ok(())
    }
}

fn calls(changes: &Changes) -> Vec<Call> {
    let Changes {
        gone,
        moved,
        added,
        counters,
        attachments,
        leases,
    } = changes;
    let mut calls = Vec::new();
    if !attachments.is_empty() {
        calls.push(holders::write(attachments));
    }
    if !gone.is_empty() {
        let call = Call::of("write_gone")
            .values(gone.iter().map(|row| row.pool_id))
            .values(gone.iter().map(|row| row.free_at))
            .values(gone.iter().map(|row| row.first));
        calls.push(call);
    }
    calls.extend(moved.iter().map(move_free));
    if !added.is_empty() {
        let call = Call::of("write_added")
            .values(added.iter().map(|row| row.pool_id))
            .values(added.iter().map(|row| row.first))
            .values(added.iter().map(|row| row.last))
            .values(added.iter().map(|row| row.free_at));
        calls.push(call);
    }
    calls.extend(counters.iter().map(save_counter));
    if !leases.is_empty() {
        let call = Call::of("write_leases")
            .values(leases.iter().map(|row| row.attachment_id))
            .values(leases.iter().map(|row| row.entry))
            .values(leases.iter().map(|row| row.vrf_id))
            .values(leases.iter().map(|row| row.address))
            .values(leases.iter().map(|row| row.pool_id))
            .some_words(leases.iter().map(|row| row.owner.as_deref()))
            .values(leases.iter().map(|row| row.created_at));
        calls.push(call);
    }
    calls
}

fn move_free((was, row): &(FreeRow, FreeRow)) -> Call {
    Call::of("write_moved")
        .value(was.pool_id)
        .value(was.free_at)
        .value(was.first)
        .value(row.first)
        .value(row.last)
        .value(row.free_at)
}

fn save_counter(row: &CounterRow) -> Call {
    Call::of("write_counter")
        .value(row.pool_id)
        .value(row.leased)
        .value(row.leased_reserved)
        .value(row.quarantined)
        .value(row.returned)
        .value(row.fresh_from)
        .value(row.returned_from_at)
        .value(row.returned_from)
        .value(row.returned_first)
        .value(row.probe_at)
        .value(row.last_at)
        .value(row.version)
}
