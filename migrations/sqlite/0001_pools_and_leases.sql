-- Pools and leases. The same tables, columns and constraint names as in ../postgres, where the reasons stand; here stands
-- what is different. Migrations only ever add, so that the release before runs on the schema after.
--
-- An address is 16 big-endian bytes (IPv4 as ::ffff:a.b.c.d), which compare as addresses do; a time is microseconds since
-- 1970; an id of a lease set is 16 bytes; a list or an object is JSON text. The constraints *_type stand for types that
-- SQLite does not have.

-- Which service this is. Written once, here; every answer carries it, so that a client notices another database.
create table service (
    one_row integer not null default 1,
    id text not null,
    created_at integer not null,
    constraint service_pkey primary key (one_row),
    constraint service_one_row check (one_row = 1)
) strict;

-- A random UUID (version 4), as text.
insert into service (id, created_at)
values (
    lower(
        hex(randomblob(4)) || '-' || hex(randomblob(2)) || '-4' || substr(hex(randomblob(2)), 2)
        || '-' || substr('89AB', 1 + (random() & 3), 1) || substr(hex(randomblob(2)), 2) || '-' || hex(randomblob(6))
    ),
    cast(unixepoch('subsec') * 1000000 as integer)
);

-- Address spaces: an address means one thing in each.
create table vrf (
    id integer not null constraint vrf_pkey primary key autoincrement,
    name text not null,
    created_at integer not null,
    constraint vrf_name_key unique (name)
) strict;

insert into vrf (name, created_at) values ('default', cast(unixepoch('subsec') * 1000000 as integer));

-- A pool's settings. What changes with each lease is in pool_counter.
create table pool (
    id integer not null constraint pool_pkey primary key autoincrement,
    name text not null,
    vrf_id integer not null,
    -- The subnet's first and last address.
    subnet_first blob not null,
    subnet_last blob not null,
    prefix_len integer not null,
    gateway blob,
    -- As the admin gave them; null means all of the subnet, which is recomputed when the gateway changes.
    ranges text,
    exclude text not null,
    routes text not null,
    dns text not null,
    labels text not null,
    reuse_delay_s integer not null,
    -- 'deleting' is not shown: free space is taken away in chunks before the row goes.
    state text not null,
    -- Counts the changes; it is the ETag.
    version integer not null,
    created_at integer not null,
    updated_at integer not null,
    constraint pool_name_key unique (name),
    constraint pool_vrf_fkey foreign key (vrf_id) references vrf (id),
    constraint pool_state_known check (state in ('ready', 'draining', 'disabled', 'deleting')),
    constraint pool_subnet_order check (subnet_first <= subnet_last),
    constraint pool_reuse_delay_bounds check (reuse_delay_s between 0 and 31536000),
    constraint pool_addresses_full check (length(subnet_first) = 16 and length(subnet_last) = 16),
    constraint pool_gateway_type check (length(gateway) = 16),
    constraint pool_json_type check (json_valid(ranges) and json_valid(exclude) and json_valid(routes) and json_valid(dns)
        and json_valid(labels))
) strict;

create index pool_subnet on pool (vrf_id, subnet_first);
create index pool_deleting on pool (id) where state = 'deleting';

-- The ranges of every pool of a vrf side by side. The key catches equal starts.
create table pool_range (
    vrf_id integer not null,
    first blob not null,
    last blob not null,
    pool_id integer not null,
    constraint pool_range_pkey primary key (vrf_id, first),
    constraint pool_range_pool_fkey foreign key (pool_id) references pool (id),
    constraint pool_range_order check (first <= last),
    constraint pool_range_full check (length(first) = 16 and length(last) = 16)
) strict, without rowid;

create index pool_range_pool on pool_range (pool_id);

-- What changes with each lease: one narrow row per pool, rewritten by each batch.
create table pool_counter (
    pool_id integer not null,
    leased integer not null default 0,
    -- Of the leased: those on addresses that are excluded by now, and are not leased again when released.
    leased_reserved integer not null default 0,
    quarantined integer not null default 0,
    -- Rows of free_range that were leased before, resting or not.
    returned integer not null default 0,
    -- The head: below these marks free_range holds no live row of its kind. A pick starts here.
    fresh_from blob not null,
    returned_from_at integer not null,
    returned_from blob not null,
    -- Whether returned addresses go before never-used ones, and when that is looked at again.
    returned_first integer not null default 0,
    probe_at integer not null,
    -- The last time that was used for this pool: time never runs backwards.
    last_at integer not null,
    constraint pool_counter_pkey primary key (pool_id),
    constraint pool_counter_pool_fkey foreign key (pool_id) references pool (id),
    constraint pool_counter_not_negative check (leased >= 0 and leased_reserved >= 0 and quarantined >= 0 and returned >= 0),
    constraint pool_counter_full check (length(fresh_from) = 16 and length(returned_from) = 16),
    constraint pool_counter_returned_first_type check (returned_first in (0, 1))
) strict;

