//! Reading rows with what stands beside them: each read is one statement, so one view.

use std::{collections::BTreeMap, sync::Arc};

use sqlx::{
    AssertSqlSafe,
    postgres::{PgBindIterExt as _, PgRow},
};

use super::{catalog::quoted, shape::Shape, tracks::carried};
use crate::{
    domain::{AggregateId, AggregateType, Column, Row, RowValue, StateTable},
    store::{
        LoadedRow, ReadError, RowTrack,
        postgres::{
            errors::read_error,
            reads::Readers,
            rows::{column, corrupt, number},
        },
        row_text::{self, CarriedTrack, KeptTrack, TrackText},
    },
};

/// The columns of a track, in both of its places.
const TRACK: &str = "kept.version, kept.log_version, kept.marks, kept.agreed, kept.rowless, \
    carried.version, carried.row_marks";
/// A track that is kept.
const KEPT: &str = "select version, log_version, marks, agreed, rowless from aggregate_rows \
    where aggregate_id =";

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
         left join lateral ({KEPT} given.aggregate_id and aggregate_type = $3 limit 1) as kept \
         on true left join lateral ({}) as carried on true left join lateral (select {} from {} as held where held.{} = {} limit 1) as found \
         on true",
        carried("$3", "given.aggregate_id"),
        columns(table, shape),
        shape.table.name,
        quoted(table.key),
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
        loaded[place] = loaded_row(&row, table, shape)?.1;
    }
    Ok(loaded)
}

pub(super) async fn page(
    readers: &Readers,
    shape: &Shape,
    aggregate_type: &AggregateType,
    table: &StateTable,
    after: Option<&str>,
    limit: u32,
) -> Result<Vec<(String, LoadedRow)>, ReadError> {
    let key = quoted(table.key);
    let later = match after {
        Some(_) => format!(
            "where held.{key} > {}",
            shape.table.column(table.key).cast("$3")
        ),
        None => "where $3::text is null".to_owned(),
    };
    let text: Arc<str> = format!(
        "select 0::bigint, {TRACK}, found.* from (select {} from {} as held {later} order by held.{key} limit $2) as found \
         left join lateral ({KEPT} found.key and aggregate_type = $1 limit 1) as kept on true \
         left join lateral ({}) as carried on true",
        columns(table, shape),
        shape.table.name,
        carried("$1", "found.key"),
    )
    .into();
    let found = readers.rows(|| {
        // Safe: as in `load`.
        sqlx::query(AssertSqlSafe(Arc::clone(&text)))
            .bind(aggregate_type.as_str())
            .bind(i64::from(limit))
            .bind(after)
    });
    let found = found.await.map_err(read_error)?;
    let rows = found.iter().map(|row| {
        let (key, loaded) = loaded_row(row, table, shape)?;
        let key = key.ok_or_else(|| corrupt("a row without a key"))?;
        Ok((key, loaded))
    });
    rows.collect()
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

/// How many columns come before the key.
const BEFORE_KEY: usize = 8;

fn loaded_row(
    row: &PgRow,
    table: &StateTable,
    shape: &Shape,
) -> Result<(Option<String>, LoadedRow), ReadError> {
    let mut loaded = LoadedRow {
        track: track(row)?,
        ..LoadedRow::default()
    };
    let Some(key) = column::<Option<String>>(row, BEFORE_KEY)? else {
        return Ok((None, loaded));
    };
    let mut places = BEFORE_KEY + 1..;
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

fn track(row: &PgRow) -> Result<Option<RowTrack>, ReadError> {
    let kept = match column::<Option<i64>>(row, 1)? {
        None => None,
        Some(_) => Some(KeptTrack {
            version: number(row, 1)?,
            log_version: number(row, 2)?,
            marks: column(row, 3)?,
            agreed: column(row, 4)?,
            rowless: column(row, 5)?,
        }),
    };
    let carried = match column::<Option<String>>(row, 7)? {
        None => None,
        Some(marks) => Some(CarriedTrack {
            version: number(row, 6)?,
            marks,
        }),
    };
    TrackText { kept, carried }.read()
}
