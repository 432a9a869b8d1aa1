-- Events that other programs insert in their own transactions, without a position.

-- What is not numbered yet, in the order in which it is looked through. Numbered events are not
-- in it, so it costs an append the look at one column.
create index domain_events_unnumbered_idx
    on domain_events (aggregate_type, aggregate_id, version) where position is null;
