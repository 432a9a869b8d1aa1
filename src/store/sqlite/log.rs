//! Questions to the log: a statement is put together from the conditions that are set.
//!
//! SQLite plans a statement without its values and, without statistics, without the tables'
//! contents. So the condition that finds the fewest events as a rule is the one whose index is
//! used, and the others are checked on what it finds. Each index ends in the position, which is
//! the rowid: what it finds is in order already.

use std::collections::BTreeSet;

use sqlx::{
    AssertSqlSafe, Row as _, Sqlite, SqliteConnection, query::Query, sqlite::SqliteArguments,
};

use super::{
    errors::read_error,
    reads::{event_columns, recorded_event},
    rows::{integer, natural},
};
use crate::{
    domain::Position,
    store::{EventFilter, LogPage, LogQuery, Order, ReadError},
};

/// More event types than these are compared with each event instead of looked up: the parts of
/// a statement are planned one by one.
const MAX_TYPES_LOOKED_UP: usize = 50;

/// So many events of the times asked for are found by their times and then put in order; few in
/// tests, so that small logs are searched in both ways.
const MAX_SORTED: i64 = if cfg!(test) { 5 } else { 5_000 };

/// Every type, each found by one look into the index of streams.
const EVERY_TYPE: &str = "with recursive types (name) as (\
     select min(aggregate_type) from domain_events \
     union all \
     select (select min(aggregate_type) from domain_events where aggregate_type > types.name) \
     from types where types.name is not null) \
     select name from types where name is not null";

/// One page of the events that are meant.
pub(super) async fn query(
    connection: &mut SqliteConnection,
    query: &LogQuery,
) -> Result<LogPage, ReadError> {
    let start = start(&mut *connection, query).await?;
    let statement = Statement::of(query, start);
    let rows = statement.bound().fetch_all(connection).await;
    let mut last = 0;
    let mut events = Vec::new();
    for row in &rows.map_err(read_error)? {
        last = row.try_get(0).map_err(read_error)?;
        let position: Option<i64> = row.try_get(4).map_err(read_error)?;
        if position.is_some() {
            events.push(recorded_event(row, 1, None)?);
        }
    }
    let last = Position::new(natural(last, "the last position")?);
    Ok(LogPage::new(query, events, last))
}

/// Where the search begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Start {
    /// After the cursor, by the condition that finds the fewest events as a rule.
    Cursor,
    /// At this position: all that lies before it, in the order asked for, is of another time.
    At(Position),
    /// In the index of times, for few events are of the times asked for.
    Times,
}

/// Times are in no strict order, so only their index knows where a time begins in the log.
async fn start(connection: &mut SqliteConnection, query: &LogQuery) -> Result<Start, ReadError> {
    let filter = &query.filter;
    if !filter.is_mainly_of_times() {
        return Ok(Start::Cursor);
    }
    let from = filter.from.map_or(i64::MIN, |from| from.timestamp_micros());
    let to = filter.to.map_or(i64::MAX, |to| to.timestamp_micros());
    let count: i64 = sqlx::query_scalar(COUNT_OF_TIMES)
        .bind(from)
        .bind(to)
        .bind(MAX_SORTED + 1)
        .fetch_one(&mut *connection)
        .await
        .map_err(read_error)?;
    if count <= MAX_SORTED {
        return Ok(Start::Times);
    }
    let (next, first) = match query.order {
        Order::Ascending => (NEXT_TIME, FIRST_OF_TIMES),
        Order::Descending => (TIME_BEFORE, LAST_OF_TIMES),
    };
    let next: Option<i64> = sqlx::query_scalar(next)
        .bind(integer(after(query)))
        .fetch_optional(&mut *connection)
        .await
        .map_err(read_error)?;
    if next.is_none_or(|next| (from..=to).contains(&next)) {
        return Ok(Start::Cursor);
    }
    let first: i64 = sqlx::query_scalar(first)
        .bind(from)
        .bind(to)
        .fetch_one(connection)
        .await
        .map_err(read_error)?;
    Ok(Start::At(Position::new(natural(first, "a position")?)))
}

