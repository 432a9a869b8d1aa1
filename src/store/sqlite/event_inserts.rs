//! The statements that add a batch's events.

use std::sync::LazyLock;

use sqlx::{Sqlite, query::Query, sqlite::SqliteArguments};

use super::rows::{RowStatements, integer};
use crate::{
    domain::{CreatedBy, Position, Version},
    store::{Commit, NewEvent, row_text::carried_marks},
};

type Statement<'q> = Query<'q, Sqlite, SqliteArguments>;

// `or fail` in these: the whole transaction is undone when one fails, so SQLite need not write a
// journal (a temporary file) to undo the statement alone. That took a fifth of an append.
const EVENTS: &str = "insert or fail into domain_events (id, aggregate_type, aggregate_id, version, \
    position, event_type, schema_version, occurred_at, created_by, correlation_id, causation_id, \
    event_data) values ";
const EVENT: &str = "(?,?,?,?,?,?,?,?,?,?,?,?)";
/// The same with what the last of a commit carries of its row.
const MARKED_EVENTS: &str = "insert or fail into domain_events (id, aggregate_type, aggregate_id, \
    version, position, event_type, schema_version, occurred_at, created_by, correlation_id, \
    causation_id, event_data, row_marks) values ";
const MARKED_EVENT: &str = "(?,?,?,?,?,?,?,?,?,?,?,?,?)";

/// Statements for events without marks, and for events of which some have them.
type Inserts = LazyLock<[RowStatements; 2]>;

static INSERT: Inserts = LazyLock::new(|| inserts(""));
static INSERT_AND_COMMIT: Inserts = LazyLock::new(|| inserts("; commit"));

fn inserts(after: &str) -> [RowStatements; 2] {
    [(EVENTS, EVENT), (MARKED_EVENTS, MARKED_EVENT)]
        .map(|(before, row)| RowStatements::new(before, row, after))
}

/// Adds up to [`MAX_ROWS`](super::rows::MAX_ROWS) events.
pub(super) fn insert<'q>(events: &[NumberedEvent<'q>]) -> Statement<'q> {
    bound(&INSERT, events)
}

/// The same, and commits.
pub(super) fn insert_and_commit<'q>(events: &[NumberedEvent<'q>]) -> Statement<'q> {
    bound(&INSERT_AND_COMMIT, events)
}

fn bound<'q>(inserts: &Inserts, events: &[NumberedEvent<'q>]) -> Statement<'q> {
    let with_marks = events.iter().any(|event| event.row_marks.is_some());
    let text = inserts[usize::from(with_marks)].of(events.len());
    events.iter().fold(sqlx::query(text), |query, row| {
        let commit = row.commit;
        let query = query
            .bind(row.event.id.to_string())
            .bind(commit.stream.aggregate_type.as_str())
            .bind(commit.stream.aggregate_id.as_str())
            .bind(integer(row.version.get()))
            .bind(integer(row.position.get()))
            .bind(&*row.event.event_type)
            .bind(i64::from(row.event.schema_version))
            .bind(commit.occurred_at.timestamp_micros())
            .bind(commit.created_by.as_ref().map(CreatedBy::as_str))
            .bind(commit.correlation_id.to_string())
            .bind(commit.causation_id.map(|id| id.to_string()))
            .bind(row.event.data.get());
        if with_marks {
            query.bind(row.row_marks.clone())
        } else {
            query
        }
    })
}

/// An event with the numbers it is stored under.
pub(super) struct NumberedEvent<'a> {
    commit: &'a Commit,
    event: &'a NewEvent,
    version: Version,
    position: Position,
    /// What it carries of the row that is written with it.
    row_marks: Option<String>,
}

/// The events of a batch whose first is at a position.
pub(super) fn numbered_events<'a>(
    commits: &[&'a Commit],
    first: Position,
) -> Vec<NumberedEvent<'a>> {
    let mut position = first;
    let mut numbered = Vec::with_capacity(commits.len());
    for commit in commits {
        let mut version = commit.expected;
        for event in &commit.events {
            version = version.next();
            numbered.push(NumberedEvent {
                commit,
                event,
                version,
                position,
                row_marks: None,
            });
            position = position.next();
        }
        if let (false, Some(last)) = (commit.events.is_empty(), numbered.last_mut()) {
            last.row_marks = carried_marks(commit);
        }
    }
    numbered
}
