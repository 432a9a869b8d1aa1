-- The log and what is committed beside it. Times are microseconds since 1970-01-01T00:00:00Z:
-- exact, and they sort. Ids are ULIDs as text. Every index costs every append, so there are
-- no more than uniqueness needs.

-- The position is the rowid: events are added at the table's end and need no index of positions,
-- and the log's last position is the largest rowid. SQLite has one writer at a time, so an insert
-- that leaves the position out gets the next one, in the order of commits and without a gap.
-- The data is the last column, so that nothing else is read past a large one.
create table domain_events (
    position integer primary key,
    id text not null unique,
    aggregate_type text not null,
    aggregate_id text not null,
    version integer not null,
    event_type text not null,
    schema_version integer not null,
    occurred_at integer not null,
    created_by text,
    correlation_id text not null,
    causation_id text,
    event_data text not null,
    unique (aggregate_type, aggregate_id, version)
) strict;

create table aggregate_snapshots (
    id text not null,
    aggregate_type text not null,
    aggregate_id text not null,
    version integer not null,
    position integer not null,
    occurred_at integer not null,
    created_at integer not null,
    fingerprint text not null,
    snapshot_data text not null,
    unique (aggregate_type, aggregate_id, version)
) strict;

create table command_receipts (
    aggregate_type text not null,
    aggregate_id text not null,
    idempotency_key text not null,
    id text not null,
    command_hash blob not null,
    first_version integer not null,
    event_count integer not null,
    correlation_id text not null,
    created_at integer not null,
    reply text,
    primary key (aggregate_type, aggregate_id, idempotency_key)
) strict, without rowid;

create table aggregate_claims (
    aggregate_type text not null,
    claim text not null,
    value text not null,
    aggregate_id text not null,
    primary key (aggregate_type, claim, value)
) strict, without rowid;

create table projection_checkpoints (
    name text not null primary key,
    position integer not null,
    -- The epoch of the lease under which it was written.
    epoch integer not null,
    updated_at integer not null
) strict, without rowid;

create table leases (
    name text not null primary key,
    holder text not null,
    epoch integer not null,
    expires_at integer not null
) strict, without rowid;
