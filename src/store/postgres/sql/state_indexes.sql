-- The unique indexes of some tables with their columns, those in expressions too; and whether an
-- index is over these columns as they are, in every row.
select given.place, index_class.relname::text,
    array(
        select attribute.attname::text from pg_attribute as attribute
        where attribute.attrelid = index.indrelid and (
            attribute.attnum = any (index.indkey)
            or attribute.attnum in (
                select depend.refobjsubid from pg_depend as depend
                where depend.classid = 'pg_class'::regclass and depend.objid = index.indexrelid
                  and depend.refclassid = 'pg_class'::regclass
                  and depend.refobjid = index.indrelid and index.indexprs is not null
            )
        )
        order by attribute.attnum
    ),
    index.indexprs is null and index.indpred is null and index.indisvalid
from unnest($1::text[]) with ordinality as given (name, place)
join pg_index as index on index.indrelid = to_regclass(given.name) and index.indisunique
join pg_class as index_class on index_class.oid = index.indexrelid
