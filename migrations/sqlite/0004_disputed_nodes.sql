-- A boot that is back after another was seen is a second machine with the node's name, a clone: neither proves any more
-- what has become of the other's containers. Set from then on until an admin forgets the node; nothing is freed for a
-- reboot or by a GC meanwhile.
alter table node add column disputed_at integer;

-- About when the boot began, as node.booted_at tells it of the present one: it tells late verbs of a boot that is over from
-- those of one that lives on.
alter table node_boot add column booted_at integer;
