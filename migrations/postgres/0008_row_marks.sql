-- Marks of the row that was written together with an event, on the last event of each command in
-- `dual-write`: with them no track of its own is written (docs/decisions/0082). `null` where the event
-- left no row.
alter table domain_events add column row_marks text collate "C";
