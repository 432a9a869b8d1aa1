-- The newest fitting snapshot of each stream and the first page of events after it, of one
-- snapshot of the database. Each snapshot comes in a row of its own, so that its data is not
-- repeated with every event.
with request as materialized (
    select wanted.ordinal, wanted.aggregate_type, wanted.aggregate_id, wanted.after, newest.*
    from unnest($1::text[], $2::text[], $3::text[], $4::bigint[]) with ordinality
        as wanted (aggregate_type, aggregate_id, fingerprint, after, ordinal)
    left join lateral (
        select id, fingerprint, snapshot_data, version, position, occurred_at, created_at
        from aggregate_snapshots as snapshot
        where snapshot.aggregate_type = wanted.aggregate_type
          and snapshot.aggregate_id = wanted.aggregate_id
          and snapshot.fingerprint = wanted.fingerprint and snapshot.version > wanted.after
        order by version desc limit 1
    ) as newest on true
)
select id, fingerprint as event_type, 0 as schema_version, snapshot_data::text as data, version,
    position, occurred_at, null::text as created_by, null::text as correlation_id,
    null::text as causation_id, ordinal, created_at
from request where id is not null
union all
select event.id, event.event_type, event.schema_version, event.event_data::text, event.version,
    event.position, event.occurred_at, event.created_by, event.correlation_id,
    event.causation_id, request.ordinal, null
from request cross join lateral (
    select * from domain_events
    where aggregate_type = request.aggregate_type and aggregate_id = request.aggregate_id
      and domain_events.version > coalesce(request.version, request.after)
    order by domain_events.version limit $5
) as event
