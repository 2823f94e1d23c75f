//! The statements that a connection has prepared from its beginning, to be called by name. They are those of claims and
//! releases: what has to be fast is sent several at a time.

use super::pools::select_pool;

/// One of them.
struct Prepared {
    name: &'static str,
    types: &'static str,
    text: &'static str,
}

/// A change that has to meet as many rows as are given, or fails, and the commit that is sent with it: the change, whose
/// part is named, then how many rows are meant.
macro_rules! all_or_nothing {
    ($name:literal, $change:literal, $part:literal, $meant:literal) => {
        concat!(
            "-- ",
            $name,
            "
             with ",
            $change,
            "
             select case count(*)
                 when ",
            $meant,
            " then true
                 else format('",
            $name,
            " met %s rows instead of %s', count(*), ",
            $meant,
            ")::boolean
             end
             from ",
            $part
        )
    };
}

const ALL: [Prepared; 14] = [
    // The first lock of a transaction. It is waited for less long than others, whose limit is that of SETTINGS.
    Prepared {
        name: "take_turn",
        types: "text[]",
        text: "-- take_turn
             select set_config('lock_timeout', '1s', true), pg_advisory_xact_lock(hashtextextended($1::text, 0)),
                 set_config('lock_timeout', '5s', true)",
    },
    Prepared {
        name: "nodes",
        types: "text[], text[]",
        text: "-- nodes
             select n.id, n.cluster, n.name, n.machine_id, n.boot_id, n.booted_at, n.reclaim_at, n.disputed_at
             from unnest($1, $2) as k (cluster, name)
             join node n on n.cluster = k.cluster
                 and n.name = k.name",
    },
    // The update changes nothing: it locks the row and answers it as it is by then. No index is touched.
    Prepared {
        name: "upsert_attachments",
        types: "uuid[], text[], text[], text[], text[], text[], text[], bigint[], bigint[], text[], text[], text[]",
        text: "-- upsert_attachments
             with stored as (
                 insert into attachment (id, cluster, node, network, container_id, ifname, claim_boot, claim_issued,
                     granted_issued, pod_namespace, pod_name, pod_uid)
                 select n.id, n.cluster, n.node, n.network, n.container_id, n.ifname, n.claim_boot, n.claim_issued,
                     n.granted_issued, n.pod_namespace, n.pod_name, n.pod_uid
                 from unnest($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)
                     with ordinality as n (id, cluster, node, network, container_id, ifname, claim_boot, claim_issued,
                     granted_issued, pod_namespace, pod_name, pod_uid, place)
                 order by n.place
                 on conflict (container_id, ifname, network, node, cluster)
                     do update set released_at = attachment.released_at
                 returning id, cluster, node, network, container_id, ifname, claim_boot, claim_issued, granted_issued,
                     release_boot, release_issued, released_at, pod_namespace, pod_name, pod_uid, earlier_release_boot,
                     earlier_release_issued
             )
             select id, cluster, node, network, container_id, ifname, claim_boot, claim_issued, granted_issued,
                 release_boot, release_issued, released_at, pod_namespace, pod_name, pod_uid, earlier_release_boot,
                 earlier_release_issued
             from stored
             where not exists (select from unnest($1) as given (id) where given.id = stored.id)",
    },
    // Each attachment's leases for themselves: a join may walk the whole index, with all its dead entries, when few are left.
    // The node as an expression: while a database knows nothing of its tables yet, the index of nodes looks as good as the
    // key, and leads to all that the node holds.
    Prepared {
        name: "leases_of_keys",
        types: "text[], text[], text[], text[], text[]",
        text: "-- leases_of_keys
             select l.attachment_id, l.entry, l.vrf_id, l.address, l.pool_id, l.owner, l.created_at, l.quarantined_until
             from unnest($1, $2, $3, $4, $5) as k (cluster, node, network, container_id, ifname)
             join attachment a on a.container_id = k.container_id
                 and a.ifname = k.ifname
                 and a.network = k.network
                 and a.node || '' = k.node
                 and a.cluster = k.cluster
             cross join lateral (
                 select attachment_id, entry, vrf_id, address, pool_id, owner, created_at, quarantined_until
                 from lease
                 where attachment_id = a.id
                 order by attachment_id, entry
                 limit 1000
             ) l
             order by l.attachment_id, l.entry",
    },
    Prepared {
        name: "pools_by_name",
        types: "text[]",
        text: select_pool!("pools_by_name", "where p.name = any($1)"),
    },
    Prepared {
        name: "lock_counters",
        types: "bigint[]",
        text: "-- lock_counters
             select c.*
             from (select id from unnest($1) as id order by id) as wanted
             cross join lateral (
                 select pool_id, leased, leased_reserved, quarantined, returned, fresh_from, returned_from_at,
                     returned_from, returned_first, probe_at, last_at, version
                 from pool_counter
                 where pool_id = wanted.id
                 order by version desc
                 limit 1
                 for update
             ) as c",
    },
    Prepared {
        name: "lock_pools",
        types: "bigint[], bigint, timestamptz",
        text: select_pool!(
            "lock_pools",
            "clock_timestamp() as wall,
             array(select first from pool_removal where pool_id = p.id order by first) as removal_firsts,
             array(select last from pool_removal where pool_id = p.id order by first) as removal_lasts,
             fresh.firsts as fresh_firsts, fresh.lasts as fresh_lasts,
             ",
            "cross join lateral (
                 select fresh_from
                 from pool_counter
                 where pool_id = p.id
                 order by version desc
                 limit 1
             ) c
             cross join lateral (
                 select coalesce(array_agg(f.first order by f.first), '{}') as firsts,
                     coalesce(array_agg(f.last order by f.first), '{}') as lasts
                 from (
                     select first, last
                     from free_range
                     where pool_id = p.id
                         and free_at = $3
                         and first >= c.fresh_from
                     order by first
                     limit $2
                 ) f
             ) fresh
             where p.id = any($1)"
        ),
    },
    // By `any` as well: a join alone may walk the whole index, with all its dead entries, when few leases are left.
    Prepared {
        name: "archive_leases",
        types: "uuid[], integer[], timestamptz, text",
        text: all_or_nothing!(
            "archive_leases",
            "gone as (
                 delete from lease l
                 where l.attachment_id = any($1)
                     and (l.attachment_id, l.entry) in (select * from unnest($1, $2))
                 returning l.attachment_id, l.entry, l.vrf_id, l.address, l.pool_id, l.owner, l.created_at
             ),
             kept as (
                 insert into history (attachment_id, entry, vrf_id, address, pool, cluster, node, network, container_id,
                     ifname, pod_namespace, pod_name, pod_uid, owner, created_at, released_at, reason)
                 select g.attachment_id, g.entry, g.vrf_id, g.address, p.name, a.cluster, a.node, a.network,
                     a.container_id, a.ifname, a.pod_namespace, a.pod_name, a.pod_uid, g.owner, g.created_at, $3, $4
                 from gone g
                 join attachment a on a.id = g.attachment_id
                 join pool p on p.id = g.pool_id
                 returning 1
             )",
            "kept",
            "cardinality($1)"
        ),
    },
    // The node as in `leases_of_keys`.
    Prepared {
        name: "write_attachments",
        types: "uuid[], text[], text[], text[], text[], text[], text[], bigint[], bigint[], text[], bigint[],
            timestamptz[], text[], text[], text[], text[], bigint[]",
        text: all_or_nothing!(
            "write_attachments",
            "written as (
                 update attachment a
                 set id = n.id, claim_boot = n.claim_boot, claim_issued = n.claim_issued,
                     granted_issued = n.granted_issued, release_boot = n.release_boot,
                     release_issued = n.release_issued, released_at = n.released_at, pod_namespace = n.pod_namespace,
                     pod_name = n.pod_name, pod_uid = n.pod_uid, earlier_release_boot = n.earlier_release_boot,
                     earlier_release_issued = n.earlier_release_issued
                 from unnest($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17)
                     as n (id, cluster, node, network, container_id, ifname, claim_boot, claim_issued, granted_issued,
                     release_boot, release_issued, released_at, pod_namespace, pod_name, pod_uid, earlier_release_boot,
                     earlier_release_issued)
                 where a.container_id = n.container_id
                     and a.ifname = n.ifname
                     and a.network = n.network
                     and a.node || '' = n.node
                     and a.cluster = n.cluster
                 returning 1
             )",
            "written",
            "cardinality($1)"
        ),
    },
    // By free_at as well as by the key, so that whichever index is taken leads to the row alone.
    Prepared {
        name: "write_gone",
        types: "bigint[], timestamptz[], inet[]",
        text: all_or_nothing!(
            "write_gone",
            "written as (
                 delete from free_range f
                 using unnest($1, $2, $3) as n (pool_id, free_at, first)
                 where f.pool_id = n.pool_id
                     and f.free_at = n.free_at
                     and f.first = n.first
                 returning 1
             )",
            "written",
            "cardinality($1)"
        ),
    },
    // The same. One row a call: there are few, mostly one.
    Prepared {
        name: "write_moved",
        types: "bigint, timestamptz, inet, inet, inet, timestamptz",
        text: all_or_nothing!(
            "write_moved",
            "written as (
                 update free_range
                 set first = $4, last = $5, free_at = $6
                 where pool_id = $1
                     and free_at = $2
                     and first = $3
                 returning 1
             )",
            "written",
            "1"
        ),
    },
    Prepared {
        name: "write_added",
        types: "bigint[], inet[], inet[], timestamptz[]",
        text: "-- write_added
             insert into free_range (pool_id, first, last, free_at)
             select pool_id, first, last, free_at
             from unnest($1, $2, $3, $4) as n (pool_id, first, last, free_at)",
    },
    // One row a call, as above.
    Prepared {
        name: "write_counter",
        types: "bigint, bigint, bigint, bigint, bigint, inet, timestamptz, inet, boolean, timestamptz, timestamptz, bigint",
        text: all_or_nothing!(
            "write_counter",
            "written as (
                 update pool_counter
                 set leased = $2, leased_reserved = $3, quarantined = $4, returned = $5, fresh_from = $6,
                     returned_from_at = $7, returned_from = $8, returned_first = $9, probe_at = $10, last_at = $11,
                     version = version + 1
                 where pool_id = $1
                     and version = $12
                 returning 1
             )",
            "written",
            "1"
        ),
    },
    Prepared {
        name: "write_leases",
        types: "uuid[], integer[], bigint[], inet[], bigint[], text[], timestamptz[]",
        text: "-- write_leases
             insert into lease (attachment_id, entry, vrf_id, address, pool_id, owner, created_at)
             select attachment_id, entry, vrf_id, address, pool_id, owner, created_at
             from unnest($1, $2, $3, $4, $5, $6, $7)
                 as n (attachment_id, entry, vrf_id, address, pool_id, owner, created_at)",
    },
];

/// All of them, as one text of several statements.
pub(super) fn prepare() -> String {
    let one = |it: &Prepared| format!("prepare {} ({}) as\n{};\n", it.name, it.types, it.text);
    ALL.iter().map(one).collect()
}
