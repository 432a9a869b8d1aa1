//! Reading rows with what stands beside them: each read is one statement, so one view.

use std::collections::{BTreeMap, BTreeSet};

use sqlx::{AssertSqlSafe, Row as _, SqliteConnection, sqlite::SqliteRow};

use super::{key::Key, quoted, read_failed, tracks};
use crate::{
    domain::{
        AggregateId, AggregateType, Column, LinkTable, Row, RowValue, StateTable, UnmappableRow,
    },
    store::{LoadedRow, ReadError, row_text, sqlite::corrupt},
};

/// Rows that are asked for.
pub(super) struct Wanted<'a> {
    table: &'a StateTable,
    streams: Vec<(&'a AggregateType, &'a AggregateId)>,
}

impl<'a> Wanted<'a> {
    pub(super) fn new(
        table: &'a StateTable,
        streams: impl Iterator<Item = (&'a AggregateType, &'a AggregateId)>,
    ) -> Self {
        Self {
            table,
            streams: streams.collect(),
        }
    }

    /// Pairs of a type and an id, as JSON.
    fn names(&self) -> String {
        let streams = self.streams.iter();
        let names = streams.map(|(aggregate_type, id)| [aggregate_type.as_str(), id.as_str()]);
        serde_json::to_string(&names.collect::<Vec<_>>()).unwrap_or_default()
    }

    /// The rows in the order in which they were asked for.
    pub(super) async fn load(
        self,
        connection: &mut SqliteConnection,
    ) -> Result<Vec<LoadedRow>, ReadError> {
        let table = self.table;
        let (name, key) = (quoted(&table.name), quoted(table.key));
        let text = format!(
            "select given.key, {}, {} from json_each(?) as given \
             left join {name} as held on held.{key} = given.value ->> 1 \
             and cast(held.{key} as text) = given.value ->> 1 \
             left join aggregate_rows as kept on kept.aggregate_type = given.value ->> 0 \
             and kept.aggregate_id = given.value ->> 1 \
             left join domain_events as carried on carried.position = {}",
            tracks::columns("given.value ->> 0", "given.value ->> 1"),
            columns(table),
            tracks::carried("given.value ->> 0", "given.value ->> 1"),
        );
        // Safe: names of the mapping between quotes; values are parameters.
        let found = sqlx::query(AssertSqlSafe(text))
            .bind(self.names())
            .fetch_all(&mut *connection)
            .await
            .map_err(read_failed)?;
        let mut loaded = vec![LoadedRow::default(); self.streams.len()];
        for row in &found {
            let place: i64 = row.try_get(0).map_err(read_failed)?;
            let place = usize::try_from(place).unwrap_or(usize::MAX);
            let (aggregate_type, id) = self.streams[place];
            let track = tracks::track_text(row)?;
            let track = tracks::whole_track(connection, (aggregate_type, id.as_str()), track);
            loaded[place] = LoadedRow {
                track: track.await?,
                ..loaded_row(row, table)?.1
            };
        }
        Ok(loaded)
    }
}

