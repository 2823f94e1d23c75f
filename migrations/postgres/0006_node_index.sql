-- A node holds hundreds of attachments, which are soon sorted. With the whole key in it, this index cost a claim more than
-- any other: a tenth of what PostgreSQL does for it. On the name alone its entries are small, and equal ones share one.
create index attachment_of_node on attachment (node);
drop index attachment_node;
