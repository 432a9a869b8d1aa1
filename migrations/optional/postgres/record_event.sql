-- A function for programs that are not dormouse: records an event in the caller's own transaction
-- and returns its version. `dormouse migrate --with-functions` applies this file; it may be applied
-- again at any time. Nothing of dormouse needs it.
--
-- Without expected_version the event comes behind what the caller can see. Either way a unique
-- violation (SQLSTATE 23505, constraint domain_events_stream_key) says that another writer had the
-- version: roll back, read again, decide again.

-- A ULID of the current time, as ids of events and correlations are.
create or replace function dormouse_ulid() returns text
language sql volatile as $$
    with given as (
        select (extract(epoch from clock_timestamp()) * 1000)::bigint as milliseconds,
            -- 16 random bytes; 80 bits of them are used, none of those that a UUID fixes.
            decode(replace(gen_random_uuid()::text || gen_random_uuid()::text, '-', ''), 'hex') as random
    )
    select string_agg(
        substr('0123456789ABCDEFGHJKMNPQRSTVWXYZ', 1 + (case
            when place < 10 then (milliseconds >> (45 - 5 * place)) & 31
            -- The low five bits of bytes 0 to 5, 10 to 15 and 16 to 19: none has a fixed bit there.
            else get_byte(random, case when place < 16 then place - 10 else place - 6 end) & 31
        end)::integer, 1),
        '' order by place)
    from given cross join generate_series(0, 25) as place
$$;

create or replace function dormouse_record_event(
    aggregate_type text,
    aggregate_id text,
    event_type text,
    event_data jsonb,
    expected_version bigint default null,
    created_by text default null,
    correlation_id text default null,
    causation_id text default null,
    occurred_at timestamptz default now(),
    schema_version integer default 1
) returns bigint
language sql volatile as $$
    insert into domain_events (
        id, aggregate_type, aggregate_id, version, event_type, schema_version, event_data,
        occurred_at, created_by, correlation_id, causation_id
    )
    select dormouse_ulid(), $1, $2,
        coalesce($5, (
            select max(stored.version) from domain_events as stored
            where stored.aggregate_type = $1 and stored.aggregate_id = $2
        ), 0) + 1,
        $3, $10, $4, $9, $6, coalesce($7, dormouse_ulid()), $8
    returning version
$$;