pub(super) async fn page(
    connection: &mut SqliteConnection,
    aggregate_type: Option<&AggregateType>,
    table: &StateTable,
    after: Option<&str>,
    limit: u32,
) -> Result<Vec<(String, LoadedRow)>, ReadError> {
    let after = after.map(Key::parse);
    let mut rows = without_key(connection, table, after.as_ref(), limit).await?;
    let limit = limit.saturating_sub(u32::try_from(rows.len()).unwrap_or(u32::MAX));
    if limit == 0 {
        return Ok(rows);
    }
    let (name, key) = (quoted(&table.name), quoted(table.key));
    let later = match &after {
        None | Some(Key::Null(_)) => format!("held.{key} is not null and ?3 is null"),
        Some(Key::Text(_) | Key::Blob(_)) => format!("held.{key} > ?3"),
        Some(Key::OddText(_)) => format!("held.{key} > cast(?3 as text)"),
    };
    let id = format!("cast(held.{key} as text)");
    let (track, joined) = match aggregate_type {
        Some(_) => (
            tracks::columns("?1", &id),
            format!(
                "left join aggregate_rows as kept on kept.aggregate_type = ?1 \
                 and kept.aggregate_id = {id} and typeof(held.{key}) <> 'blob' \
                 left join domain_events as carried on typeof(held.{key}) <> 'blob' \
                 and carried.position = {}",
                tracks::carried("?1", &id)
            ),
        ),
        None => (tracks::NONE.to_owned(), String::new()),
    };
    let text = format!(
        "select 0, {track}, {} from {name} as held {joined} \
         where {later} order by held.{key} limit ?2",
        columns(table),
    );
    // Safe: as in `load`.
    let page = sqlx::query(AssertSqlSafe(text))
        .bind(aggregate_type.map(AggregateType::as_str))
        .bind(i64::from(limit));
    let page = match after {
        None | Some(Key::Null(_)) => page.bind(None::<String>),
        Some(Key::Text(text)) => page.bind(text),
        Some(Key::Blob(bytes) | Key::OddText(bytes)) => page.bind(bytes),
    };
    let found = page
        .fetch_all(&mut *connection)
        .await
        .map_err(read_failed)?;
    for row in &found {
        let (key, mut loaded) = loaded_row(row, table)?;
        if let (Some(aggregate_type), Key::Text(id)) = (aggregate_type, &key) {
            let track = tracks::track_text(row)?;
            loaded.track = tracks::whole_track(connection, (aggregate_type, id), track).await?;
        }
        rows.push((key.to_text(), loaded));
    }
    Ok(rows)
}

/// Rows without a key, which come first. Nothing is read of them, so that they can only be counted.
async fn without_key(
    connection: &mut SqliteConnection,
    table: &StateTable,
    after: Option<&Key>,
    limit: u32,
) -> Result<Vec<(String, LoadedRow)>, ReadError> {
    let passed = match after {
        None => 0,
        Some(Key::Null(place)) => *place,
        Some(Key::Text(_) | Key::OddText(_) | Key::Blob(_)) => return Ok(Vec::new()),
    };
    let (name, key) = (quoted(&table.name), quoted(table.key));
    let text =
        format!("select count(*) from (select 1 from {name} where {key} is null limit ? offset ?)");
    // Safe: as in `load`.
    let count: i64 = sqlx::query_scalar(AssertSqlSafe(text))
        .bind(i64::from(limit))
        .bind(i64::try_from(passed).unwrap_or(i64::MAX))
        .fetch_one(connection)
        .await
        .map_err(read_failed)?;
    let rows = (0..count).zip(passed + 1..);
    let rows = rows.map(|(_, place)| (Key::Null(place).to_text(), LoadedRow::default()));
    Ok(rows.collect())
}

/// The key, then what is mapped, the stamps, the members of each link table, and which of the key
/// and the columns are blobs.
fn columns(table: &StateTable) -> String {
    let key = quoted(table.key);
    let mapped = table.columns.iter().chain(&table.stamps);
    let names = std::iter::once(table.key).chain(mapped.map(|column| column.name));
    let names: Vec<String> = names.map(quoted).collect();
    let values = names
        .iter()
        .map(|name| format!("cast(held.{name} as text)"));
    let links = table.links.iter().map(|link| {
        let (link, owner, member) = (quoted(link.name), quoted(link.owner), quoted(link.member));
        // A number is no member: all others are text by then.
        format!(
            "(select json_group_array(case typeof(link.{member}) when 'blob' then 0 \
             else cast(link.{member} as text) end) from {link} as link \
             where link.{owner} = held.{key})"
        )
    });
    let blobs = names
        .iter()
        .map(|name| format!("(typeof(held.{name}) = 'blob')"));
    let blobs = format!("'' || {}", blobs.collect::<Vec<_>>().join(" || "));
    let all = values.chain(links).chain([blobs]);
    all.collect::<Vec<_>>().join(", ")
}

pub(super) fn text(row: &SqliteRow, place: usize) -> Result<Option<String>, ReadError> {
    row.try_get(place).map_err(read_failed)
}

/// The columns of a row, one after another. SQLite's columns hold what they are given; what is no
/// text, and reads as none, must not keep the rows beside it from being read.
struct Columns<'r> {
    row: &'r SqliteRow,
    place: usize,
    /// Which of the key and the columns are blobs, as `0` and `1`.
    blobs: String,
    unreadable: Option<UnmappableRow>,
}

/// A value that may be none.
enum Cell {
    Text(String),
    OddText(Vec<u8>),
    Blob(Vec<u8>),
}

