-- A pool's counter is rewritten by each batch. While a long snapshot is open (pg_dump) none of its old versions goes away,
-- and a key of the pool alone leads to all of them. With the version in the key, counted up by each write, the present one
-- is the last of its pool, and is found first. The server before, which does not know of the column, finds the row by the
-- pool as ever.
alter table pool_counter add column version bigint not null default 0;
alter table pool_counter drop constraint pool_counter_pkey;
alter table pool_counter add constraint pool_counter_pkey primary key (pool_id, version);
