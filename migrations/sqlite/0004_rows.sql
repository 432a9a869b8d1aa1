-- What is known of the rows of state tables, which are not dormouse's own: see decision 27.
create table aggregate_rows (
    aggregate_type text not null,
    aggregate_id text not null,
    version integer not null,
    log_version integer not null,
    -- Marks of the columns as they were last written or met, as JSON; null where there was no row.
    marks text,
    -- As they were when row and log last agreed: `=` where that is the same.
    agreed text,
    -- The state of an aggregate that has no row and is not absent either.
    rowless text,
    primary key (aggregate_type, aggregate_id)
) strict, without rowid;
