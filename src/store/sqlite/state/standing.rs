//! Whether rows are still what their changes were decided on.
//!
//! A row that comes from SQLite costs two switches between threads and a copy of each column, so
//! SQLite is asked whether they are the same as text, and mostly says so: in the update itself
//! ([`differs`]), or before it. What differs as text may be the same: `true` and `1`, or a time with
//! and without its zeros.

use sqlx::{AssertSqlSafe, Row as _, SqliteConnection};

use super::{
    by_table, quoted,
    read::Wanted,
    read_failed,
    tracks::IS_ELSEWHERE,
    write::{Statement, text_written},
};
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
pub(super) async fn are_as_decided<'c>(
    connection: &mut SqliteConnection,
    changes: impl IntoIterator<Item = &'c NetChange<'c>>,
) -> Result<bool, ReadError> {
    for group in by_table(changes, |change| &*change.table.name) {
        if !are_same_texts(connection, &group).await? && !are_same(connection, &group).await? {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Whether texts say all of what a row has to be: SQLite's JSON ends a text where it has a NUL.
pub(super) fn is_all_text(change: &NetChange<'_>) -> bool {
    let mut links = change.table.links.iter();
    links.all(|link| {
        let members = members(change.before, link.name).into_iter().flatten();
        members.into_iter().all(|member| !member.contains('\0'))
    })
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
    if !group.iter().all(|change| is_all_text(change)) {
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
    let mut query = sqlx::query(AssertSqlSafe(question(table, chunk.len())));
    for change in chunk {
        query = query
            .bind(change.stream.aggregate_type.as_str().to_owned())
            .bind(change.stream.aggregate_id.as_str().to_owned())
            .bind(change.before.is_some())
            .bind(change.expected.map(|expected| integer(expected.get())))
            .bind(integer(change.track.log_version.get()));
        query = bound_before(query, change);
    }
    let answer = query.fetch_one(connection).await.map_err(read_failed)?;
    answer.try_get(0).map_err(read_failed)
}

/// Asks whether none of so many rows is different.
fn question(table: &StateTable, rows: usize) -> String {
    let (name, key) = (quoted(&table.name), quoted(table.key));
    let names = ["type", "id", "is_there", "track", "known"].map(str::to_owned);
    let names: Vec<String> = names.into_iter().chain(before_names(table)).collect();
    let row = format!("({})", vec!["?"; names.len()].join(","));
    let rows = vec![row; rows].join(",");
    let names = names.join(", ");
    let differs = differs(table);
    format!(
        "with given ({names}) as (values {rows}) \
         select not exists (select 1 from given \
         left join {name} as held on held.{key} = given.id and cast(held.{key} as text) = given.id \
         left join aggregate_rows as kept on given.track is not null \
         and kept.aggregate_type = given.type and kept.aggregate_id = given.id \
         where (held.{key} is not null) <> given.is_there \
         or (given.track is not null and {IS_ELSEWHERE}) \
         or (given.is_there and {differs}))"
    )
}

/// What a row is given as that it has to be: its columns and its links, by these names in `given`.
pub(super) fn before_names(table: &StateTable) -> impl Iterator<Item = String> {
    let columns = (0..table.columns.len()).map(|place| format!("b{place}"));
    let links = (0..table.links.len()).map(|place| format!("l{place}"));
    columns.chain(links)
}

/// Binds what a row has to be, in the order of [`before_names`].
pub(super) fn bound_before<'q>(
    mut statement: Statement<'q>,
    change: &NetChange<'_>,
) -> Statement<'q> {
    for column in &change.table.columns {
        let value = change.before.and_then(|row| row.values.get(column.name));
        statement = statement.bind(text_written(value));
    }
    for link in &change.table.links {
        let members = members(change.before, link.name);
        let members: Vec<&String> = members.into_iter().flatten().collect();
        statement = statement.bind(serde_json::to_string(&members).unwrap_or_default());
    }
    statement
}

/// That the row `held` is not, as text, what is `given`.
pub(super) fn differs(table: &StateTable) -> String {
    let key = quoted(table.key);
    let columns = table.columns.iter().enumerate().map(|(place, column)| {
        let column = quoted(column.name);
        format!(
            " or typeof(held.{column}) = 'blob' \
             or cast(held.{column} as text) is not given.b{place} collate binary"
        )
    });
    let links = table.links.iter().enumerate();
    let links = links.map(|(place, link)| other_members(link, &key, place));
    format!("(0{})", columns.chain(links).collect::<String>())
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
