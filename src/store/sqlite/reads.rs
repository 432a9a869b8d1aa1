//! Reading streams, the log, receipts and claims.

use std::fmt::Display;

use chrono::{DateTime, Utc};
use serde_json::value::RawValue;
use sqlx::{Row as _, SqliteConnection, sqlite::SqliteRow};
use ulid::Ulid;

use super::{
    corrupt,
    errors::read_error,
    rows::{integer, natural},
};
use crate::{
    domain::{
        AggregateId, AggregateType, CausationId, Claim, CorrelationId, CreatedBy, EventId,
        IdempotencyKey, Position, StreamId, Version,
    },
    store::{AggregateHead, ReadError, Receipt, RecordedEvent},
};

/// The columns that [`recorded_event`] reads, in its order.
macro_rules! event_columns {
    () => {
        "e.aggregate_type, e.aggregate_id, e.version, e.position, e.id, e.event_type, \
         e.schema_version, e.occurred_at, e.created_by, e.correlation_id, e.causation_id, \
         e.event_data"
    };
}
pub(super) use event_columns;

pub(super) async fn events(
    connection: &mut SqliteConnection,
    stream: &StreamId,
    from: Version,
    limit: u32,
) -> Result<Vec<RecordedEvent>, ReadError> {
    let sql = concat!(
        "select ",
        event_columns!(),
        " from domain_events e where e.aggregate_type = ? and e.aggregate_id = ? \
         and e.version >= ? order by e.version limit ?"
    );
    let rows = sqlx::query(sql)
        .bind(stream.aggregate_type.as_str())
        .bind(stream.aggregate_id.as_str())
        .bind(integer(from.get()))
        .bind(i64::from(limit))
        .fetch_all(connection)
        .await
        .map_err(read_error)?;
    let events: Result<Vec<_>, _> = rows
        .iter()
        .map(|row| recorded_event(row, 0, Some(stream)))
        .collect();
    let events = events?;
    check_versions(&events, from.max(Version::new(1)))?;
    Ok(events)
}

pub(super) async fn current_version(
    connection: &mut SqliteConnection,
    stream: &StreamId,
) -> Result<Version, ReadError> {
    let sql = "select coalesce(max(version), 0) from domain_events \
        where aggregate_type = ? and aggregate_id = ?";
    let version: i64 = sqlx::query_scalar(sql)
        .bind(stream.aggregate_type.as_str())
        .bind(stream.aggregate_id.as_str())
        .fetch_one(connection)
        .await
        .map_err(read_error)?;
    Ok(Version::new(natural(version, "a version")?))
}

pub(super) async fn read_log(
    connection: &mut SqliteConnection,
    after: Position,
    limit: u32,
) -> Result<Vec<RecordedEvent>, ReadError> {
    let sql = concat!(
        "select ",
        event_columns!(),
        " from domain_events e where e.position > ? order by e.position limit ?"
    );
    let rows = sqlx::query(sql)
        .bind(integer(after.get()))
        .bind(i64::from(limit))
        .fetch_all(connection)
        .await
        .map_err(read_error)?;
    let mut events = Vec::with_capacity(rows.len());
    let mut position = after;
    for row in &rows {
        let event = recorded_event(row, 0, None)?;
        position = position.next();
        if event.position != position {
            return Err(corrupt(format_args!(
                "the log has no event at position {position}, and one at {}",
                event.position
            )));
        }
        events.push(event);
    }
    Ok(events)
}

pub(super) async fn event(
    connection: &mut SqliteConnection,
    id: EventId,
) -> Result<Option<RecordedEvent>, ReadError> {
    let sql = concat!(
        "select ",
        event_columns!(),
        " from domain_events e where e.id = ?"
    );
    let row = sqlx::query(sql)
        .bind(id.to_string())
        .fetch_optional(connection)
        .await
        .map_err(read_error)?;
    row.map(|row| recorded_event(&row, 0, None)).transpose()
}

