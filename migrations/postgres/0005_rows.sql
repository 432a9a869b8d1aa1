-- What is known of the rows of state tables, which are not dormouse's own: see decision 27. The key
-- has the order and the collation for the reasons given in 0001_log.sql.
create table aggregate_rows (
    aggregate_type varchar(64) collate "C" not null,
    aggregate_id varchar(64) collate "C" not null,
    version bigint not null,
    log_version bigint not null,
    -- Marks of the columns as they were last written or met, as JSON; null where there was no row.
    marks text collate "C",
    -- As they were when row and log last agreed: `=` where that is the same.
    agreed text collate "C",
    -- The state of an aggregate that has no row and is not absent either.
    rowless text,
    constraint aggregate_rows_pkey primary key (aggregate_id, aggregate_type)
)
-- Each commit replaces its track; with room left on the page the key's index need not be told.
with (fillfactor = 70);
