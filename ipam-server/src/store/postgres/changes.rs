//! What a transaction has decided, in one statement: its end is as long as its round trips are many.

use sqlx::FromRow;

use super::holders::bind_attachments;
use super::{Tx, column};
use crate::store::changes::Changes;
use crate::store::rows::FreeRow;
use crate::store::statements::{Answer, ChangeStatements, expect_rows};

/// The rows that the parts of the statement met.
#[derive(FromRow)]
struct Met {
    gone: i64,
    moved: i64,
    counters: i64,
    attachments: i64,
}

impl ChangeStatements for Tx {
    async fn write(&mut self, changes: &Changes) -> Answer<()> {
        if *changes == Changes::default() {
            return Ok(());
        }
        let Changes {
            gone,
            moved,
            added,
            counters,
            attachments,
            leases,
        } = changes;
        let (was, moved): (Vec<_>, Vec<FreeRow>) = moved.iter().copied().unzip();
        let query = sqlx::query_as(
            "-- write
             with attachments as (
                 update attachment a
                 set id = n.id, claim_boot = n.claim_boot, claim_issued = n.claim_issued,
                     granted_issued = n.granted_issued, release_boot = n.release_boot,
                     release_issued = n.release_issued, released_at = n.released_at, pod_namespace = n.pod_namespace,
                     pod_name = n.pod_name, pod_uid = n.pod_uid, earlier_release_boot = n.earlier_release_boot,
                     earlier_release_issued = n.earlier_release_issued
                 from unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[],
                     $8::bigint[], $9::bigint[], $10::text[], $11::bigint[], $12::timestamptz[], $13::text[],
                     $14::text[], $15::text[], $16::text[], $17::bigint[])
                     as n (id, cluster, node, network, container_id, ifname, claim_boot, claim_issued, granted_issued,
                     release_boot, release_issued, released_at, pod_namespace, pod_name, pod_uid, earlier_release_boot,
                     earlier_release_issued)
                 where a.container_id = n.container_id
                     and a.ifname = n.ifname
                     and a.network = n.network
                     and a.node = n.node
                     and a.cluster = n.cluster
                 returning 1
             ),
             gone as (
                 delete from free_range f
                 using unnest($18::bigint[], $19::inet[]) as n (pool_id, first)
                 where f.pool_id = n.pool_id
                     and f.first = n.first
                 returning 1
             ),
             moved as (
                 update free_range f
                 set first = n.first, last = n.last, free_at = n.free_at
                 from unnest($20::bigint[], $21::inet[], $22::inet[], $23::inet[], $24::timestamptz[])
                     as n (pool_id, was, first, last, free_at)
                 where f.pool_id = n.pool_id
                     and f.first = n.was
                 returning 1
             ),
             added as (
                 insert into free_range (pool_id, first, last, free_at)
                 select pool_id, first, last, free_at
                 from unnest($25::bigint[], $26::inet[], $27::inet[], $28::timestamptz[])
                     as n (pool_id, first, last, free_at)
             ),
             counters as (
                 update pool_counter c
                 set leased = n.leased, leased_reserved = n.leased_reserved, quarantined = n.quarantined,
                     returned = n.returned, fresh_from = n.fresh_from, returned_from_at = n.returned_from_at,
                     returned_from = n.returned_from, returned_first = n.returned_first, probe_at = n.probe_at,
                     last_at = n.last_at, version = c.version + 1
                 from unnest($29::bigint[], $30::bigint[], $31::bigint[], $32::bigint[], $33::bigint[], $34::inet[],
                     $35::timestamptz[], $36::inet[], $37::boolean[], $38::timestamptz[], $39::timestamptz[],
                     $40::bigint[])
                     as n (pool_id, leased, leased_reserved, quarantined, returned, fresh_from, returned_from_at,
                     returned_from, returned_first, probe_at, last_at, version)
                 where c.pool_id = n.pool_id
                     and c.version = n.version
                 returning 1
             ),
             leases as (
                 insert into lease (attachment_id, entry, vrf_id, address, pool_id, owner, created_at)
                 select attachment_id, entry, vrf_id, address, pool_id, owner, created_at
                 from unnest($41::uuid[], $42::integer[], $43::bigint[], $44::inet[], $45::bigint[], $46::text[],
                     $47::timestamptz[])
                     as n (attachment_id, entry, vrf_id, address, pool_id, owner, created_at)
             )
             select (select count(*) from gone) as gone, (select count(*) from moved) as moved,
                 (select count(*) from counters) as counters, (select count(*) from attachments) as attachments",
        );
        let met: Met = bind_attachments!(query, attachments)
            .bind(column!(gone, pool_id))
            .bind(column!(gone, first))
            .bind(column!(moved, pool_id))
            .bind(was)
            .bind(column!(moved, first))
            .bind(column!(moved, last))
            .bind(column!(moved, free_at))
            .bind(column!(added, pool_id))
            .bind(column!(added, first))
            .bind(column!(added, last))
            .bind(column!(added, free_at))
            .bind(column!(counters, pool_id))
            .bind(column!(counters, leased))
            .bind(column!(counters, leased_reserved))
            .bind(column!(counters, quarantined))
            .bind(column!(counters, returned))
            .bind(column!(counters, fresh_from))
            .bind(column!(counters, returned_from_at))
            .bind(column!(counters, returned_from))
            .bind(column!(counters, returned_first))
            .bind(column!(counters, probe_at))
            .bind(column!(counters, last_at))
            .bind(column!(counters, version))
            .bind(column!(leases, attachment_id))
            .bind(column!(leases, entry))
            .bind(column!(leases, vrf_id))
            .bind(column!(leases, address))
            .bind(column!(leases, pool_id))
            .bind(column!(leases, option owner))
            .bind(column!(leases, created_at))
            .fetch_one(self.connection())
            .await?;
        for (part, met, meant) in [
            ("write gone", met.gone, gone.len()),
            ("write moved", met.moved, moved.len()),
            ("write counters", met.counters, counters.len()),
            ("write attachments", met.attachments, attachments.len()),
        ] {
            expect_rows(part, met.unsigned_abs(), meant)?;
        }
        Ok(())
    }
}
