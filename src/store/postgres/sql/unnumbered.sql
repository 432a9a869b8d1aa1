-- Which of these streams have events that are not numbered, by their places here.
select stream.ordinal
from unnest($1::text[], $2::text[]) with ordinality as stream (aggregate_type, aggregate_id, ordinal)
cross join lateral (
    select from domain_events
    where position is null and aggregate_type = stream.aggregate_type
      and aggregate_id = stream.aggregate_id
    limit 1
) as found