-- Free space as intervals: a fresh pool is a few rows. Never-used space has free_at = 0; a released address comes back as
-- a row that is leasable from free_at on.
create table free_range (
    pool_id integer not null,
    first blob not null,
    last blob not null,
    free_at integer not null,
    constraint free_range_pkey primary key (pool_id, first),
    constraint free_range_order check (first <= last),
    constraint free_range_full check (length(first) = 16 and length(last) = 16)
) strict, without rowid;

create index free_range_next on free_range (pool_id, free_at, first);

-- Intervals on their way out of free_range: nothing of them is leased from the moment that the row is here; the rows of
-- free_range inside go in chunks, also after a crash.
create table pool_removal (
    pool_id integer not null,
    first blob not null,
    last blob not null,
    constraint pool_removal_pkey primary key (pool_id, first),
    constraint pool_removal_order check (first <= last),
    constraint pool_removal_full check (length(first) = 16 and length(last) = 16)
) strict, without rowid;

-- A machine that runs plugins, and the boot that it is in.
create table node (
    id integer not null constraint node_pkey primary key autoincrement,
    cluster text not null,
    name text not null,
    machine_id text,
    boot_id text,
    created_at integer not null,
    constraint node_name_key unique (cluster, name)
) strict;

-- Every boot seen under a node's name: one that comes back after another was seen is a second machine.
create table node_boot (
    node_id integer not null,
    boot_id text not null,
    seen_at integer not null,
    constraint node_boot_pkey primary key (node_id, boot_id),
    constraint node_boot_node_fkey foreign key (node_id) references node (id)
) strict, without rowid;

-- Who holds, or held a moment ago, a lease set. It stays for a while after the release, so that a claim that was overtaken
-- by its release finds the mark.
create table attachment (
    -- New with each lease set; leases point here, and lease ids are made of it.
    id blob not null,
    cluster text not null,
    node text not null,
    network text not null,
    container_id text not null,
    ifname text not null,
    -- The boot and the largest issued of its claims; granted_issued is the one that made the present lease set.
    claim_boot text,
    claim_issued integer,
    granted_issued integer,
    -- The boot and the largest issued of its releases.
    release_boot text,
    release_issued integer,
    -- Null while leases are held; marks without leases are pruned by it.
    released_at integer,
    pod_namespace text,
    pod_name text,
    pod_uid text,
    constraint attachment_pkey primary key (id),
    -- The container first: it is what people look for.
    constraint attachment_key unique (container_id, ifname, network, node, cluster),
    constraint attachment_id_type check (length(id) = 16)
) strict, without rowid;

-- The node first: it is what a node's GC walks, and it narrows more than the cluster.
create index attachment_node on attachment (node, cluster, network, container_id, ifname);
create index attachment_pod on attachment (pod_name, pod_namespace) where pod_name is not null;
create index attachment_released on attachment (released_at) where released_at is not null;

-- Active leases only: a release deletes the row and writes its whole life to history.
create table lease (
    attachment_id blob not null,
    vrf_id integer not null,
    pool_id integer not null,
    created_at integer not null,
    -- Which of the attachment's entries it is for, from 0.
    entry integer not null,
    address blob not null,
    -- Reserved for identities that outlive containers.
    owner text,
    -- One lease set per attachment.
    constraint lease_pkey primary key (attachment_id, entry),
    -- The judge: an address is in at most one active lease of its vrf.
    constraint lease_address_key unique (vrf_id, address),
    constraint lease_address_full check (length(address) = 16),
    constraint lease_attachment_id_type check (length(attachment_id) = 16)
) strict, without rowid;

-- The past. Names, not ids: it outlives what it tells of.
create table history (
    id integer not null constraint history_pkey primary key autoincrement,
    attachment_id blob not null,
    entry integer not null,
    vrf_id integer not null,
    address blob not null,
    pool text not null,
    cluster text not null,
    node text not null,
    network text not null,
    container_id text not null,
    ifname text not null,
    pod_namespace text,
    pod_name text,
    pod_uid text,
    owner text,
    created_at integer not null,
    released_at integer not null,
    -- release, gc, admin or replaced.
    reason text not null,
    constraint history_address_full check (length(address) = 16),
    constraint history_attachment_id_type check (length(attachment_id) = 16)
) strict;

create index history_address on history (vrf_id, address, released_at, id);
-- What was released lately, whatever its address.
create index history_released on history (released_at);

