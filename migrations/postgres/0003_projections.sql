-- Read models: which generation of each is served, and what became of the others. The tables of
-- the read models themselves are their projections' own.

create table projections (
    name varchar(64) collate "C" not null,
    -- The generation that readers see; null until the first is complete.
    serving bigint,
    last_generation bigint not null,
    constraint projections_pkey primary key (name)
);

-- A generation is one build of a read model from position 0. Its checkpoint and its lease have
-- the name `name/generation`.
create table projection_generations (
    name varchar(64) collate "C" not null,
    generation bigint not null,
    -- The version of the read model's shape.
    version bigint not null,
    -- Whether it is kept by the append's own transaction.
    inline bigint not null default 0,
    retired_at timestamptz,
    -- The event that cannot be applied, and why.
    stopped_position bigint,
    stopped_event varchar(26) collate "C",
    stopped_error text,
    constraint projection_generations_pkey primary key (name, generation)
);

create table projection_parked_events (
    name varchar(64) collate "C" not null,
    generation bigint not null,
    position bigint not null,
    event_id varchar(26) collate "C" not null,
    error text not null,
    parked_at timestamptz not null,
    constraint projection_parked_events_pkey primary key (name, generation, position)
);
