//! What stands in a batch's way, in one statement, so of one moment.
//!
//! One moment matters: were a version read after an id, an append whose answer was lost could
//! become visible in between, and its commit would be told that it lost.

use std::collections::BTreeSet;

use sqlx::postgres::{PgBindIterExt as _, PgConnection, PgRow};

use super::{
    json_text,
    rows::{column, corrupt, number, parsed},
    state::{Shapes, judge_rows},
};
use crate::{
    domain::{AggregateId, Claim, EventId, IdempotencyKey, Position, StreamId, Version},
    store::{
        AppendError, Commit, ReadError, Receipt,
        admission::{ClaimKey, Facts},
    },
};

const FACTS: &str = include_str!("sql/facts.sql");

/// What the statement asks for; its rows name each by its place here, from 1.
struct Questions<'a> {
    streams: Vec<&'a StreamId>,
    events: Vec<EventId>,
    claims: Vec<(&'a StreamId, &'a Claim)>,
    keys: Vec<(&'a StreamId, &'a IdempotencyKey)>,
}

/// Looks up all that [`crate::store::admission::admit`] needs.
pub(super) async fn facts(
    connection: &mut PgConnection,
    commits: &[&Commit],
    shapes: &Shapes,
) -> Result<Facts, AppendError> {
    let unavailable = |error: sqlx::Error| AppendError::Unavailable(error.into());
    let mut facts = Facts::default();
    if !shapes.is_empty() {
        // Before all else: of a commit that is stored meanwhile, only its id is to be believed.
        let judged = judge_rows(&mut *connection, commits, shapes, &mut facts).await;
        judged.map_err(unavailable)?;
    }
    let questions = Questions::of(commits);
    let rows = questions.ask(connection).await.map_err(unavailable)?;
    for row in rows {
        // Only a read by another program's hand can make a row unreadable; as nothing was
        // stored, saying so is safe.
        questions
            .take(&row, &mut facts)
            .map_err(|error| AppendError::Unavailable(error.into()))?;
    }
    Ok(facts)
}

impl<'a> Questions<'a> {
    fn of(commits: &[&'a Commit]) -> Self {
        let streams: BTreeSet<&StreamId> = commits.iter().map(|commit| &commit.stream).collect();
        let claims = commits.iter().flat_map(|commit| {
            let touched = commit.takes.iter().chain(&commit.frees);
            touched.map(|claim| (&commit.stream, claim))
        });
        let keys = commits.iter().filter_map(|commit| {
            let receipt = commit.receipt.as_ref()?;
            Some((&commit.stream, &receipt.key))
        });
        // A commit is known by its first event, so the ids of the others are not asked for.
        let first_events = commits.iter().filter_map(|commit| commit.events.first());
        Self {
            streams: streams.into_iter().collect(),
            events: first_events.map(|event| event.id).collect(),
            claims: claims.collect(),
            keys: keys.collect(),
        }
    }

    async fn ask(&self, connection: &mut PgConnection) -> Result<Vec<PgRow>, sqlx::Error> {
        let keys = || self.keys.iter();
        let claims = || self.claims.iter();
        sqlx::query(FACTS)
            .bind(
                self.streams
                    .iter()
                    .map(|stream| stream.aggregate_type.as_str())
                    .bind_iter(),
            )
            .bind(
                self.streams
                    .iter()
                    .map(|stream| stream.aggregate_id.as_str())
                    .bind_iter(),
            )
            .bind(self.events.iter().map(ToString::to_string).bind_iter())
            .bind(
                claims()
                    .map(|(stream, _)| stream.aggregate_type.as_str())
                    .bind_iter(),
            )
            .bind(claims().map(|(_, claim)| claim.name.as_ref()).bind_iter())
            .bind(claims().map(|(_, claim)| claim.value.as_str()).bind_iter())
            .bind(
                keys()
                    .map(|(stream, _)| stream.aggregate_type.as_str())
                    .bind_iter(),
            )
            .bind(
                keys()
                    .map(|(stream, _)| stream.aggregate_id.as_str())
                    .bind_iter(),
            )
            .bind(keys().map(|(_, key)| key.as_str()).bind_iter())
            .fetch_all(connection)
            .await
    }

    /// Files one answer.
    fn take(&self, row: &PgRow, facts: &mut Facts) -> Result<(), ReadError> {
        let kind: &str = column(row, 0)?;
        let place = usize::try_from(number(row, 1)?).unwrap_or(usize::MAX) - 1;
        match kind {
            "version" => {
                let version = Version::new(number(row, 2)?);
                facts.versions.insert(self.streams[place].clone(), version);
            }
            "event" => {
                let position = Position::new(number(row, 2)?);
                facts.stored.insert(self.events[place], position);
            }
            "claim" => {
                let (stream, claim) = self.claims[place];
                let key: ClaimKey = (stream.aggregate_type.clone(), claim.clone());
                let holder = parsed(row, 3, AggregateId::parse)?;
                facts.holders.insert(key, holder);
            }
            "receipt" => {
                let (stream, key) = self.keys[place];
                let key = (stream.clone(), key.clone());
                facts.receipts.insert(key, receipt(row)?);
            }
            _ => return Err(corrupt("a fact of an unknown kind")),
        }
        Ok(())
    }
}

/// A receipt from the columns of `facts.sql`.
pub(super) fn receipt(row: &PgRow) -> Result<Receipt, ReadError> {
    let command_hash: &[u8] = column(row, 5)?;
    let event_count: i32 = column(row, 6)?;
    let reply: Option<String> = column(row, 7)?;
    Ok(Receipt {
        id: parsed(row, 4, str::parse::<EventId>)?.0,
        command_hash: command_hash
            .try_into()
            .map_err(|_| corrupt("a command's hash that is not 32 bytes long"))?,
        first_version: Version::new(number(row, 2)?),
        event_count: u32::try_from(event_count)
            .map_err(|_| corrupt("a receipt of a negative number of events"))?,
        reply: reply
            .map(json_text::from_stored)
            .transpose()
            .map_err(|_| corrupt("a reply that is no JSON"))?,
        correlation_id: parsed(row, 8, str::parse)?,
    })
}
