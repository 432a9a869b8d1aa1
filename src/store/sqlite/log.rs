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
    let statement = Statement::of(query);
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
    pub(super) fn of(query: &LogQuery) -> Self {
        let mut positions = Self {
            text: String::new(),
            values: Vec::new(),
        };
        positions.add_positions(query);
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
    fn add_positions(&mut self, query: &LogQuery) {
        let filter = &query.filter;
        // A type that is named twice would find its events twice.
        let types: BTreeSet<&String> = filter.event_types.iter().collect();
        let key = Key::of(filter, types.len());
        if key != Key::EventType {
            self.add_part(query, key);
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
            self.add_part(query, key);
            self.add(" and event_type = ?", Value::Text(event_type.clone()));
        }
    }

    fn add_part(&mut self, query: &LogQuery, key: Key) {
        let filter = &query.filter;
        self.text
            .push_str("select position from domain_events where ");
        let (beyond, end) = match query.order {
            Order::Ascending => (">", 0),
            Order::Descending => ("<", u64::MAX),
        };
        let plus = key.plus(Key::Position);
        let after = integer(query.after.map_or(end, Position::get));
        self.add(&format!("{plus}position {beyond} ?"), Value::Integer(after));
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
    fn of(filter: &EventFilter, types: usize) -> Self {
        let keys = [
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
        if is_key || matches!(column, Self::Position) {
            ""
        } else {
            "+"
        }
    }
}
