//! Events that other programs insert without a position: found, judged and numbered.
//!
//! They are numbered behind the lock of the head like any append, so positions stay gapless and
//! in the order of commits; and by the order of their versions, so that none comes before the one
//! it follows. What is malformed, or follows a version that is missing, is left without a position
//! and told: it holds up its own aggregate and nothing else.

use sqlx::{
    Row as _,
    postgres::{PgBindIterExt as _, PgConnection, PgRow},
};

use super::{
    errors::read_error,
    rows::{self, corrupt, number},
};
use crate::{
    domain::{Position, StreamId},
    store::{Numbering, ReadError, RecordedEvent, RefusedEvent},
};

const NUMBER: &str = include_str!("sql/number.sql");
const UNNUMBERED: &str = include_str!("sql/unnumbered.sql");
const ANY: &str = "select exists (select from domain_events where position is null)";

/// Where a look begins: behind this type, id and version.
#[derive(Debug, Clone, Default)]
pub(super) struct After {
    aggregate_type: String,
    aggregate_id: String,
    version: i64,
}

impl After {
    /// Before the first event of a stream.
    pub(super) fn before(stream: &StreamId) -> Self {
        Self {
            aggregate_type: stream.aggregate_type.to_string(),
            aggregate_id: stream.aggregate_id.to_string(),
            version: 0,
        }
    }
}

/// A page of what was not numbered.
#[derive(Debug, Default)]
pub(super) struct Page {
    pub(super) numbering: Numbering,
    /// The events that have a position now, by position; only where their data was asked for.
    pub(super) events: Vec<RecordedEvent>,
    /// Where the next look begins, where there are more.
    pub(super) next: Option<After>,
}

/// Whether there is anything to number.
pub(super) async fn any(connection: &mut PgConnection) -> Result<bool, sqlx::Error> {
    sqlx::query(ANY).fetch_one(connection).await?.try_get(0)
}

/// Those of the streams that have events without a position.
pub(super) async fn unnumbered<'a>(
    connection: &mut PgConnection,
    streams: &[&'a StreamId],
) -> Result<Vec<&'a StreamId>, ReadError> {
    let found = sqlx::query(UNNUMBERED)
        .bind(
            streams
                .iter()
                .map(|stream| stream.aggregate_type.as_str())
                .bind_iter(),
        )
        .bind(
            streams
                .iter()
                .map(|stream| stream.aggregate_id.as_str())
                .bind_iter(),
        )
        .fetch_all(connection)
        .await
        .map_err(read_error)?;
    let places = found.iter().map(|row| number(row, 0));
    let places = places.map(|place| {
        let place = usize::try_from(place?).unwrap_or(usize::MAX);
        let stream = streams.get(place.wrapping_sub(1)).copied();
        stream.ok_or_else(|| corrupt("a stream that was not asked for"))
    });
    places.collect()
}

/// Numbers a page in the transaction that is open, which holds the lock of the head.
pub(super) async fn page(
    connection: &mut PgConnection,
    after: &After,
    limit: u32,
    with_data: bool,
) -> Result<Page, sqlx::Error> {
    let found = sqlx::query(NUMBER)
        .bind(&after.aggregate_type)
        .bind(&after.aggregate_id)
        .bind(after.version)
        .bind(i64::from(limit))
        .bind(with_data)
        .fetch_all(connection)
        .await?;
    let mut page = Page::default();
    for row in &found {
        let position: Option<i64> = row.try_get(5)?;
        let Some(position) = position else {
            page.numbering.refused.push(refused(row)?);
            continue;
        };
        page.numbering.numbered += 1;
        let position = Position::new(position.cast_unsigned());
        page.numbering.last = page.numbering.last.max(Some(position));
        if with_data {
            page.events.push(event(row)?);
        }
    }
    page.events.sort_by_key(|event| event.position);
    if found.len() >= limit as usize {
        page.next = found.last().map(key).transpose()?;
        page.numbering.more = page.next.is_some();
    }
    Ok(page)
}

fn refused(row: &PgRow) -> Result<RefusedEvent, sqlx::Error> {
    Ok(RefusedEvent {
        id: row.try_get(0)?,
        aggregate: (row.try_get(10)?, row.try_get(11)?),
        version: row.try_get(4)?,
        obstacle: row.try_get(12)?,
    })
}

fn key(row: &PgRow) -> Result<After, sqlx::Error> {
    Ok(After {
        aggregate_type: row.try_get(10)?,
        aggregate_id: row.try_get(11)?,
        version: row.try_get(4)?,
    })
}

/// The columns are those of `read_log.sql`. What was judged sound can be read.
fn event(row: &PgRow) -> Result<RecordedEvent, sqlx::Error> {
    let read = rows::stream(row).and_then(|stream| rows::event(row, stream));
    read.map_err(|error| sqlx::Error::Decode(error.into()))
}
