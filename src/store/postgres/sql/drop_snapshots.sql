-- By row address, for the reason given in append_with_claims_and_receipts.sql.
delete from aggregate_snapshots
where ctid = any (array(
    select surplus.ctid
    from unnest($1::text[], $2::text[]) as stream (aggregate_type, aggregate_id)
    cross join lateral (
        select kept.ctid from aggregate_snapshots as kept
        where kept.aggregate_type = stream.aggregate_type
          and kept.aggregate_id = stream.aggregate_id
        order by kept.version desc offset $3
    ) as surplus
))