-- Each change of a pool, with its settings after it.
create table pool_change (
    id integer not null constraint pool_change_pkey primary key autoincrement,
    pool text not null,
    at integer not null,
    action text not null,
    settings text not null,
    constraint pool_change_settings_type check (json_valid(settings))
) strict;

create index pool_change_pool on pool_change (pool, id);

-- For people at a prompt. instr() reads a hexadecimal digit: 0 is not found, which is 0.
create view lease_view as
select v.name as vrf, p.name as pool,
    case when substr(h.hex, 1, 24) = '00000000000000000000FFFF'
        then (instr('123456789ABCDEF', substr(h.hex, 25, 1)) * 16 + instr('123456789ABCDEF', substr(h.hex, 26, 1)))
            || '.' || (instr('123456789ABCDEF', substr(h.hex, 27, 1)) * 16 + instr('123456789ABCDEF', substr(h.hex, 28, 1)))
            || '.' || (instr('123456789ABCDEF', substr(h.hex, 29, 1)) * 16 + instr('123456789ABCDEF', substr(h.hex, 30, 1)))
            || '.' || (instr('123456789ABCDEF', substr(h.hex, 31, 1)) * 16 + instr('123456789ABCDEF', substr(h.hex, 32, 1)))
        else lower(substr(h.hex, 1, 4) || ':' || substr(h.hex, 5, 4) || ':' || substr(h.hex, 9, 4) || ':'
            || substr(h.hex, 13, 4) || ':' || substr(h.hex, 17, 4) || ':' || substr(h.hex, 21, 4) || ':'
            || substr(h.hex, 25, 4) || ':' || substr(h.hex, 29, 4))
    end as address,
    p.prefix_len, h.cluster, h.node, h.network, h.container_id, h.ifname, h.pod_namespace, h.pod_name,
    strftime('%Y-%m-%dT%H:%M:%fZ', h.created_at / 1e6, 'unixepoch') as created_at
from (select l.vrf_id, l.pool_id, l.created_at, hex(l.address) as hex, a.cluster, a.node, a.network, a.container_id, a.ifname,
        a.pod_namespace, a.pod_name
    from lease l
    join attachment a on a.id = l.attachment_id) h
join pool p on p.id = h.pool_id
join vrf v on v.id = h.vrf_id;

create view free_range_view as
with bound as (
    select pool_id, hex(first) as first, hex(last) as last, free_at from free_range
)
select p.name as pool,
    case when substr(b.first, 1, 24) = '00000000000000000000FFFF'
        then (instr('123456789ABCDEF', substr(b.first, 25, 1)) * 16 + instr('123456789ABCDEF', substr(b.first, 26, 1)))
            || '.' || (instr('123456789ABCDEF', substr(b.first, 27, 1)) * 16 + instr('123456789ABCDEF', substr(b.first, 28, 1)))
            || '.' || (instr('123456789ABCDEF', substr(b.first, 29, 1)) * 16 + instr('123456789ABCDEF', substr(b.first, 30, 1)))
            || '.' || (instr('123456789ABCDEF', substr(b.first, 31, 1)) * 16 + instr('123456789ABCDEF', substr(b.first, 32, 1)))
        else lower(substr(b.first, 1, 4) || ':' || substr(b.first, 5, 4) || ':' || substr(b.first, 9, 4) || ':'
            || substr(b.first, 13, 4) || ':' || substr(b.first, 17, 4) || ':' || substr(b.first, 21, 4) || ':'
            || substr(b.first, 25, 4) || ':' || substr(b.first, 29, 4))
    end as first,
    case when substr(b.last, 1, 24) = '00000000000000000000FFFF'
        then (instr('123456789ABCDEF', substr(b.last, 25, 1)) * 16 + instr('123456789ABCDEF', substr(b.last, 26, 1)))
            || '.' || (instr('123456789ABCDEF', substr(b.last, 27, 1)) * 16 + instr('123456789ABCDEF', substr(b.last, 28, 1)))
            || '.' || (instr('123456789ABCDEF', substr(b.last, 29, 1)) * 16 + instr('123456789ABCDEF', substr(b.last, 30, 1)))
            || '.' || (instr('123456789ABCDEF', substr(b.last, 31, 1)) * 16 + instr('123456789ABCDEF', substr(b.last, 32, 1)))
        else lower(substr(b.last, 1, 4) || ':' || substr(b.last, 5, 4) || ':' || substr(b.last, 9, 4) || ':'
            || substr(b.last, 13, 4) || ':' || substr(b.last, 17, 4) || ':' || substr(b.last, 21, 4) || ':'
            || substr(b.last, 25, 4) || ':' || substr(b.last, 29, 4))
    end as last,
    strftime('%Y-%m-%dT%H:%M:%fZ', b.free_at / 1e6, 'unixepoch') as free_at
from bound b
join pool p on p.id = b.pool_id;
