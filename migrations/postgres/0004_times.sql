-- A summary of positions and times for each range of the table's pages. Times nearly follow
-- positions, so it finds the few ranges in which an event of some time may lie before or after a
-- position: enough to turn bounds of time into bounds of positions, at next to no cost for an
-- append (a B-tree on occurred_at costs 16 % of it). Only PostgreSQL has such indexes, therefore
-- it has a migration of its own. The expression keeps the index of positions out of its plans.
create index domain_events_times_idx on domain_events using brin ((position + 0), occurred_at)
    with (pages_per_range = 32, autosummarize = on);