const COUNT_OF_TIMES: &str = "select count(*) from (select 1 from domain_events \
    indexed by domain_events_occurred_at where occurred_at between ? and ? limit ?)";
const NEXT_TIME: &str =
    "select occurred_at from domain_events where position > ? order by position limit 1";
const TIME_BEFORE: &str =
    "select occurred_at from domain_events where position < ? order by position desc limit 1";
const FIRST_OF_TIMES: &str = "select min(position) from domain_events \
    indexed by domain_events_occurred_at where occurred_at between ? and ?";
const LAST_OF_TIMES: &str = "select max(position) from domain_events \
    indexed by domain_events_occurred_at where occurred_at between ? and ?";

/// Where the page is to begin, exclusive.
fn after(query: &LogQuery) -> u64 {
    let end = match query.order {
        Order::Ascending => 0,
        Order::Descending => u64::MAX,
    };
    query.after.map_or(end, Position::get)
}

/// A value of a condition.
#[derive(Debug, Clone)]
enum Value {
    Text(String),
    Integer(i64),
}

/// A text of constants and as many marks as there are values.
#[derive(Debug)]
pub(super) struct Statement {
    pub(super) text: String,
    values: Vec<Value>,
}

impl Statement {
    /// The log's last position, and beside it each event found: of one view, since of one
    /// statement.
    pub(super) fn of(query: &LogQuery, start: Start) -> Self {
        let mut positions = Self {
            text: String::new(),
            values: Vec::new(),
        };
        positions.add_positions(query, start);
        let direction = direction(query.order);
        positions.text = format!(
            "with head as (select coalesce(max(position), 0) as position from domain_events), \
             found as ({} order by position {direction} limit ?) \
             select head.position, {} from head left join found on true \
             left join domain_events e on e.position = found.position",
            positions.text,
            event_columns!(),
        );
        positions.values.push(Value::Integer(query.limit.into()));
        positions
    }

