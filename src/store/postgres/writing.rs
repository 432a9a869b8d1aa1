//! The connection while it appends: one batch, one transaction.

use std::{future::Future, sync::Arc, time::Duration};

use sqlx::{Error, Row as _, postgres::PgConnection};
use tokio::time::timeout;

use super::{errors::Failure, facts::facts, insert};
use crate::{
    domain::Position,
    store::{
        AppendError, Commit,
        admission::Facts,
        models::{AppendHook, ModelTx},
        rounds::{AppendConnection, InsertError, recorded},
    },
};

/// The row is locked here as it is in the append itself.
const LOCK: &str = "select position from log_head order by position desc limit 1 for update";

/// The connection while it appends.
pub(super) struct Writing {
    pub(super) connection: PgConnection,
    /// Whether it may append again.
    pub(super) sound: bool,
    pub(super) answer_timeout: Duration,
    pub(super) hook: Option<Arc<dyn AppendHook>>,
}

impl AppendConnection for Writing {
    async fn insert(&mut self, commits: &[&Commit]) -> Result<Position, InsertError> {
        let limit = self.answer_timeout;
        if let Some(hook) = self.hook.clone() {
            return self.insert_with(&*hook, commits).await;
        }
        let inserted = if insert::needs_the_lock_first(commits) {
            in_time(limit, insert_locked(&mut self.connection, commits)).await
        } else {
            in_time(limit, insert_now(&mut self.connection, commits)).await
        };
        inserted.map_err(|error| {
            // A refused batch leaves the connection as it was. After anything else a fresh one
            // is worth its price: it knows no stale plan and no lost primary.
            self.sound = matches!(Failure::of(&error), Failure::Conflict | Failure::Unstorable);
            InsertError::from(error)
        })
    }

    async fn facts(&mut self, commits: &[&Commit]) -> Result<Facts, AppendError> {
        let found = timeout(self.answer_timeout, facts(&mut self.connection, commits)).await;
        let found = found.unwrap_or_else(|late| Err(AppendError::Unavailable(late.into())));
        self.sound = found.is_ok();
        found
    }
}

impl Writing {
    /// As `insert`, with the hook's work in the same transaction.
    async fn insert_with(
        &mut self,
        hook: &dyn AppendHook,
        commits: &[&Commit],
    ) -> Result<Position, InsertError> {
        let inserting = insert_hooked(&mut self.connection, hook, commits);
        let inserted = timeout(self.answer_timeout, inserting).await;
        match inserted {
            Ok(Ok(position)) => Ok(position),
            Ok(Err(Hooked::Undone(error))) => Err(error),
            Ok(Err(Hooked::Broken(error))) => {
                self.sound = false;
                Err(error.into())
            }
            Err(late) => {
                self.sound = false;
                Err(Error::Io(late.into()).into())
            }
        }
    }
}

/// A statement without an answer in time is one whose connection broke.
async fn in_time<T>(
    limit: Duration,
    statement: impl Future<Output = Result<T, Error>>,
) -> Result<T, Error> {
    timeout(limit, statement)
        .await
        .unwrap_or_else(|late| Err(Error::Io(late.into())))
}

/// The position of the first event, or `RowNotFound` where a stream is at another version.
async fn insert_now(connection: &mut PgConnection, commits: &[&Commit]) -> Result<Position, Error> {
    let row = insert::statement(commits).fetch_one(connection).await?;
    let head: i64 = row.try_get(0)?;
    let head = u64::try_from(head).map_err(|error| Error::Decode(error.into()))?;
    let first = head + 1 - insert::event_count(commits);
    Ok(Position::new(first))
}

/// As [`insert_now`], behind the lock of all writers.
///
/// A statement sees the log as it was before it waited for the head's row. Where the stream
/// gets an event that is enough, for the unique index sees what came since. A commit without
/// events has no such guard, so its statement begins when no other writer can be at work.
async fn insert_locked(
    connection: &mut PgConnection,
    commits: &[&Commit],
) -> Result<Position, Error> {
    sqlx::query("begin").execute(&mut *connection).await?;
    let inserted = async {
        sqlx::query(LOCK).execute(&mut *connection).await?;
        let position = insert_now(&mut *connection, commits).await?;
        sqlx::query("commit").execute(&mut *connection).await?;
        Ok(position)
    };
    let inserted = inserted.await;
    if inserted.is_err() {
        // Where this fails too, the connection is broken, and what was begun ends with it.
        sqlx::query("rollback").execute(&mut *connection).await?;
    }
    inserted
}

/// How an append with a hook failed.
enum Hooked {
    /// It is undone, and the connection is as it was.
    Undone(InsertError),
    /// The connection is of no more use.
    Broken(Error),
}

/// As [`insert_locked`], and what the hook does commits with it.
async fn insert_hooked(
    connection: &mut PgConnection,
    hook: &dyn AppendHook,
    commits: &[&Commit],
) -> Result<Position, Hooked> {
    let begun = async {
        sqlx::query("begin").execute(&mut *connection).await?;
        sqlx::query(LOCK).execute(&mut *connection).await
    };
    begun.await.map_err(Hooked::Broken)?;
    let position = insert_now(&mut *connection, commits).await;
    let undone = match position {
        Ok(position) => {
            let events = recorded(commits, position);
            let tx = ModelTx::Postgres(&mut *connection);
            match hook.appended(&events, tx).await {
                Ok(()) => {
                    let committed = sqlx::query("commit").execute(&mut *connection).await;
                    return committed.map(|_| position).map_err(Hooked::Broken);
                }
                Err(error) => error.into(),
            }
        }
        Err(error) => InsertError::from(error),
    };
    // Where this fails, the connection is broken, and what was begun ends with it.
    let rolled_back = sqlx::query("rollback").execute(&mut *connection).await;
    rolled_back.map_err(Hooked::Broken)?;
    Err(Hooked::Undone(undone))
}
