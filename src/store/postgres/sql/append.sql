-- Stores the events of a batch, or nothing and answers no row where a stream is at another version.
with slot as (
    -- The row of the head serializes the writers. A snapshot may be older than the row that is
    -- updated after a wait, so the row is looked for from the snapshot's position on.
    update log_head
    set position = position + $4
    where position >= (select position from log_head order by position desc limit 1)
      and not exists (
        select from unnest($1::text[], $2::text[], $3::bigint[])
            as head (aggregate_type, aggregate_id, expected)
        -- Of a stream that is to begin, the index tells when its first event is stored.
        where head.expected is not null and head.expected <> coalesce((
            select version from domain_events
            where aggregate_type = head.aggregate_type and aggregate_id = head.aggregate_id
              -- It says nothing new, and keeps the scan to the end of the stream: without it each
              -- version on a page of the index is looked at.
              and version >= head.expected
            order by version desc limit 1
        ), 0)
      )
      -- What is not numbered yet has to be, before what follows it is. The first look, which is
      -- all there is as a rule, is one for the whole batch.
      and (
        not exists (select from domain_events where position is null)
        or not exists (
            select from unnest($1::text[], $2::text[]) as head (aggregate_type, aggregate_id)
            where exists (
                select from domain_events
                where position is null and aggregate_type = head.aggregate_type
                  and aggregate_id = head.aggregate_id
            )
        )
      )
    returning position
), stored as (
    insert into domain_events (
        id, aggregate_type, aggregate_id, version, event_type, schema_version, event_data,
        occurred_at, created_by, correlation_id, causation_id, position, row_marks
    )
    select
        event.id, event.aggregate_type, event.aggregate_id, event.version, event.event_type,
        event.schema_version, event.data::jsonb, event.occurred_at, event.created_by,
        event.correlation_id, event.causation_id, slot.position - $4 + event.ordinal,
        event.row_marks
    from slot cross join unnest(
        $5::text[], $6::text[], $7::text[], $8::bigint[], $9::text[], $10::integer[], $11::text[],
        $12::timestamptz[], $13::text[], $14::text[], $15::text[], $16::text[]
    ) with ordinality as event (
        id, aggregate_type, aggregate_id, version, event_type, schema_version, data,
        occurred_at, created_by, correlation_id, causation_id, row_marks, ordinal
    )
)
select position from slot
