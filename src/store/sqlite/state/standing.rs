//! Whether rows are still what their changes were decided on.

use sqlx::{AssertSqlSafe, SqliteConnection};

use super::{by_table, quoted, read::Wanted, read_failed, write::text_written};
use crate::{
    domain::{LinkTable, StateTable, Version},
    store::{
        ReadError,
        net_rows::{NetChange, members},
        sqlite::rows::{MAX_ROWS, integer},
    },
};

/// Whether each row is what its change was decided on, and each track where it is expected; the
/// caller holds the write lock.
///
/// A row that comes from SQLite costs two switches between threads and a copy of each column, so
/// SQLite is asked first whether they are the same as text, and mostly says so. What differs as
/// text may be the same: `true` and `1`, or a time with and without its zeros.
pub(super) async fn are_as_decided(
    connection: &mut SqliteConnection,
    changes: &[NetChange<'_>],
) -> Result<bool, ReadError> {
    for group in by_table(changes, |change| &*change.table.name) {
        if !are_same_texts(connection, &group).await? && !are_same(connection, &group).await? {
            return Ok(false);
        }
    }
    Ok(true)
}

/// By what is read of them.
async fn are_same(
    connection: &mut SqliteConnection,
    group: &[&NetChange<'_>],
) -> Result<bool, ReadError> {
    let streams = group.iter().map(|change| {
        let stream = change.stream;
        (&stream.aggregate_type, &stream.aggregate_id)
    });
    let loaded = Wanted::new(group[0].table, streams)
        .load(connection)
        .await?;
    let mut both = group.iter().zip(&loaded);
    Ok(both.all(|(change, loaded)| {
        let version = loaded.track.as_ref().map(|track| track.version);
        let is_expected = |expected| version.unwrap_or(Version::ZERO) == expected;
        loaded.row.as_ref() == change.before && change.expected.is_none_or(is_expected)
    }))
}

/// By their texts. Where it says so they are the same; where not, they may be.
async fn are_same_texts(
    connection: &mut SqliteConnection,
    group: &[&NetChange<'_>],
) -> Result<bool, ReadError> {
    // SQLite's JSON ends a text where it has a NUL.
    let has_nul = |change: &&NetChange<'_>| {
        let mut links = change.table.links.iter();
        links.any(|link| {
            let members = members(change.before, link.name).into_iter().flatten();
            members.into_iter().any(|member| member.contains('\0'))
        })
    };
    if group.iter().any(has_nul) {
        return Ok(false);
    }
    for chunk in group.chunks(MAX_ROWS) {
        if !is_same_text(connection, chunk).await? {
            return Ok(false);
        }
    }
    Ok(true)
}

async fn is_same_text(
    connection: &mut SqliteConnection,
    chunk: &[&NetChange<'_>],
) -> Result<bool, ReadError> {
    let table = chunk[0].table;
    // Safe: names of the mapping between quotes; values are parameters.
    let mut query = sqlx::query_scalar(AssertSqlSafe(question(table, chunk.len())));
    for change in chunk {
        query = query
            .bind(change.stream.aggregate_type.as_str().to_owned())
            .bind(change.stream.aggregate_id.as_str().to_owned())
            .bind(change.before.is_some())
            .bind(change.expected.map(|expected| integer(expected.get())));
        for column in &table.columns {
            let value = change.before.and_then(|row| row.values.get(column.name));
            query = query.bind(text_written(value));
        }
        for link in &table.links {
            let members: Vec<&String> = members(change.before, link.name)
                .into_iter()
                .flatten()
                .collect();
            query = query.bind(serde_json::to_string(&members).unwrap_or_default());
        }
    }
    query.fetch_one(connection).await.map_err(read_failed)
}

/// Asks whether none of so many rows is different.
fn question(table: &StateTable, rows: usize) -> String {
    let (name, key) = (quoted(&table.name), quoted(table.key));
    let columns: Vec<String> = (0..table.columns.len())
        .map(|place| format!(", a{place}"))
        .collect();
    let links: Vec<String> = (0..table.links.len())
        .map(|place| format!(", l{place}"))
        .collect();
    let (columns, links) = (columns.concat(), links.concat());
    let row = ",?".repeat(table.columns.len() + table.links.len());
    let rows = vec![format!("(?,?,?,?{row})"); rows].join(",");
    let other_columns = table.columns.iter().enumerate().map(|(place, column)| {
        let column = quoted(column.name);
        format!(
            " or typeof(held.{column}) = 'blob' \
             or cast(held.{column} as text) is not given.a{place} collate binary"
        )
    });
    let other_links = table.links.iter().enumerate();
    let other_links = other_links.map(|(place, link)| other_members(link, &key, place));
    let other: String = other_columns.chain(other_links).collect();
    format!(
        "with given (type, id, is_there, track{columns}{links}) as (values {rows}) \
         select not exists (select 1 from given \
         left join {name} as held on held.{key} = given.id and cast(held.{key} as text) = given.id \
         left join aggregate_rows as kept on given.track is not null \
         and kept.aggregate_type = given.type and kept.aggregate_id = given.id \
         where (held.{key} is not null) <> given.is_there \
         or coalesce(kept.version, 0) <> coalesce(given.track, 0) \
         or (given.is_there and (0{other})))"
    )
}

/// That the members of a link table are not those given, each of them once.
fn other_members(link: &LinkTable, key: &str, place: usize) -> String {
    let (table, owner, member) = (quoted(link.name), quoted(link.owner), quoted(link.member));
    let text = format!("cast(link.{member} as text) collate binary");
    let held = format!("from {table} as link where link.{owner} = held.{key}");
    format!(
        " or json_array_length(given.l{place}) <> (select count(link.{member}) {held}) \
         or json_array_length(given.l{place}) <> (select count(distinct {text}) {held} \
         and typeof(link.{member}) <> 'blob' \
         and {text} in (select value from json_each(given.l{place})))"
    )
}

#[cfg(test)]
mod tests;
