//! Whether the role that serves may do with a table what is done with it: a right that is missing is
//! told at the start, not by the first answer that fails.

use sqlx::postgres::PgRow;

use super::{
    super::{
        errors::read_error,
        reads::Readers,
        rows::{column, number},
    },
    catalog,
};
use crate::{
    domain::StateTable,
    store::{ReadError, RowAccess, TableError},
};

const RIGHTS: &str = include_str!("../sql/state_rights.sql");
/// The schemas that may not be used, of those that are there.
const SCHEMAS: &str = "select nspname::text, current_user::text, quote_ident(nspname), \
    quote_ident(current_user) from pg_namespace \
    where nspname = any($1::text[]) and not has_schema_privilege(oid, 'usage')";

/// The rights, as they are granted.
const NAMES: [&str; 4] = ["select", "insert", "update", "delete"];

/// A table with the columns that are read, inserted and updated.
struct Needed<'a> {
    name: &'a str,
    columns: Vec<&'a str>,
    /// Those that are changed in a row that is there; a link comes or goes as a whole.
    changed: Vec<&'a str>,
}

/// Asks whether the schemas of a table's name and of its link tables may be used; where one may
/// not, not even the catalog can be asked for its tables.
pub(super) async fn check_schemas(readers: &Readers, table: &StateTable) -> Result<(), TableError> {
    let names = std::iter::once(&*table.name).chain(table.links.iter().map(|link| link.name));
    let schemas: Vec<String> = names
        .filter_map(|name| Some(name.split_once('.')?.0.to_owned()))
        .collect();
    if schemas.is_empty() {
        return Ok(());
    }
    let asking = || sqlx::query(SCHEMAS).bind(schemas.clone());
    let Some(row) = readers.row(asking).await? else {
        return Ok(());
    };
    let text = |index| column::<String>(&row, index);
    let (schema, role) = (text(0)?, text(1)?);
    Err(TableError::Forbidden {
        table: table.name.to_string(),
        missing: format!("usage of its schema `{schema}`"),
        grant: format!("grant usage on schema {} to {}", text(2)?, text(3)?),
        role,
    })
}

/// Asks for the rights on a table and its link tables; all are there.
pub(super) async fn check(
    readers: &Readers,
    table: &StateTable,
    access: RowAccess,
) -> Result<(), TableError> {
    let needed = needed(table);
    let names: Vec<String> = needed.iter().map(|it| catalog::quoted(it.name)).collect();
    let mut places: Vec<i64> = Vec::new();
    let mut columns: Vec<String> = Vec::new();
    for (place, table) in (1..).zip(&needed) {
        for column in &table.columns {
            places.push(place);
            columns.push((*column).to_owned());
        }
    }
    let asking = || {
        sqlx::query(RIGHTS)
            .bind(names.clone())
            .bind(places.clone())
            .bind(columns.clone())
    };
    let rows = readers.rows(asking).await.map_err(read_error)?;
    // The first that lacks a right: its name, what is missing, and whom.
    let mut told: Option<(&str, String, String)> = None;
    let mut grants = Vec::new();
    for (place, table) in (1..).zip(&needed) {
        let rights = missing(table, place, &rows, access)?.join(", ");
        let Some(row) = row_of(place, &rows)?.filter(|_| !rights.is_empty()) else {
            continue;
        };
        let text = |index| column::<String>(row, index);
        grants.push(format!("grant {rights} on {} to {}", text(10)?, text(9)?));
        if told.is_none() {
            told = Some((table.name, rights, text(2)?));
        }
    }
    let Some((name, missing, role)) = told else {
        return Ok(());
    };
    Err(TableError::Forbidden {
        table: name.to_owned(),
        missing,
        grant: grants.join("; "),
        role,
    })
}

/// A row of what is told of the table at this place.
fn row_of(place: u64, rows: &[PgRow]) -> Result<Option<&PgRow>, ReadError> {
    for row in rows {
        if number(row, 0)? == place {
            return Ok(Some(row));
        }
    }
    Ok(None)
}

fn needed(table: &StateTable) -> Vec<Needed<'_>> {
    let mapped = table.columns.iter().chain(&table.stamps);
    let changed: Vec<&str> = mapped.map(|column| column.name).collect();
    let mut columns = vec![table.key];
    columns.extend(&changed);
    let links = table.links.iter().map(|link| Needed {
        name: link.name,
        columns: vec![link.owner, link.member],
        changed: Vec::new(),
    });
    let table = Needed {
        name: &table.name,
        columns,
        changed,
    };
    std::iter::once(table).chain(links).collect()
}

/// The rights that are missing on one table.
fn missing(
    table: &Needed<'_>,
    place: u64,
    rows: &[PgRow],
    access: RowAccess,
) -> Result<Vec<&'static str>, ReadError> {
    let mut has = [true; NAMES.len()];
    for row in rows {
        if number(row, 0)? != place {
            continue;
        }
        let name: String = column(row, 1)?;
        let is_changed = table.changed.contains(&&*name);
        let right = |index| column::<bool>(row, index);
        let may = match access {
            RowAccess::Read => [right(3)?, true, true, true],
            RowAccess::Write => [
                // A row is locked by its address, which no column's right allows to read.
                right(6)?,
                right(4)?,
                // Any column's right allows to lock.
                right(8)? && (!is_changed || right(5)?),
                right(7)?,
            ],
        };
        for (has, may) in has.iter_mut().zip(may) {
            *has &= may;
        }
    }
    let missing = NAMES.into_iter().zip(has).filter(|(_, has)| !has);
    Ok(missing.map(|(name, _)| name).collect())
}
