-- The receipts that a runtime gives to its own commits without events are forgotten after a while; they
-- alone are in this index.
create index command_receipts_reserved on command_receipts (idempotency_key)
    where idempotency_key >= 'dormouse:' and idempotency_key < 'dormouse;';
