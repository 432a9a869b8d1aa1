-- All that stands in a batch's way, of one snapshot. Each look-up has a limit of its own, so that
-- it is one index descent whatever the planner thinks of the tables' sizes.
select 'version' as kind, stream.ordinal, found.version as number, null as holder,
    null as id, null::bytea as command_hash, null::integer as event_count, null as reply,
    null as correlation_id
from unnest($1::text[], $2::text[]) with ordinality as stream (aggregate_type, aggregate_id, ordinal)
cross join lateral (
    select version from domain_events
    where aggregate_type = stream.aggregate_type and aggregate_id = stream.aggregate_id
    order by version desc limit 1
) as found
union all
select 'event', event.ordinal, found.position, null, null, null, null, null, null
from unnest($3::text[]) with ordinality as event (id, ordinal)
cross join lateral (
    select position from domain_events where id = event.id and position is not null limit 1
) as found
union all
select 'claim', wanted.ordinal, null, found.aggregate_id, null, null, null, null, null
from unnest($4::text[], $5::text[], $6::text[]) with ordinality
    as wanted (aggregate_type, claim, value, ordinal)
cross join lateral (
    select aggregate_id from aggregate_claims
    where aggregate_type = wanted.aggregate_type and claim = wanted.claim and value = wanted.value
    limit 1
) as found
union all
select 'receipt', given.ordinal, found.first_version, null, found.id, found.command_hash,
    found.event_count, found.reply::text, found.correlation_id
from unnest($7::text[], $8::text[], $9::text[]) with ordinality
    as given (aggregate_type, aggregate_id, idempotency_key, ordinal)
cross join lateral (
    select id, command_hash, first_version, event_count, reply, correlation_id
    from command_receipts
    where aggregate_type = given.aggregate_type and aggregate_id = given.aggregate_id
      and idempotency_key = given.idempotency_key
    limit 1
) as found
