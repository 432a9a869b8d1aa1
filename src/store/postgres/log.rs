//! Questions to the log: one statement for each order, with the conditions that are not set
//! folded away by the planner.
//!
//! A condition is bound as null where it is not set. The connections that ask plan each statement
//! for the values it is given, and there `null is null or …` is true before anything is planned:
//! what remains is planned as if it had been written for this question alone.

use std::{
    collections::BTreeSet,
    sync::{Arc, LazyLock},
};

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

/// The head and the events are of one snapshot of the database, since they are of one statement.
/// The head comes alone where nothing is found.
const QUERY: &str = "
with head as (select position from log_head order by position desc limit 1)
select found.id, found.event_type, found.schema_version, found.event_data::text, found.version,
    found.position, found.occurred_at, found.created_by, found.correlation_id, found.causation_id,
    found.aggregate_type, found.aggregate_id, head.position
from head left join lateral (FOUND) as found on true";

/// What is not numbered yet has no position to compare.
const FOUND: &str = "
    select * from domain_events
    where position BEYOND $1
      and ($3::text is null or aggregate_type = $3)
      and ($4::text is null or aggregate_id = $4)
      and ($5::text is null or created_by = $5)
      and ($6::text is null or correlation_id = $6)
      and ($7::text is null or causation_id = $7)
      and ($8::timestamptz is null or occurred_at >= $8)
      and ($9::timestamptz is null or occurred_at <= $9)
      and TYPED
    order by position DIRECTION limit $2";

/// A page of each type, of which the page is taken: each is found in the order of positions, while
/// an index has events of several types in no order.
const OF_TYPES: &str = "
    select of_type.* from unnest($10::text[]) as wanted (event_type)
    cross join lateral (FOUND) as of_type
    order by of_type.position DIRECTION limit $2";

/// The statements of one order.
struct Statements {
    of_any_type: Arc<str>,
    of_types: Arc<str>,
}

impl Statements {
    fn new(beyond: &str, direction: &str) -> Self {
        let whole = |found: &str| {
            let text = QUERY.replace("FOUND", found);
            let text = text.replace("BEYOND", beyond);
            Arc::from(text.replace("DIRECTION", direction))
        };
        // The number of parameters is the same, so one function binds them all.
        let any = FOUND.replace("TYPED", "$10::text[] is null");
        let typed = FOUND.replace("TYPED", "event_type = wanted.event_type");
        Self {
            of_any_type: whole(&any),
            of_types: whole(&OF_TYPES.replace("FOUND", &typed)),
        }
    }
}

static ASCENDING: LazyLock<Statements> = LazyLock::new(|| Statements::new(">", "asc"));
static DESCENDING: LazyLock<Statements> = LazyLock::new(|| Statements::new("<", "desc"));

/// One page of the events that are meant.
pub(super) async fn query(readers: &Readers, query: &LogQuery) -> Result<LogPage, ReadError> {
    let found = readers.rows(|| statement(query)).await;
    page(&found.map_err(read_error)?, query)
}

fn statement<'q>(query: &LogQuery) -> Statement<'q> {
    let statements = match query.order {
        Order::Ascending => &ASCENDING,
        Order::Descending => &DESCENDING,
    };
    let filter = &query.filter;
    // A type that is named twice would find its events twice.
    let types: BTreeSet<&String> = filter.event_types.iter().collect();
    let types: Option<Vec<String>> =
        (!types.is_empty()).then(|| types.into_iter().cloned().collect());
    let text = match types {
        None => &statements.of_any_type,
        Some(_) => &statements.of_types,
    };
    let end = match query.order {
        Order::Ascending => 0,
        Order::Descending => u64::MAX,
    };
    // Safe: a text of constants only, whatever is asked.
    sqlx::query(AssertSqlSafe(Arc::clone(text)))
        .bind(bigint(query.after.map_or(end, Position::get)))
        .bind(i64::from(query.limit))
        .bind(text_of(filter.aggregate_type.as_ref()))
        .bind(text_of(filter.aggregate_id.as_ref()))
        .bind(text_of(filter.created_by.as_ref()))
        .bind(text_of(filter.correlation_id.as_ref()))
        .bind(text_of(filter.causation_id.as_ref()))
        .bind(filter.from)
        .bind(filter.to)
        .bind(types)
}

fn text_of(value: Option<&impl ToString>) -> Option<String> {
    value.map(ToString::to_string)
}

fn page(found: &[PgRow], query: &LogQuery) -> Result<LogPage, ReadError> {
    let head = found
        .first()
        .ok_or_else(|| corrupt("the log's head has no row"))?;
    let last = Position::new(number(head, 12)?);
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
