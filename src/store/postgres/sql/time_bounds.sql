-- Between which positions lies what happened between two times. Times nearly follow positions, so
-- halving finds where a bound would be if they did; whatever lies beyond it all the same is then
-- found by the summary of times (migration 0004), so the answer is right in any order of times.
with recursive head as (
    select position from log_head order by position desc limit 1
), low (below, reached) as (
    select 0::bigint, head.position + 1 from head
    union all
    select case when middle.occurred_at < $1 then step.middle else step.below end,
        case when middle.occurred_at < $1 then step.reached else step.middle end
    from (
        select below, reached, (below + reached) / 2 as middle from low where reached - below > 1
    ) as step
    cross join lateral (
        select occurred_at from domain_events where position = step.middle limit 1
    ) as middle
), high (reached, above) as (
    select 0::bigint, head.position + 1 from head
    union all
    select case when middle.occurred_at <= $2 then step.middle else step.reached end,
        case when middle.occurred_at <= $2 then step.above else step.middle end
    from (
        select reached, above, (reached + above) / 2 as middle from high where above - reached > 1
    ) as step
    cross join lateral (
        select occurred_at from domain_events where position = step.middle limit 1
    ) as middle
), guess as (
    select (select min(reached) from low) as first, (select max(reached) from high) as last
)
select head.position,
    (
        select coalesce(min(event.position + 0), guess.first) from domain_events as event
        where event.position + 0 <= guess.first and event.occurred_at >= $1
    ),
    (
        select coalesce(max(event.position + 0), guess.last) from domain_events as event
        where event.position + 0 >= guess.last and event.occurred_at <= $2
    )
from head cross join guess
