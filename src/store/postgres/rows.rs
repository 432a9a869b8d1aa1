//! From rows to records, and the invariants that are asserted on the way.

use chrono::{DateTime, Utc};
use serde_json::value::RawValue;
use sqlx::{Decode, Postgres, Row as _, Type, postgres::PgRow};

use super::{errors::read_error, json_text};
use crate::{
    domain::{
        AggregateId, AggregateType, CorrelationId, CreatedBy, EventId, Fingerprint, Position,
        StreamId, Version,
    },
    store::{ReadError, RecordedEvent, StoredSnapshot},
};

pub(super) fn corrupt(what: impl Into<String>) -> ReadError {
    ReadError::Corrupt { what: what.into() }
}

/// The value of a column, by its place: names would be looked up in a map for each row.
pub(super) fn column<'r, T>(row: &'r PgRow, index: usize) -> Result<T, ReadError>
where
    T: Decode<'r, Postgres> + Type<Postgres>,
{
    row.try_get(index).map_err(read_error)
}

/// A number as it is stored; the database knows no unsigned ones.
pub(super) fn bigint(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

pub(super) fn number(row: &PgRow, index: usize) -> Result<u64, ReadError> {
    let number: i64 = column(row, index)?;
    u64::try_from(number).map_err(|_| corrupt(format!("the negative number {number}")))
}

/// A value kept as text that has a form of its own.
pub(super) fn parsed<T, E: std::fmt::Display>(
    row: &PgRow,
    index: usize,
    parse: impl FnOnce(&str) -> Result<T, E>,
) -> Result<T, ReadError> {
    let text: &str = column(row, index)?;
    // The error says what the form is, not what was found: that may be anything.
    parse(text).map_err(|error| corrupt(error.to_string()))
}

pub(super) fn json(row: &PgRow, index: usize) -> Result<Box<RawValue>, ReadError> {
    json_text::from_stored(column(row, index)?)
        .map_err(|_| corrupt("text that is no JSON, though its column says it is"))
}

/// The stream in the columns that `read_log.sql` adds.
pub(super) fn stream(row: &PgRow) -> Result<StreamId, ReadError> {
    Ok(StreamId {
        aggregate_type: parsed(row, 10, |text| AggregateType::parse(text.to_owned()))?,
        aggregate_id: parsed(row, 11, AggregateId::parse)?,
    })
}

/// A position, or zero for an event that another program has stored and nobody has numbered.
fn position(row: &PgRow, index: usize) -> Result<Position, ReadError> {
    let position: Option<i64> = column(row, index)?;
    let position = u64::try_from(position.unwrap_or(0));
    position
        .map(Position::new)
        .map_err(|_| corrupt("a negative position"))
}

/// An event from the columns that all reads of events have in common; see [`position`] for one
/// that is not numbered.
pub(super) fn event(row: &PgRow, stream: StreamId) -> Result<RecordedEvent, ReadError> {
    let id: EventId = parsed(row, 0, str::parse)?;
    let schema_version: i32 = column(row, 2)?;
    let causation_id: Option<&str> = column(row, 9)?;
    let created_by: Option<&str> = column(row, 7)?;
    Ok(RecordedEvent {
        id,
        stream,
        event_type: column(row, 1)?,
        schema_version: u32::try_from(schema_version)
            .map_err(|_| corrupt(format!("event {id} has a negative schema version")))?,
        data: json(row, 3)?,
        version: Version::new(number(row, 4)?),
        position: position(row, 5)?,
        occurred_at: column(row, 6)?,
        created_by: created_by
            .map(CreatedBy::parse)
            .transpose()
            .map_err(|error| corrupt(format!("event {id}: {error}")))?,
        correlation_id: parsed(row, 8, str::parse::<CorrelationId>)?,
        causation_id: causation_id
            .map(str::parse)
            .transpose()
            .map_err(|error| corrupt(format!("event {id}: {error}")))?,
    })
}

/// A snapshot from the columns of `recover.sql`.
pub(super) fn snapshot(row: &PgRow, stream: StreamId) -> Result<StoredSnapshot, ReadError> {
    let created_at: DateTime<Utc> = column(row, 11)?;
    let fingerprint: String = column(row, 1)?;
    Ok(StoredSnapshot {
        id: parsed(row, 0, str::parse::<EventId>)?.0,
        stream,
        version: Version::new(number(row, 4)?),
        position: Position::new(number(row, 5)?),
        occurred_at: column(row, 6)?,
        fingerprint: Fingerprint::from_stored(fingerprint),
        data: json(row, 3)?,
        created_at,
    })
}

/// Asserts that the events of a stream follow on a version, without a gap or a repeat.
pub(super) fn assert_versions(events: &[RecordedEvent], after: Version) -> Result<(), ReadError> {
    let mut expected = after;
    for event in events {
        expected = expected.next();
        if event.version != expected {
            let (stream, found) = (&event.stream, event.version);
            return Err(corrupt(format!(
                "{stream} has version {found} where {expected} belongs"
            )));
        }
    }
    Ok(())
}

/// Asserts that the events of the log follow on a position, without a gap or a repeat.
pub(super) fn assert_positions(events: &[RecordedEvent], after: Position) -> Result<(), ReadError> {
    let mut expected = after;
    for event in events {
        expected = expected.next();
        if event.position != expected {
            let found = event.position;
            return Err(corrupt(format!(
                "the log has position {found} where {expected} belongs"
            )));
        }
    }
    Ok(())
}
