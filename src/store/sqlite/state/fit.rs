//! Whether a table can be used as it is mapped.

use sqlx::SqliteConnection;

use super::read_failed;
use crate::{domain::StateTable, store::TableError};

/// A column as SQLite tells it.
struct Found {
    name: String,
    is_required: bool,
    is_generated: bool,
    is_key: bool,
}

pub(super) async fn check(
    connection: &mut SqliteConnection,
    table: &StateTable,
) -> Result<(), TableError> {
    let name = &*table.name;
    let columns = columns(connection, name).await?;
    let mapped = table.columns.iter().chain(&table.stamps);
    let given: Vec<&str> = mapped
        .map(|column| column.name)
        .chain([table.key])
        .collect();
    check_columns(name, &columns, &given)?;
    if !is_unique(connection, name, table.key, &columns).await? {
        let problem = format!("has no unique index on its key `{}` alone", table.key);
        return Err(unfit(name, problem));
    }
    for link in &table.links {
        let columns = self::columns(connection, link.name).await?;
        check_columns(link.name, &columns, &[link.owner, link.member])?;
    }
    Ok(())
}

/// SQLite takes names as the same whatever their case.
fn is_named(found: &Found, name: &str) -> bool {
    found.name.eq_ignore_ascii_case(name)
}

fn check_columns(table: &str, columns: &[Found], given: &[&str]) -> Result<(), TableError> {
    for name in given {
        match columns.iter().find(|column| is_named(column, name)) {
            None => return Err(unfit(table, format!("has no column `{name}`"))),
            Some(column) if column.is_generated => {
                let problem =
                    format!("has a column `{name}` that is generated and cannot be written");
                return Err(unfit(table, problem));
            }
            Some(_) => {}
        }
    }
    let is_given = |column: &&Found| given.iter().any(|name| is_named(column, name));
    let mut required = columns.iter().filter(|column| column.is_required);
    match required.find(|column| !is_given(column)) {
        None => Ok(()),
        Some(column) => Err(unfit(
            table,
            format!(
                "has a column `{}` that must be given and is not mapped",
                column.name
            ),
        )),
    }
}

/// The table's own name, without its schema.
fn bare(table: &str) -> &str {
    table.rsplit_once('.').map_or(table, |(_, name)| name)
}

async fn columns(connection: &mut SqliteConnection, table: &str) -> Result<Vec<Found>, TableError> {
    let kind: Option<String> =
        sqlx::query_scalar("select type from sqlite_schema where name = ? collate nocase")
            .bind(bare(table))
            .fetch_optional(&mut *connection)
            .await
            .map_err(read_failed)?;
    match kind.as_deref() {
        Some("table") => {}
        Some(_) => return Err(unfit(table, "is no table but something like a view")),
        None => return Err(unfit(table, "is not there")),
    }
    let columns: Vec<(String, bool, bool, i64)> = sqlx::query_as(
        "select name, \"notnull\" and dflt_value is null and pk = 0, hidden > 1, pk \
         from pragma_table_xinfo(?) where hidden <> 1",
    )
    .bind(bare(table))
    .fetch_all(connection)
    .await
    .map_err(read_failed)?;
    let found = columns
        .into_iter()
        .map(|(name, is_required, is_generated, key)| Found {
            name,
            is_required,
            is_generated,
            is_key: key > 0,
        });
    Ok(found.collect())
}

async fn is_unique(
    connection: &mut SqliteConnection,
    table: &str,
    key: &str,
    columns: &[Found],
) -> Result<bool, TableError> {
    let mut keys = columns.iter().filter(|column| column.is_key);
    // A primary key of one column, which may be the rowid and then has no index.
    if let (Some(only), None) = (keys.next(), keys.next())
        && is_named(only, key)
    {
        return Ok(true);
    }
    let unique: i64 = sqlx::query_scalar(
        "select count(*) from pragma_index_list(?1) as list where list.\"unique\" \
         and not list.partial and (select count(*) from pragma_index_info(list.name)) = 1 \
         and (select name from pragma_index_info(list.name)) = ?2 collate nocase",
    )
    .bind(bare(table))
    .bind(key)
    .fetch_one(connection)
    .await
    .map_err(read_failed)?;
    Ok(unique > 0)
}

fn unfit(table: &str, problem: impl Into<String>) -> TableError {
    TableError::Unfit {
        table: table.to_owned(),
        problem: problem.into(),
    }
}
