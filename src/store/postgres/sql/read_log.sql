select id, event_type, schema_version, event_data::text, version, position, occurred_at, created_by,
    correlation_id, causation_id, aggregate_type, aggregate_id
from domain_events
where position > $1
order by position limit $2