    fn bound(&self) -> Query<'_, Sqlite, SqliteArguments> {
        // Safe: what callers gave is among the values only.
        let mut bound = sqlx::query(AssertSqlSafe(self.text.as_str()));
        for value in &self.values {
            bound = match value {
                Value::Text(text) => bound.bind(text),
                Value::Integer(number) => bound.bind(number),
            };
        }
        bound
    }

    /// The positions of the events that are meant: in one part, or in one for each event type,
    /// which SQLite merges in the order of positions.
    fn add_positions(&mut self, query: &LogQuery, start: Start) {
        let filter = &query.filter;
        // A type that is named twice would find its events twice.
        let types: BTreeSet<&String> = filter.event_types.iter().collect();
        let key = Key::of(filter, types.len(), start);
        if key != Key::EventType {
            self.add_part(query, key, start);
            if !types.is_empty() {
                let marks = vec!["?"; types.len()].join(",");
                self.text.extend([" and +event_type in (", &marks, ")"]);
                self.values
                    .extend(types.into_iter().cloned().map(Value::Text));
            }
            return;
        }
        for (index, event_type) in types.into_iter().enumerate() {
            if index > 0 {
                self.text.push_str(" union all ");
            }
            self.add_part(query, key, start);
            self.add(" and event_type = ?", Value::Text(event_type.clone()));
        }
    }

    fn add_part(&mut self, query: &LogQuery, key: Key, start: Start) {
        let filter = &query.filter;
        // Without a word it would rather walk along the positions than sort what it finds.
        let index = if key == Key::OccurredAt {
            " indexed by domain_events_occurred_at"
        } else {
            ""
        };
        let parts = ["select position from domain_events", index, " where "];
        self.text.extend(parts);
        let first = match start {
            Start::At(first) => Some(first.get()),
            Start::Cursor | Start::Times => None,
        };
        let (beyond, after) = match query.order {
            Order::Ascending => (">", after(query).max(first.map_or(0, |first| first - 1))),
            Order::Descending => (
                "<",
                after(query).min(first.map_or(u64::MAX, |first| first + 1)),
            ),
        };
        let plus = key.plus(Key::Position);
        let after = Value::Integer(integer(after));
        self.add(&format!("{plus}position {beyond} ?"), after);
        self.add_stream(filter, key);
        let texts = [
            (
                Key::CreatedBy,
                "created_by",
                text(filter.created_by.as_ref()),
            ),
            (
                Key::CorrelationId,
                "correlation_id",
                text(filter.correlation_id.as_ref()),
            ),
            (
                Key::CausationId,
                "causation_id",
                text(filter.causation_id.as_ref()),
            ),
        ];
        for (column_key, column, value) in texts {
            if let Some(value) = value {
                let plus = key.plus(column_key);
                self.add(&format!(" and {plus}{column} = ?"), Value::Text(value));
            }
        }
        for (time, comparison) in [(filter.from, ">="), (filter.to, "<=")] {
            if let Some(time) = time {
                let plus = key.plus(Key::OccurredAt);
                let time = Value::Integer(time.timestamp_micros());
                self.add(&format!(" and {plus}occurred_at {comparison} ?"), time);
            }
        }
    }

    fn add_stream(&mut self, filter: &EventFilter, key: Key) {
        let aggregate_type = text(filter.aggregate_type.as_ref());
        let aggregate_id = text(filter.aggregate_id.as_ref());
        match (aggregate_type, aggregate_id) {
            (Some(aggregate_type), aggregate_id) => {
                let by_id = aggregate_id.is_some() && key == Key::AggregateId;
                let plus = if by_id {
                    ""
                } else {
                    key.plus(Key::AggregateType)
                };
                let condition = format!(" and {plus}aggregate_type = ?");
                self.add(&condition, Value::Text(aggregate_type));
                if let Some(aggregate_id) = aggregate_id {
                    let plus = key.plus(Key::AggregateId);
                    self.add(
                        &format!(" and {plus}aggregate_id = ?"),
                        Value::Text(aggregate_id),
                    );
                }
            }
            (None, Some(aggregate_id)) if key == Key::AggregateId => {
                // The index of streams begins with the type.
                let condition =
                    format!(" and aggregate_type in ({EVERY_TYPE}) and aggregate_id = ?");
                self.add(&condition, Value::Text(aggregate_id));
            }
            (None, Some(aggregate_id)) => {
                self.add(" and +aggregate_id = ?", Value::Text(aggregate_id));
            }
            (None, None) => {}
        }
    }

    fn add(&mut self, condition: &str, value: Value) {
        self.text.push_str(condition);
        self.values.push(value);
    }
}

fn text(value: Option<&impl ToString>) -> Option<String> {
    value.map(ToString::to_string)
}

const fn direction(order: Order) -> &'static str {
    match order {
        Order::Ascending => "asc",
        Order::Descending => "desc",
    }
}

/// By which column events are looked up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Key {
    CausationId,
    CorrelationId,
    AggregateId,
    CreatedBy,
    EventType,
    AggregateType,
    OccurredAt,
    Position,
}

impl Key {
    /// The column that finds the fewest events as a rule, of those that are asked for.
    fn of(filter: &EventFilter, types: usize, start: Start) -> Self {
        let keys = [
            (start == Start::Times, Self::OccurredAt),
            (filter.causation_id.is_some(), Self::CausationId),
            (filter.correlation_id.is_some(), Self::CorrelationId),
            (filter.aggregate_id.is_some(), Self::AggregateId),
            (filter.created_by.is_some(), Self::CreatedBy),
            ((1..=MAX_TYPES_LOOKED_UP).contains(&types), Self::EventType),
            (filter.aggregate_type.is_some(), Self::AggregateType),
        ];
        let first = keys.iter().find(|(is_set, _)| *is_set);
        first.map_or(Self::Position, |(_, key)| *key)
    }

    /// What stands before another column so that its index is not considered.
    const fn plus(self, column: Self) -> &'static str {
        let is_key = self as u8 == column as u8;
        // What the other indexes find is in the order of positions.
        let is_sorted = !matches!(self, Self::OccurredAt | Self::AggregateId);
        let is_order = matches!(column, Self::Position) && is_sorted;
        if is_key || is_order { "" } else { "+" }
    }
}

#[cfg(test)]
mod tests;
