-- What the role that asks may do with some columns of some tables: $1 are tables as SQL reads their
-- names, $2 the places of the tables of the columns $3. A right on a table is one on each column. The
-- last two are the role and the table as a statement must have them.
select given.place, needed.name, current_user::text,
    has_column_privilege(class.oid, attribute.attnum, 'select'),
    has_column_privilege(class.oid, attribute.attnum, 'insert'),
    has_column_privilege(class.oid, attribute.attnum, 'update'),
    has_table_privilege(class.oid, 'select'),
    has_table_privilege(class.oid, 'delete'),
    has_any_column_privilege(class.oid, 'update'),
    quote_ident(current_user), class.oid::regclass::text
from unnest($1::text[]) with ordinality as given (name, place)
join pg_class as class on class.oid = to_regclass(given.name)
join unnest($2::bigint[], $3::text[]) as needed (place, name) on needed.place = given.place
join pg_attribute as attribute on attribute.attrelid = class.oid
    and attribute.attname = needed.name and not attribute.attisdropped
