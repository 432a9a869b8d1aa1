//! Questions to the log, planned for what is asked and nothing else.
//!
//! A condition is bound as null where it is not set. The connections that ask plan each statement
//! for the values it is given, and there `null is null or …` is true before anything is planned.
//!
//! The planner believes that what is meant lies evenly in the log. Where it does not, a walk along
//! the positions, which looks cheap because a page is soon full, reads the whole log. So the
//! order is by a column that is asked for and then by position: the same order, since that column
//! has one value, but one that no walk along the positions gives.

use std::collections::BTreeSet;

use sqlx::{AssertSqlSafe, postgres::PgRow};

use super::{
    errors::read_error,
    reads::{Readers, Statement},
    rows::{self, bigint, column, corrupt, number},
};
use crate::{
    domain::{Position, StreamId},
    store::{LogPage, LogQuery, Order, ReadError},
};

const TIME_BOUNDS: &str = include_str!("sql/time_bounds.sql");

/// The head and the events are of one snapshot of the database, since they are of one statement.
/// The head comes alone where nothing is found.
const QUERY: &str = "
with head as (select position from log_head order by position desc limit 1)
select found.id, found.event_type, found.schema_version, found.event_data::text, found.version,
    found.position, found.occurred_at, found.created_by, found.correlation_id, found.causation_id,
    found.aggregate_type, found.aggregate_id, head.position
from head left join lateral (FOUND) as found on true";

/// What is not numbered yet has no position to compare. An array of one is what keeps the planner
/// from seeing that the order's first column has one value. The times are written as no index can
/// use them: their index is of use for spans alone.
const FOUND: &str = "
    select * from domain_events
    where position BEYOND $1
      and ($3::text is null or aggregate_type = any(array[$3]))
      and ($4::text is null or aggregate_id = any(array[$4]))
      and ($5::text is null or created_by = any(array[$5]))
      and ($6::text is null or correlation_id = any(array[$6]))
      and ($7::text is null or causation_id = any(array[$7]))
      and ($11::bigint is null or position WITHIN $11)
      and ($8::timestamptz is null or (occurred_at >= $8) is not false)
      and ($9::timestamptz is null or (occurred_at <= $9) is not false)
      and TYPED
    order by KEY position DIRECTION limit $2";

/// A page of each type, of which the page is taken.
const OF_TYPES: &str = "
    select of_type.* from unnest($10::text[]) as wanted (event_type)
    cross join lateral (FOUND) as of_type
    order by of_type.position DIRECTION limit $2";

/// The statement for the conditions that are set.
fn text(query: &LogQuery) -> String {
    let filter = &query.filter;
    // The column that finds the fewest events as a rule comes first.
    let keys = [
        (filter.causation_id.is_some(), "causation_id"),
        (filter.correlation_id.is_some(), "correlation_id"),
        (filter.aggregate_id.is_some(), "aggregate_id"),
        (filter.created_by.is_some(), "created_by"),
        (!filter.event_types.is_empty(), "event_type"),
        (filter.aggregate_type.is_some(), "aggregate_type"),
    ];
    let key = keys.iter().find(|(is_set, _)| *is_set);
    let (of_types, key) = match key {
        None => (false, String::new()),
        Some((_, key)) => (*key == "event_type", format!("{key} DIRECTION,")),
    };
    let typed = if of_types {
        "event_type = any(array[wanted.event_type])"
    } else {
        "($10::text[] is null or event_type = any($10))"
    };
    let found = FOUND.replace("TYPED", typed).replace("KEY", &key);
    let found = if of_types {
        OF_TYPES.replace("FOUND", &found)
    } else {
        found
    };
    let (beyond, within, direction) = match query.order {
        Order::Ascending => (">", "<=", "asc"),
        Order::Descending => ("<", ">=", "desc"),
    };
    let text = QUERY.replace("FOUND", &found);
    let text = text.replace("BEYOND", beyond).replace("WITHIN", within);
    text.replace("DIRECTION", direction)
}

/// One page of the events that are meant.
pub(super) async fn query(readers: &Readers, query: &LogQuery) -> Result<LogPage, ReadError> {
    let span = if query.filter.is_mainly_of_times() {
        span_of_times(readers, query).await?
    } else {
        Span::default()
    };
    let found = readers.rows(|| statement(query, span)).await;
    page(&found.map_err(read_error)?, query, span)
}

/// The positions between which all lies that happened between two times.
#[derive(Debug, Clone, Copy, Default)]
struct Span {
    first: Option<Position>,
    last: Option<Position>,
    /// The log's last position when `last` was found: what came later was not looked at.
    seen: Option<Position>,
}

/// Looked up on its own, so that the page is planned for the positions it is to come from.
async fn span_of_times(readers: &Readers, query: &LogQuery) -> Result<Span, ReadError> {
    let filter = &query.filter;
    let found = readers.row(|| sqlx::query(TIME_BOUNDS).bind(filter.from).bind(filter.to));
    let row = found
        .await?
        .ok_or_else(|| corrupt("the log's head has no row"))?;
    let position = |column| number(&row, column).map(Position::new);
    let (seen, first, last) = (position(0)?, position(1)?, position(2)?);
    Ok(Span {
        // Later events have later positions, so this one holds for ever.
        first: filter.from.map(|_| first),
        last: filter.to.map(|_| last),
        seen: filter.to.map(|_| seen),
    })
}

fn statement<'q>(query: &LogQuery, span: Span) -> Statement<'q> {
    let filter = &query.filter;
    // A type that is named twice would find its events twice.
    let types: BTreeSet<&String> = filter.event_types.iter().collect();
    let types: Option<Vec<String>> =
        (!types.is_empty()).then(|| types.into_iter().cloned().collect());
    let get = |position: Option<Position>, end| position.map_or(end, Position::get);
    let (after, within) = match query.order {
        Order::Ascending => {
            let before_first = get(span.first, 0).saturating_sub(1);
            (get(query.after, 0).max(before_first), span.last)
        }
        Order::Descending => {
            let after_last = get(span.last, u64::MAX).saturating_add(1);
            (get(query.after, u64::MAX).min(after_last), span.first)
        }
    };
    // Safe: a text of constants only, whatever is asked.
    sqlx::query(AssertSqlSafe(text(query)))
        .bind(bigint(after))
        .bind(i64::from(query.limit))
        .bind(text_of(filter.aggregate_type.as_ref()))
        .bind(text_of(filter.aggregate_id.as_ref()))
        .bind(text_of(filter.created_by.as_ref()))
        .bind(text_of(filter.correlation_id.as_ref()))
        .bind(text_of(filter.causation_id.as_ref()))
        .bind(filter.from)
        .bind(filter.to)
        .bind(types)
        .bind(within.map(|within| bigint(within.get())))
}

fn text_of(value: Option<&impl ToString>) -> Option<String> {
    value.map(ToString::to_string)
}

fn page(found: &[PgRow], query: &LogQuery, span: Span) -> Result<LogPage, ReadError> {
    let head = found
        .first()
        .ok_or_else(|| corrupt("the log's head has no row"))?;
    let last = Position::new(number(head, 12)?);
    let last = span.seen.map_or(last, |seen| seen.min(last));
    let mut events = Vec::with_capacity(found.len());
    for row in found {
        let id: Option<&str> = column(row, 0)?;
        if id.is_some() {
            let stream: StreamId = rows::stream(row)?;
            events.push(rows::event(row, stream)?);
        }
    }
    Ok(LogPage::new(query, events, last))
}
