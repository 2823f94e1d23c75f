-- As in PostgreSQL: a node's attachments are few, and the whole key in this index cost a claim more than it saved.
create index attachment_of_node on attachment (node);
drop index attachment_node;
