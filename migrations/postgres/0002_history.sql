-- What questions to the log are answered with. Every index costs every append, so each has the
-- one column that is asked for and the position, by which answers are ordered: a page is one
-- descent and as many entries as the page has events. The stream of an aggregate id is found in
-- domain_events_stream_key.

-- The collation "C" for the reasons given in 0001_log.sql: from here on it is a key column.
alter table domain_events alter column created_by type varchar(26) collate "C";

create index domain_events_aggregate_type_idx on domain_events (aggregate_type, position);
create index domain_events_event_type_idx on domain_events (event_type, position);
create index domain_events_correlation_id_idx on domain_events (correlation_id, position);
create index domain_events_created_by_idx on domain_events (created_by, position)
    where created_by is not null;
create index domain_events_causation_id_idx on domain_events (causation_id, position)
    where causation_id is not null;

-- The aggregates of a type, one entry each.
create index domain_events_aggregates_idx on domain_events (aggregate_type, aggregate_id)
    where version = 1;
