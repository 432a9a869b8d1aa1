-- The columns of some tables, and for each what is needed to write it: $1 are names as SQL reads them.
select given.place, class.relkind::text, attribute.attname::text,
    -- With its precision or length.
    format_type(attribute.atttypid, attribute.atttypmod),
    case when type.typnamespace = 'pg_catalog'::regnamespace then type.typname::text else '' end,
    type.typtype = 'e',
    attribute.attnotnull and not attribute.atthasdef and attribute.attidentity = '',
    attribute.attgenerated <> '' or attribute.attidentity = 'a'
from unnest($1::text[]) with ordinality as given (name, place)
join pg_class as class on class.oid = to_regclass(given.name)
left join pg_attribute as attribute
    on attribute.attrelid = class.oid and attribute.attnum > 0 and not attribute.attisdropped
left join pg_type as type on type.oid = attribute.atttypid
