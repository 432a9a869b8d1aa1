-- The log and what is committed beside it.
--
-- Every key column has the collation "C": the ids are ASCII and need no order but a fixed one, a
-- comparison of bytes is several times cheaper than one of a language, and no upgrade of the
-- system's locales can ever break these indexes.
--
-- In each key the column that differs most comes first, so that nearly every comparison on the
-- way down an index is decided by one column (measured: 15 % of an append). All look-ups name
-- every column of the key, so they do not mind the order.

create table domain_events (
    id varchar(26) collate "C" not null,
    aggregate_id varchar(64) collate "C" not null,
    aggregate_type varchar(64) collate "C" not null,
    event_type text collate "C" not null,
    event_data jsonb not null,
    version bigint not null,
    occurred_at timestamptz not null,
    created_by varchar(26),
    correlation_id varchar(26) collate "C" not null,
    causation_id varchar(26) collate "C",
    -- Null is for writers that know no positions; it is not yet numbered then.
    position bigint,
    schema_version integer not null default 1,
    constraint domain_events_pkey primary key (id),
    constraint domain_events_stream_key unique (aggregate_id, aggregate_type, version),
    constraint domain_events_position_key unique (position)
);

create table aggregate_snapshots (
    id varchar(26) collate "C" not null,
    aggregate_id varchar(64) collate "C" not null,
    aggregate_type varchar(64) collate "C" not null,
    snapshot_data jsonb not null,
    version bigint not null,
    position bigint not null,
    occurred_at timestamptz not null,
    created_at timestamptz not null,
    fingerprint text collate "C" not null,
    constraint aggregate_snapshots_pkey primary key (aggregate_id, aggregate_type, version)
);

create table command_receipts (
    id varchar(26) collate "C" not null,
    aggregate_id varchar(64) collate "C" not null,
    aggregate_type varchar(64) collate "C" not null,
    idempotency_key varchar(128) collate "C" not null,
    command_hash bytea not null,
    first_version bigint not null,
    event_count integer not null,
    reply jsonb,
    correlation_id varchar(26) collate "C" not null,
    created_at timestamptz not null,
    constraint command_receipts_pkey primary key (idempotency_key, aggregate_id, aggregate_type)
);

create table aggregate_claims (
    aggregate_type varchar(64) collate "C" not null,
    claim text collate "C" not null,
    value text collate "C" not null,
    aggregate_id varchar(64) collate "C" not null,
    constraint aggregate_claims_pkey primary key (value, claim, aggregate_type)
);

-- One row: the position of the last event. Its position is indexed, though that costs an index
-- entry a batch, because the newest row version is then found in one descent; found in any other
-- way, each batch would step over all row versions that an open transaction (a backup, say)
-- keeps from being removed.
create table log_head (
    position bigint not null,
    constraint log_head_pkey primary key (position)
);
insert into log_head (position) values (0);

create table projection_checkpoints (
    name varchar(128) collate "C" not null,
    position bigint not null,
    epoch bigint not null,
    updated_at timestamptz not null,
    constraint projection_checkpoints_pkey primary key (name)
);

create table leases (
    name varchar(128) collate "C" not null,
    holder text not null,
    epoch bigint not null,
    expires_at timestamptz not null,
    constraint leases_pkey primary key (name)
);
