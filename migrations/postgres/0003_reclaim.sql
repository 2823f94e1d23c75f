-- A machine that comes back with another boot runs none of the containers of the boot before: their leases are withheld
-- for a while, and freed unless somebody gives a sign of life.

-- Set while the lease is quarantined: until then it can be kept by a claim or a check.
alter table lease add column quarantined_until timestamptz;
create index lease_quarantined on lease (quarantined_until) where quarantined_until is not null;

-- When the leases of the node's earlier boots are to be looked through next; null when there is nothing to look for.
alter table node add column reclaim_at timestamptz;
create index node_reclaim on node (reclaim_at) where reclaim_at is not null;

-- About when the present boot began, by the database's clock: when its first verb arrived, less what that verb told of its
-- age in the boot. Boots have no order of their own, and a verb of one that is over may come late.
alter table node add column booted_at timestamptz;
