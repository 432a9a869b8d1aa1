select id, event_type, schema_version, event_data::text, version, position, occurred_at, created_by,
    correlation_id, causation_id
from domain_events
where aggregate_type = $1 and aggregate_id = $2 and version >= $3
order by version limit $4
