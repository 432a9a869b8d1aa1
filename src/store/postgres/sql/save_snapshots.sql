insert into aggregate_snapshots (
    id, aggregate_type, aggregate_id, version, position, occurred_at, fingerprint, snapshot_data,
    created_at
)
select id, aggregate_type, aggregate_id, version, position, occurred_at, fingerprint, data::jsonb,
    created_at
from unnest(
    $1::text[], $2::text[], $3::text[], $4::bigint[], $5::bigint[], $6::timestamptz[], $7::text[],
    $8::text[], $9::timestamptz[]
) as snapshot (
    id, aggregate_type, aggregate_id, version, position, occurred_at, fingerprint, data, created_at
)
on conflict (aggregate_type, aggregate_id, version) do update set
    id = excluded.id, position = excluded.position, occurred_at = excluded.occurred_at,
    fingerprint = excluded.fingerprint, snapshot_data = excluded.snapshot_data,
    created_at = excluded.created_at
