//! Reading rows with what stands beside them: each read is one statement, so one view.

use std::collections::{BTreeMap, BTreeSet};

use sqlx::{AssertSqlSafe, Row as _, SqliteConnection, sqlite::SqliteRow};

use super::{quoted, read_failed};
use crate::{
    domain::{AggregateId, AggregateType, Row, StateTable},
    store::{
        LoadedRow, ReadError, RowTrack,
        row_text::{self, TrackText},
        sqlite::{corrupt, rows::natural},
    },
};

/// The columns of a track.
const TRACK: &str = "kept.version, kept.log_version, kept.marks, kept.agreed, kept.rowless";
/// How many columns come before the key.
const BEFORE_KEY: usize = 6;

/// Rows that are asked for.
pub(super) struct Wanted<'a> {
    table: &'a StateTable,
    /// Pairs of a type and an id, as JSON.
    streams: String,
    count: usize,
}

impl<'a> Wanted<'a> {
    pub(super) fn new<'s>(
        table: &'a StateTable,
        streams: impl Iterator<Item = (&'s AggregateType, &'s AggregateId)>,
    ) -> Self {
        let streams: Vec<[&str; 2]> = streams
            .map(|(aggregate_type, id)| [aggregate_type.as_str(), id.as_str()])
            .collect();
        Self {
            table,
            count: streams.len(),
            streams: serde_json::to_string(&streams).unwrap_or_default(),
        }
    }

    /// The rows in the order in which they were asked for.
    pub(super) async fn load(
        self,
        connection: &mut SqliteConnection,
    ) -> Result<Vec<LoadedRow>, ReadError> {
        let table = self.table;
        let (name, key) = (quoted(&table.name), quoted(table.key));
        let text = format!(
            "select given.key, {TRACK}, {} from json_each(?) as given \
             left join {name} as held on held.{key} = given.value ->> 1 \
             and cast(held.{key} as text) = given.value ->> 1 \
             left join aggregate_rows as kept on kept.aggregate_type = given.value ->> 0 \
             and kept.aggregate_id = given.value ->> 1",
            columns(table),
        );
        // Safe: names of the mapping between quotes; values are parameters.
        let found = sqlx::query(AssertSqlSafe(text))
            .bind(self.streams)
            .fetch_all(connection)
            .await
            .map_err(read_failed)?;
        let mut loaded = vec![LoadedRow::default(); self.count];
        for row in &found {
            let place: i64 = row.try_get(0).map_err(read_failed)?;
            let place = usize::try_from(place).unwrap_or(usize::MAX);
            loaded[place] = loaded_row(row, table)?.1;
        }
        Ok(loaded)
    }
}

pub(super) async fn page(
    connection: &mut SqliteConnection,
    aggregate_type: &AggregateType,
    table: &StateTable,
    after: Option<&str>,
    limit: u32,
) -> Result<Vec<(String, LoadedRow)>, ReadError> {
    let (name, key) = (quoted(&table.name), quoted(table.key));
    let later = match after {
        Some(_) => format!("held.{key} > ?3"),
        None => "?3 is null".to_owned(),
    };
    let text = format!(
        "select 0, {TRACK}, {} from {name} as held \
         left join aggregate_rows as kept on kept.aggregate_type = ?1 \
         and kept.aggregate_id = cast(held.{key} as text) \
         where {later} order by held.{key} limit ?2",
        columns(table),
    );
    // Safe: as in `load`.
    let found = sqlx::query(AssertSqlSafe(text))
        .bind(aggregate_type.as_str())
        .bind(i64::from(limit))
        .bind(after)
        .fetch_all(connection)
        .await
        .map_err(read_failed)?;
    let rows = found.iter().map(|row| {
        let (key, loaded) = loaded_row(row, table)?;
        let key = key.ok_or_else(|| corrupt("a row without a key"))?;
        Ok((key, loaded))
    });
    rows.collect()
}

/// The key, then what is mapped, the stamps, and the members of each link table.
fn columns(table: &StateTable) -> String {
    let key = quoted(table.key);
    let mapped = table.columns.iter().chain(&table.stamps);
    let names = std::iter::once(table.key).chain(mapped.map(|column| column.name));
    let values = names.map(|name| format!("cast(held.{} as text)", quoted(name)));
    let links = table.links.iter().map(|link| {
        let (link, owner, member) = (quoted(link.name), quoted(link.owner), quoted(link.member));
        format!(
            "(select json_group_array(cast(link.{member} as text)) from {link} as link \
             where link.{owner} = held.{key})"
        )
    });
    values.chain(links).collect::<Vec<_>>().join(", ")
}

fn text(row: &SqliteRow, place: usize) -> Result<Option<String>, ReadError> {
    row.try_get(place).map_err(read_failed)
}

fn loaded_row(
    row: &SqliteRow,
    table: &StateTable,
) -> Result<(Option<String>, LoadedRow), ReadError> {
    let mut loaded = LoadedRow {
        track: track(row)?,
        ..LoadedRow::default()
    };
    let Some(key) = text(row, BEFORE_KEY)? else {
        return Ok((None, loaded));
    };
    let mut places = BEFORE_KEY + 1..;
    let mut next = || text(row, places.next().unwrap_or_default());
    let mut values = BTreeMap::new();
    for column in &table.columns {
        values.insert(column.name, row_text::value(column.kind, next()?));
    }
    for stamp in &table.stamps {
        let value = row_text::value(stamp.kind, next()?);
        loaded.stamps.push((stamp.name, value));
    }
    let mut links = BTreeMap::new();
    for link in &table.links {
        let members: Option<BTreeSet<Option<String>>> = next()?
            .map(|json| serde_json::from_str(&json))
            .transpose()
            .map_err(|_| corrupt("members of a link table that are no list"))?;
        let members = members.into_iter().flatten().flatten();
        links.insert(link.name, members.collect());
    }
    loaded.row = Some(Row { values, links });
    Ok((Some(key), loaded))
}

fn track(row: &SqliteRow) -> Result<Option<RowTrack>, ReadError> {
    let number = |place: usize| row.try_get::<Option<i64>, _>(place).map_err(read_failed);
    let (Some(version), Some(log_version)) = (number(1)?, number(2)?) else {
        return Ok(None);
    };
    let track = TrackText {
        version: natural(version, "a track's version")?,
        log_version: natural(log_version, "a track's version of the log")?,
        marks: text(row, 3)?,
        agreed: text(row, 4)?,
        rowless: text(row, 5)?,
    };
    track.read().map(Some)
}
