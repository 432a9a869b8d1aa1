-- By row address, for the reason given in append_with_claims_and_receipts.sql.
delete from aggregate_snapshots
where ctid = any (array(
    select surplus.ctid
    from unnest($1::text[], $2::text[], $5::text[])
        as stream (aggregate_type, aggregate_id, fingerprint)
    cross join lateral (
        select kept.ctid, kept.version, kept.fingerprint from aggregate_snapshots as kept
        where kept.aggregate_type = stream.aggregate_type
          and kept.aggregate_id = stream.aggregate_id
        order by kept.version desc offset $3
    ) as surplus
    -- Of each span of versions the first snapshot that fits stays.
    where $4 = 0 or surplus.fingerprint <> stream.fingerprint or exists (
        select from aggregate_snapshots as earlier
        where earlier.aggregate_type = stream.aggregate_type
          and earlier.aggregate_id = stream.aggregate_id
          and earlier.version >= surplus.version - surplus.version % nullif($4, 0)
          and earlier.version < surplus.version and earlier.fingerprint = stream.fingerprint
    )
))
