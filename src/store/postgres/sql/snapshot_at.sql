-- Its columns are those of recover.sql.
select id, fingerprint, 0, snapshot_data::text, version, position, occurred_at, null::text, null::text,
    null::text, null::bigint, created_at
from aggregate_snapshots
where aggregate_type = $1 and aggregate_id = $2 and fingerprint = $3 and version <= $4
order by version desc limit 1
