-- As append.sql, with the claims and receipts of the batch.
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
        $12::timestamptz[], $13::text[], $14::text[], $15::text[], $34::text[]
    ) with ordinality as event (
        id, aggregate_type, aggregate_id, version, event_type, schema_version, data,
        occurred_at, created_by, correlation_id, causation_id, row_marks, ordinal
    )
), freed as (
    -- By row address, because a join with the table could be planned the wrong way round while
    -- the table is small, and the plan is kept while it grows.
    delete from aggregate_claims
    where exists (select from slot) and ctid = any (array(
        select (
            select held.ctid from aggregate_claims as held
            where held.aggregate_type = given.aggregate_type and held.claim = given.claim
              and held.value = given.value and held.aggregate_id = given.aggregate_id
        )
        from unnest($16::text[], $17::text[], $18::text[], $19::text[])
            as given (aggregate_type, claim, value, aggregate_id)
    ))
    returning aggregate_type, claim, value
), taken as (
    insert into aggregate_claims (aggregate_type, claim, value, aggregate_id)
    select wanted.aggregate_type, wanted.claim, wanted.value, wanted.aggregate_id
    from slot cross join unnest($20::text[], $21::text[], $22::text[], $23::text[])
        as wanted (aggregate_type, claim, value, aggregate_id)
    -- Nothing else orders the two: the count is known only once all has been freed.
    where (select count(*) from freed) >= 0 and (
        -- What the aggregate holds already it may take again. That is rare, and looking costs as
        -- much as taking, so it is looked for only after the index has objected.
        not $35::boolean
        or wanted.aggregate_id is distinct from (
            select held.aggregate_id from aggregate_claims as held
            where held.aggregate_type = wanted.aggregate_type and held.claim = wanted.claim
              and held.value = wanted.value
        )
        or (wanted.aggregate_type, wanted.claim, wanted.value) in (
            select aggregate_type, claim, value from freed
        )
    )
), answered as (
    insert into command_receipts (
        id, aggregate_type, aggregate_id, idempotency_key, command_hash, first_version,
        event_count, reply, correlation_id, created_at
    )
    select
        receipt.id, receipt.aggregate_type, receipt.aggregate_id, receipt.idempotency_key,
        receipt.command_hash, receipt.first_version, receipt.event_count, receipt.reply::jsonb,
        receipt.correlation_id, receipt.created_at
    from slot cross join unnest(
        $24::text[], $25::text[], $26::text[], $27::text[], $28::bytea[], $29::bigint[],
        $30::integer[], $31::text[], $32::text[], $33::timestamptz[]
    ) as receipt (
        id, aggregate_type, aggregate_id, idempotency_key, command_hash, first_version,
        event_count, reply, correlation_id, created_at
    )
)
select position from slot
