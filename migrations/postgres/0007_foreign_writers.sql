-- Events that other programs insert in their own transactions, without a position.

-- What is not numbered yet, in the order in which it is looked through. Numbered events are not
-- in it, so it costs an append the look at one column.
create index domain_events_unnumbered_idx
    on domain_events (aggregate_type, aggregate_id, version) where position is null;

-- The aggregates with such events whose claims nobody has taken yet: from which version on, and up
-- to which. Their rows go once a program that knows the type has taken the claims.
create table foreign_streams (
    aggregate_type varchar(64) collate "C" not null,
    aggregate_id varchar(64) collate "C" not null,
    first_version bigint not null,
    last_version bigint not null,
    constraint foreign_streams_pkey primary key (aggregate_type, aggregate_id)
);
