-- Read models: which generation of each is served, and what became of the others. The tables of
-- the read models themselves are their projections' own.

create table projections (
    name text not null primary key,
    -- The generation that readers see; null until the first is complete.
    serving integer,
    last_generation integer not null
) strict, without rowid;

-- A generation is one build of a read model from position 0. Its checkpoint and its lease have
-- the name `name/generation`.
create table projection_generations (
    name text not null,
    generation integer not null,
    -- The version of the read model's shape.
    version integer not null,
    -- Whether it is kept by the append's own transaction.
    inline integer not null default 0,
    retired_at integer,
    -- The event that cannot be applied, and why.
    stopped_position integer,
    stopped_event text,
    stopped_error text,
    primary key (name, generation)
) strict, without rowid;

create table projection_parked_events (
    name text not null,
    generation integer not null,
    position integer not null,
    event_id text not null,
    error text not null,
    parked_at integer not null,
    primary key (name, generation, position)
) strict, without rowid;
