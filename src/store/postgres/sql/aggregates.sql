select first.aggregate_id, newest.version, newest.occurred_at
from (
    select aggregate_id from domain_events
    where aggregate_type = $1 and version = 1 and aggregate_id > $2
    order by aggregate_id limit $3
) as first cross join lateral (
    select version, occurred_at from domain_events
    where aggregate_type = $1 and aggregate_id = first.aggregate_id and position is not null
    order by version desc limit 1
) as newest
order by first.aggregate_id