/// Each id is found from the one before it by one look into the index of streams, however many
/// events lie between.
const AGGREGATES: &str = "with recursive ids (id) as ( \
     select (select min(aggregate_id) from domain_events \
     where aggregate_type = ?1 and aggregate_id > ?2) \
     union all \
     select (select min(aggregate_id) from domain_events \
     where aggregate_type = ?1 and aggregate_id > ids.id) from ids where ids.id is not null \
     limit ?3) \
     select e.aggregate_id, e.version, e.occurred_at from ids cross join domain_events e \
     on e.aggregate_type = ?1 and e.aggregate_id = ids.id \
     and e.version = (select max(version) from domain_events \
     where aggregate_type = ?1 and aggregate_id = ids.id)";

/// By their first events, which the key of streams finds.
const COUNT_AGGREGATES: &str =
    "select count(*) from domain_events where aggregate_type = ?1 and version = 1";

pub(super) async fn count_aggregates(
    connection: &mut SqliteConnection,
    aggregate_type: &AggregateType,
) -> Result<u64, ReadError> {
    let counted: i64 = sqlx::query_scalar(COUNT_AGGREGATES)
        .bind(aggregate_type.as_str())
        .fetch_one(connection)
        .await
        .map_err(read_error)?;
    Ok(u64::try_from(counted).unwrap_or(0))
}

pub(super) async fn aggregates(
    connection: &mut SqliteConnection,
    aggregate_type: &AggregateType,
    after: Option<&AggregateId>,
    limit: u32,
) -> Result<Vec<AggregateHead>, ReadError> {
    let rows: Vec<(String, i64, i64)> = sqlx::query_as(AGGREGATES)
        .bind(aggregate_type.as_str())
        .bind(after.map_or("", AggregateId::as_str))
        .bind(i64::from(limit))
        .fetch_all(connection)
        .await
        .map_err(read_error)?;
    let heads = rows.into_iter().map(|(id, version, occurred_at)| {
        Ok(AggregateHead {
            aggregate_id: text(&id, AggregateId::parse)?,
            version: Version::new(natural(version, "a version")?),
            updated_at: instant(occurred_at)?,
        })
    });
    let mut heads = heads.collect::<Result<Vec<_>, ReadError>>()?;
    // They come in order, but nothing says so.
    heads.sort_by(|one, next| one.aggregate_id.cmp(&next.aggregate_id));
    Ok(heads)
}

/// Zero where the log is empty; one look at the end of the table.
pub(super) const LAST_POSITION: &str = "select coalesce(max(position), 0) from domain_events";

pub(super) async fn last_position(
    connection: &mut SqliteConnection,
) -> Result<Position, ReadError> {
    let position: i64 = sqlx::query_scalar(LAST_POSITION)
        .fetch_one(connection)
        .await
        .map_err(read_error)?;
    Ok(Position::new(natural(position, "the last position")?))
}

/// A receipt's columns after an index that only a look-up of many needs.
pub(super) type ReceiptRow = (i64, String, Vec<u8>, i64, i64, Option<String>, String);

pub(super) async fn receipt(
    connection: &mut SqliteConnection,
    stream: &StreamId,
    key: &IdempotencyKey,
) -> Result<Option<Receipt>, ReadError> {
    let sql = "select 0, id, command_hash, first_version, event_count, reply, correlation_id \
        from command_receipts \
        where aggregate_type = ? and aggregate_id = ? and idempotency_key = ?";
    let row: Option<ReceiptRow> = sqlx::query_as(sql)
        .bind(stream.aggregate_type.as_str())
        .bind(stream.aggregate_id.as_str())
        .bind(key.as_str())
        .fetch_optional(connection)
        .await
        .map_err(read_error)?;
    row.map(receipt_of).transpose()
}

pub(super) fn receipt_of(row: ReceiptRow) -> Result<Receipt, ReadError> {
    let (_, id, hash, first_version, event_count, reply, correlation_id) = row;
    Ok(Receipt {
        id: text(&id, Ulid::from_string)?,
        command_hash: hash
            .try_into()
            .map_err(|_| corrupt(format_args!("receipt {id} has no hash of 32 bytes")))?,
        first_version: Version::new(natural(first_version, "a first version")?),
        event_count: u32::try_from(event_count).map_err(corrupt)?,
        reply: reply.map(json).transpose()?,
        correlation_id: text(&correlation_id, str::parse)?,
    })
}

