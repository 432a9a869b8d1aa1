//! Reading rows with what stands beside them: each read is one statement, so one view.

use std::{collections::BTreeMap, sync::Arc};

use sqlx::{
    AssertSqlSafe,
    postgres::{PgBindIterExt as _, PgRow},
};

use super::{
    catalog::quoted,
    read_tracks::{self, COLUMNS, NO_TRACK, TRACK},
    shape::Shape,
};
use crate::{
    domain::{AggregateId, AggregateType, Column, Row, RowValue, StateTable},
    store::{
        LoadedRow, ReadError,
        postgres::{
            errors::read_error,
            reads::Readers,
            rows::{column, corrupt, number},
        },
        row_text,
    },
};

pub(super) async fn load(
    readers: &Readers,
    shape: &Shape,
    aggregate_type: &AggregateType,
    table: &StateTable,
    ids: &[AggregateId],
) -> Result<Vec<LoadedRow>, ReadError> {
    let key_shape = shape.table.column(table.key);
    let text: Arc<str> = format!(
        "select given.place, {TRACK}, found.* from unnest($1::text[], $2::text[]) with ordinality \
         as given (aggregate_id, id, place) \
         {} left join lateral (select {} from {} as held where {} = {} limit 1) as found on true",
        read_tracks::joined("$3", "given.aggregate_id"),
        columns(table, shape),
        shape.table.name,
        format_args!("held.{}", quoted(table.key)),
        key_shape.cast("given.id"),
    )
    .into();
    let found = readers.rows(|| {
        // Safe: names of the mapping and the catalog between quotes; values are parameters.
        sqlx::query(AssertSqlSafe(Arc::clone(&text)))
            .bind(ids.iter().map(AggregateId::as_str).bind_iter())
            .bind(ids.iter().map(|id| key_shape.key(id.as_str())).bind_iter())
            .bind(aggregate_type.as_str())
    });
    let mut loaded = vec![LoadedRow::default(); ids.len()];
    for row in found.await.map_err(read_error)? {
        let place = usize::try_from(number(&row, 0)?).unwrap_or(usize::MAX) - 1;
        let track = read_tracks::track_text(&row)?;
        let stream = (aggregate_type, ids[place].as_str());
        loaded[place] = LoadedRow {
            track: read_tracks::whole_track(readers, stream, track).await?,
            ..loaded_row(&row, table, shape)?.1
        };
    }
    Ok(loaded)
}

pub(super) async fn page(
    readers: &Readers,
    shape: &Shape,
    aggregate_type: Option<&AggregateType>,
    table: &StateTable,
    after: Option<&str>,
    limit: u32,
) -> Result<Vec<(String, LoadedRow)>, ReadError> {
    let key = quoted(table.key);
    let later = match after {
        Some(_) => format!(
            "where held.{key} > {}",
            shape.table.column(table.key).cast("$2")
        ),
        None => "where $2::text is null".to_owned(),
    };
    let (track, joined) = match aggregate_type {
        Some(_) => (TRACK, read_tracks::joined("$3", "found.key")),
        None => (NO_TRACK, String::new()),
    };
    let text: Arc<str> = format!(
        "select 0::bigint, {track}, found.* from \
         (select {} from {} as held {later} order by held.{key} limit $1) as found {joined}",
        columns(table, shape),
        shape.table.name,
    )
    .into();
    let found = readers.rows(|| {
        // Safe: as in `load`.
        let page = sqlx::query(AssertSqlSafe(Arc::clone(&text)))
            .bind(i64::from(limit))
            .bind(after);
        match aggregate_type {
            Some(aggregate_type) => page.bind(aggregate_type.as_str()),
            None => page,
        }
    });
    let found = found.await.map_err(read_error)?;
    let mut rows = Vec::with_capacity(found.len());
    for row in &found {
        let (key, mut loaded) = loaded_row(row, table, shape)?;
        let key = key.ok_or_else(|| corrupt("a row without a key"))?;
        if let Some(aggregate_type) = aggregate_type {
            let track = read_tracks::track_text(row)?;
            loaded.track = read_tracks::whole_track(readers, (aggregate_type, &key), track).await?;
        }
        rows.push((key, loaded));
    }
    Ok(rows)
}

/// The key, then what is mapped, the stamps, and the members of each link table.
fn columns(table: &StateTable, shape: &Shape) -> String {
    let read = |column: &Column| shape.table.column(column.name).read("held", column);
    let values = table.columns.iter().chain(&table.stamps).map(read);
    let links = table.links.iter().map(|link| {
        let links = &shape.links[link.name];
        format!(
            "array(select link.{}::text from {} as link where link.{} = held.{})",
            quoted(link.member),
            links.name,
            quoted(link.owner),
            quoted(table.key),
        )
    });
    let all = std::iter::once(format!("held.{}::text as key", quoted(table.key)));
    let all = all.chain(values.chain(links).enumerate().map(|(index, value)| {
        // Each has a name, since two of one name are none.
        format!("{value} as v{index}")
    }));
    all.collect::<Vec<_>>().join(", ")
}

/// A row without its track.
fn loaded_row(
    row: &PgRow,
    table: &StateTable,
    shape: &Shape,
) -> Result<(Option<String>, LoadedRow), ReadError> {
    let mut loaded = LoadedRow::default();
    let Some(key) = column::<Option<String>>(row, COLUMNS)? else {
        return Ok((None, loaded));
    };
    let mut places = COLUMNS + 1..;
    let mut next = || places.next().unwrap_or_default();
    let mut values = BTreeMap::new();
    for column in &table.columns {
        values.insert(column.name, value(row, next(), column, shape)?);
    }
    for stamp in &table.stamps {
        let value = value(row, next(), stamp, shape)?;
        loaded.stamps.push((stamp.name, value));
    }
    let mut links = BTreeMap::new();
    for link in &table.links {
        let members: Vec<Option<String>> = column(row, next())?;
        links.insert(link.name, members.into_iter().flatten().collect());
    }
    loaded.row = Some(Row { values, links });
    Ok((Some(key), loaded))
}

fn value(row: &PgRow, place: usize, of: &Column, shape: &Shape) -> Result<RowValue, ReadError> {
    let text: Option<String> = column(row, place)?;
    if !shape.table.column(of.name).is_time_of(of) {
        return Ok(row_text::value(of.kind, text));
    }
    let Some(text) = text else {
        return Ok(RowValue::Null);
    };
    let micros: Option<i64> = text.parse().ok();
    let time = micros.and_then(chrono::DateTime::from_timestamp_micros);
    Ok(time.map_or(RowValue::Text(text), RowValue::Time))
}
