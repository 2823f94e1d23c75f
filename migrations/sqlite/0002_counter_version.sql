-- Counts the writes of a pool's counter. PostgreSQL needs it in the key (see there); SQLite keeps one row and one key.
alter table pool_counter add column version integer not null default 0;