impl Columns<'_> {
    fn next(&mut self) -> Result<Option<Cell>, ReadError> {
        let place = self.place;
        self.place += 1;
        let bytes: Option<Vec<u8>> = self.row.try_get(place).map_err(read_failed)?;
        let is_blob = self.blobs.as_bytes().get(place - tracks::COLUMNS) == Some(&b'1');
        Ok(bytes.map(|bytes| match String::from_utf8(bytes) {
            Ok(text) if is_blob => Cell::Blob(text.into_bytes()),
            Ok(text) => Cell::Text(text),
            Err(error) if is_blob => Cell::Blob(error.into_bytes()),
            Err(error) => Cell::OddText(error.into_bytes()),
        }))
    }

    fn unreadable(&mut self, column: &'static str, problem: &'static str) {
        self.unreadable.get_or_insert_with(|| UnmappableRow {
            column,
            problem: problem.into(),
        });
    }

    /// The next column of the state.
    fn value(&mut self, column: &Column) -> Result<RowValue, ReadError> {
        let cell = self.next()?;
        let problem = match &cell {
            None | Some(Cell::Text(_)) => None,
            Some(Cell::OddText(_)) => Some("is text that is not in UTF-8"),
            Some(Cell::Blob(_)) => Some("is a blob"),
        };
        if let Some(problem) = problem {
            self.unreadable(column.name, problem);
        }
        Ok(row_text::value(column.kind, cell.map(Cell::into_text)))
    }

    /// The members of the next link table. One that is null is none.
    fn members(&mut self, link: &LinkTable) -> Result<BTreeSet<String>, ReadError> {
        let list = match self.next()? {
            None => return Ok(BTreeSet::new()),
            Some(Cell::Text(list)) => list,
            Some(odd @ (Cell::OddText(_) | Cell::Blob(_))) => {
                self.unreadable(link.name, "has a member that is not in UTF-8");
                // As a member: it must not be the set that a commit was decided on.
                return Ok(BTreeSet::from([odd.into_text()]));
            }
        };
        let found: Vec<serde_json::Value> = serde_json::from_str(&list)
            .map_err(|_| corrupt("members of a link table that are no list"))?;
        let mut members = BTreeSet::new();
        for member in found {
            match member.as_str() {
                Some(text) => {
                    members.insert(text.to_owned());
                }
                None if member.is_null() => {}
                None => {
                    self.unreadable(link.name, "has a member that is a blob");
                    members.insert("x''".to_owned());
                }
            }
        }
        Ok(members)
    }
}

impl Cell {
    /// As SQL would write it, where it is no text.
    fn into_text(self) -> String {
        match self {
            Self::Text(text) => text,
            Self::OddText(bytes) | Self::Blob(bytes) => format!("x'{}'", hex::encode_upper(bytes)),
        }
    }
}

/// A row without its track.
fn loaded_row(row: &SqliteRow, table: &StateTable) -> Result<(Key, LoadedRow), ReadError> {
    let mut loaded = LoadedRow::default();
    let flags = tracks::COLUMNS + 1 + table.columns.len() + table.stamps.len() + table.links.len();
    let mut columns = Columns {
        row,
        place: tracks::COLUMNS,
        blobs: text(row, flags)?.unwrap_or_default(),
        unreadable: None,
    };
    let key = match columns.next()? {
        // Such rows are not asked for.
        None => return Ok((Key::Null(1), loaded)),
        Some(Cell::Text(text)) => Key::Text(text),
        Some(Cell::OddText(bytes)) => Key::OddText(bytes),
        Some(Cell::Blob(bytes)) => Key::Blob(bytes),
    };
    let mut values = BTreeMap::new();
    for column in &table.columns {
        values.insert(column.name, columns.value(column)?);
    }
    for stamp in &table.stamps {
        // It is no part of the state: what cannot be read tells nothing.
        let text = columns.next()?.map(Cell::into_text);
        loaded
            .stamps
            .push((stamp.name, row_text::value(stamp.kind, text)));
    }
    let mut links = BTreeMap::new();
    for link in &table.links {
        links.insert(link.name, columns.members(link)?);
    }
    loaded.row = Some(Row { values, links });
    loaded.unreadable = columns.unreadable;
    Ok((key, loaded))
}
