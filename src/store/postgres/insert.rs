//! The statement that appends: how commits become its arrays.

mod beside;

use std::{borrow::Cow, collections::HashSet, iter::repeat_n};

use sqlx::{
    AssertSqlSafe, Postgres,
    postgres::{PgArguments, PgBindIterExt as _},
    query::Query,
};

use self::beside::{bind_claims, bind_receipts};
use super::{
    json_text,
    rows::bigint,
    state::{RowWrites, Shapes},
};
use crate::{
    domain::{CreatedBy, StreamId, Version},
    store::{AppendError, Commit, NewEvent, VersionedBy, row_text::carried_marks},
};

/// The hot path: events only.
const APPEND: &str = include_str!("sql/append.sql");
const APPEND_WITH_CLAIMS_AND_RECEIPTS: &str =
    include_str!("sql/append_with_claims_and_receipts.sql");

/// How many parameters they have.
const PLAIN_PARAMETERS: usize = 16;
const PARAMETERS: usize = 35;

/// When it is looked for claims that their takers hold already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Look {
    /// With the batch.
    First,
    /// Once the index of claims has objected.
    Later,
}

type Statement<'q> = Query<'q, Postgres, PgArguments>;

/// The one statement that stores all of these commits or none. It answers no row where a stream is at
/// another version; `shapes` are those of the tables that the commits write. Only where it is told to
/// look does it pass over claims that their takers hold already.
///
/// # Errors
/// [`AppendError::Unstorable`] where a row can have no place in its table.
pub(super) fn statement<'q>(
    commits: &[&Commit],
    shapes: &Shapes,
    look: Look,
) -> Result<Statement<'q>, AppendError> {
    let plain = commits.iter().all(|commit| {
        commit.frees.is_empty() && commit.takes.is_empty() && commit.receipt.is_none()
    });
    let text = if plain {
        APPEND
    } else {
        APPEND_WITH_CLAIMS_AND_RECEIPTS
    };
    let (text, rows) = if shapes.is_empty() {
        (AssertSqlSafe(Cow::Borrowed(text)), None)
    } else {
        let before = if plain { PLAIN_PARAMETERS } else { PARAMETERS };
        let rows = RowWrites::new(commits, shapes, before)?;
        // Safe: the names of tables and columns in it are quoted, all values are parameters.
        (AssertSqlSafe(Cow::Owned(rows.text(text))), Some(rows))
    };
    let statement = bind_events(bind_heads(sqlx::query(text), commits), commits);
    let statement = if plain {
        statement
    } else {
        bind_receipts(bind_claims(statement, commits), commits)
    };
    let mut statement = bind_row_marks(statement, commits);
    if !plain {
        statement = statement.bind(look == Look::First);
    }
    Ok(match rows {
        None => statement,
        Some(rows) => rows.bind(statement),
    })
}

/// How many events the commits have.
pub(super) fn event_count(commits: &[&Commit]) -> u64 {
    commits
        .iter()
        .map(|commit| commit.events.len() as u64)
        .sum()
}

/// Whether a commit's stream gets no event by the statement: then no unique index guards the
/// version that it expects, be it in the log or in a track, which an event may carry.
pub(super) fn needs_the_lock_first(commits: &[&Commit]) -> bool {
    if commits.iter().all(|commit| !commit.events.is_empty()) {
        return false;
    }
    let (eventful, eventless): (Vec<&Commit>, Vec<&Commit>) =
        commits.iter().partition(|commit| !commit.events.is_empty());
    let guarded: HashSet<&StreamId> = eventful.iter().map(|commit| &commit.stream).collect();
    eventless
        .iter()
        .any(|commit| !guarded.contains(&commit.stream))
}

