-- Numbers a page of what other programs have inserted, behind the lock of the head; answers the
-- page, each event with its position or with what keeps it from having one.
with page as materialized (
    select id, aggregate_type, aggregate_id, version, event_type, schema_version, occurred_at,
        created_by, correlation_id, causation_id, case when $5 then event_data::text end as data
    from domain_events
    where position is null and (aggregate_type, aggregate_id, version) > ($1::text, $2::text, $3::bigint)
    order by aggregate_type, aggregate_id, version
    limit $4
    -- What its own program is changing at this moment is left for the next time.
    for update skip locked
), judged as (
    select page.*,
        case
            when id !~ '^[0-7][0-9A-HJKMNP-TV-Z]{25}$' then 'its id is no ULID in upper case'
            when aggregate_type !~ '^[A-Za-z0-9._:-]{1,64}$'
                then 'its aggregate_type is not 1 to 64 characters of A-Z a-z 0-9 . _ : -'
            when aggregate_id !~ '^[A-Za-z0-9._:-]{1,64}$'
                then 'its aggregate_id is not 1 to 64 characters of A-Z a-z 0-9 . _ : -'
            when version < 1 then 'its version is less than 1'
            when event_type !~ '^[^\u0001-\u001f\u007f-\u009f]{1,255}$'
                then 'its event_type is not 1 to 255 characters, none of them a control character'
            when schema_version < 1 then 'its schema_version is less than 1'
            when occurred_at not between '0001-01-01T00:00:00Z' and '9999-12-31T23:59:59Z'
                then 'its occurred_at is not a time of the years 1 to 9999'
            when created_by !~ '^[^\u0001-\u001f\u007f-\u009f]{1,26}$'
                then 'its created_by is not 1 to 26 characters, none of them a control character'
            when correlation_id !~ '^[0-7][0-9A-HJKMNP-TV-Z]{25}$'
                then 'its correlation_id is no ULID in upper case'
            when causation_id !~ '^[0-7][0-9A-HJKMNP-TV-Z]{25}$'
                then 'its causation_id is no ULID in upper case'
        end as problem,
        min(version) over stream as first_version,
        row_number() over stream as place,
        -- Times may go back within a stream, the order of versions may not.
        max(occurred_at) over stream as since
    from page
    window stream as (partition by aggregate_type, aggregate_id order by version)
), flagged as (
    select judged.*,
        coalesce(
            problem,
            case when version - place <> first_version - 1 or (
                first_version > 1 and not exists (
                    select from domain_events as before
                    where before.aggregate_type = judged.aggregate_type
                      and before.aggregate_id = judged.aggregate_id
                      and before.version = judged.first_version - 1
                      and before.position is not null
                )
            ) then 'the version before it is missing' end
        ) as obstacle
    from judged
), ready as (
    -- What follows an event that cannot be numbered waits with it.
    select flagged.*, bool_and(obstacle is null) over (
        partition by aggregate_type, aggregate_id order by version
    ) as is_ready
    from flagged
), placed as materialized (
    select ready.*,
        row_number() over (
            partition by is_ready order by since, aggregate_type, aggregate_id, version
        ) as ordinal,
        count(*) filter (where is_ready) over () as total
    from ready
), slot as (
    update log_head
    set position = position + (select total from placed limit 1)
    where position >= (select position from log_head order by position desc limit 1)
      and exists (select from placed where is_ready)
    returning position
), numbered as (
    update domain_events as event
    set position = slot.position - placed.total + placed.ordinal
    from placed cross join slot
    where placed.is_ready and event.id = placed.id
)
select placed.id, placed.event_type, placed.schema_version, placed.data, placed.version,
    case when placed.is_ready then slot.position - placed.total + placed.ordinal end as position,
    placed.occurred_at, placed.created_by, placed.correlation_id, placed.causation_id,
    placed.aggregate_type, placed.aggregate_id,
    coalesce(placed.obstacle, 'it follows one that cannot be numbered') as obstacle
from placed left join slot on true
order by placed.aggregate_type, placed.aggregate_id, placed.version
