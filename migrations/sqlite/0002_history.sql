-- What questions to the log are answered with. The position is the rowid, in which each entry of
-- an index ends, so what an index finds is ordered by position already. The stream of an
-- aggregate id is found in the index of streams.

create index domain_events_aggregate_type on domain_events (aggregate_type);
create index domain_events_event_type on domain_events (event_type);
create index domain_events_correlation_id on domain_events (correlation_id);
create index domain_events_created_by on domain_events (created_by) where created_by is not null;
create index domain_events_causation_id on domain_events (causation_id)
    where causation_id is not null;
create index domain_events_occurred_at on domain_events (occurred_at);