pub(super) async fn claim_holder(
    connection: &mut SqliteConnection,
    aggregate_type: &AggregateType,
    claim: &Claim,
) -> Result<Option<AggregateId>, ReadError> {
    let sql = "select aggregate_id from aggregate_claims \
        where aggregate_type = ? and claim = ? and value = ?";
    let holder: Option<String> = sqlx::query_scalar(sql)
        .bind(aggregate_type.as_str())
        .bind(&*claim.name)
        .bind(claim.value.as_str())
        .fetch_optional(connection)
        .await
        .map_err(read_error)?;
    holder
        .map(|holder| text(&holder, AggregateId::parse))
        .transpose()
}

/// The event in a row whose [`event_columns`] begin at a column. Its stream is read from the row
/// only where the caller does not know it.
pub(super) fn recorded_event(
    row: &SqliteRow,
    column: usize,
    stream: Option<&StreamId>,
) -> Result<RecordedEvent, ReadError> {
    let column_text = |offset: usize| row.try_get::<&str, _>(column + offset).map_err(read_error);
    let number = |offset: usize| row.try_get::<i64, _>(column + offset).map_err(read_error);
    let optional = |offset: usize| {
        row.try_get::<Option<&str>, _>(column + offset)
            .map_err(read_error)
    };
    let stream = match stream {
        Some(stream) => stream.clone(),
        None => StreamId {
            aggregate_type: text(column_text(0)?, |name| {
                AggregateType::parse(name.to_owned())
            })?,
            aggregate_id: text(column_text(1)?, AggregateId::parse)?,
        },
    };
    let id = column_text(4)?;
    let position: Option<i64> = row.try_get(column + 3).map_err(read_error)?;
    let position =
        position.ok_or_else(|| corrupt(format_args!("event {id} of {stream} has no position")))?;
    Ok(RecordedEvent {
        id: text::<EventId, _>(id, str::parse)?,
        version: Version::new(natural(number(2)?, "a version")?),
        position: Position::new(natural(position, "a position")?),
        event_type: column_text(5)?.to_owned(),
        schema_version: u32::try_from(number(6)?).map_err(corrupt)?,
        occurred_at: instant(number(7)?)?,
        created_by: optional(8)?
            .map(|by| text(by, CreatedBy::parse))
            .transpose()?,
        correlation_id: text::<CorrelationId, _>(column_text(9)?, str::parse)?,
        causation_id: optional(10)?
            .map(|id| text::<CausationId, _>(id, str::parse))
            .transpose()?,
        data: json(row.try_get(column + 11).map_err(read_error)?)?,
        stream,
    })
}

/// Whether the events of one stream have the versions from one on, without a gap.
pub(super) fn check_versions(events: &[RecordedEvent], first: Version) -> Result<(), ReadError> {
    let mut expected = first;
    for event in events {
        if event.version != expected {
            return Err(corrupt(format_args!(
                "{} has no event at version {expected}, and one at {}",
                event.stream, event.version
            )));
        }
        expected = expected.next();
    }
    Ok(())
}

/// A stored text as what it stands for.
pub(super) fn text<T, E: Display>(
    stored: &str,
    parse: impl FnOnce(&str) -> Result<T, E>,
) -> Result<T, ReadError> {
    parse(stored).map_err(|error| corrupt(format_args!("{stored:?}: {error}")))
}

/// Stored JSON.
pub(super) fn json(stored: String) -> Result<Box<RawValue>, ReadError> {
    // The text itself may hold secrets: the error says only where it breaks.
    RawValue::from_string(stored).map_err(|error| corrupt(format_args!("no JSON: {error}")))
}

/// A stored time in microseconds.
pub(super) fn instant(microseconds: i64) -> Result<DateTime<Utc>, ReadError> {
    DateTime::from_timestamp_micros(microseconds)
        .ok_or_else(|| corrupt(format_args!("the time {microseconds} µs is out of range")))
}