/// Each stream once, with the version that its first commit expects; those that a track versions are
/// not among them. Where that commit begins its stream there is nothing to look up: the first version
/// is stored, and the unique index knows whether it was there.
fn bind_heads<'q>(statement: Statement<'q>, commits: &[&Commit]) -> Statement<'q> {
    let mut seen = HashSet::with_capacity(commits.len());
    let heads: Vec<&Commit> = commits
        .iter()
        .copied()
        .filter(|commit| commit.versioned_by() == VersionedBy::Log && seen.insert(&commit.stream))
        .collect();
    statement
        .bind(
            heads
                .iter()
                .map(|commit| commit.stream.aggregate_type.as_str())
                .bind_iter(),
        )
        .bind(
            heads
                .iter()
                .map(|commit| commit.stream.aggregate_id.as_str())
                .bind_iter(),
        )
        .bind(
            heads
                .iter()
                .map(|commit| (!begins(commit)).then(|| bigint(commit.expected.get())))
                .bind_iter(),
        )
        .bind(bigint(event_count(commits)))
}

fn begins(commit: &Commit) -> bool {
    commit.expected == Version::ZERO && !commit.events.is_empty()
}

fn bind_events<'q>(statement: Statement<'q>, commits: &[&Commit]) -> Statement<'q> {
    let events = || commits.iter().flat_map(|commit| &commit.events);
    statement
        .bind(events().map(|event| event.id.to_string()).bind_iter())
        .bind(by_event(commits, |commit| commit.stream.aggregate_type.as_str()).bind_iter())
        .bind(by_event(commits, |commit| commit.stream.aggregate_id.as_str()).bind_iter())
        .bind(versions(commits).bind_iter())
        .bind(events().map(|event| event.event_type.as_ref()).bind_iter())
        .bind(events().map(schema_version).bind_iter())
        .bind(
            events()
                .map(|event| json_text::to_stored(&event.data))
                .bind_iter(),
        )
        .bind(by_event(commits, |commit| commit.occurred_at).bind_iter())
        .bind(by_event(commits, created_by).bind_iter())
        .bind(by_event(commits, |commit| commit.correlation_id.to_string()).bind_iter())
        .bind(by_event(commits, causation_id).bind_iter())
}

/// What the last event of a commit carries of its row. An array that is too short is filled up with
/// nulls, so that events without rows cost nothing here.
fn bind_row_marks<'q>(statement: Statement<'q>, commits: &[&Commit]) -> Statement<'q> {
    let mut marks: Vec<Option<String>> = Vec::new();
    if commits.iter().any(|commit| commit.row.is_some()) {
        for commit in commits.iter().filter(|commit| !commit.events.is_empty()) {
            marks.extend(repeat_n(None, commit.events.len() - 1));
            marks.push(carried_marks(commit));
        }
    }
    statement.bind(marks)
}

/// What a commit says of all its events, once for each.
fn by_event<'c, T: Clone + 'c>(
    commits: &'c [&'c Commit],
    value: impl Fn(&'c Commit) -> T + 'c,
) -> impl Iterator<Item = T> + 'c {
    commits
        .iter()
        .filter(|commit| !commit.events.is_empty())
        .flat_map(move |commit| repeat_n(value(commit), commit.events.len()))
}

fn versions<'c>(commits: &'c [&'c Commit]) -> impl Iterator<Item = i64> + 'c {
    commits.iter().flat_map(|commit| {
        let first = commit.expected.next();
        (0_u64..)
            .zip(&commit.events)
            .map(move |(index, _)| bigint(first.plus(index).get()))
    })
}

/// A schema version as it is stored; one over two thousand million is a mistake that no
/// upcaster will ever match, so it needs no error.
fn schema_version(event: &NewEvent) -> i32 {
    i32::try_from(event.schema_version).unwrap_or(i32::MAX)
}

fn created_by(commit: &Commit) -> Option<&str> {
    commit.created_by.as_ref().map(CreatedBy::as_str)
}

fn causation_id(commit: &Commit) -> Option<String> {
    commit.causation_id.map(|id| id.to_string())
}
