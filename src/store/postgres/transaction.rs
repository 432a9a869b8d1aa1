//! A transaction behind the lock of all writers: how it is opened, and how it ends.

use std::time::Duration;

use sqlx::{AssertSqlSafe, Error, postgres::PgConnection};

use super::{
    errors::Failure,
    foreign::{self, After, Page},
    inserting::Inserting,
};
use crate::{
    domain::Position,
    store::{
        AppendError, Commit, RecordedEvent,
        models::{AppendHook, ModelTx},
        rounds::{InsertError, recorded},
    },
};

/// The texts that open a transaction behind the lock of all writers, one round trip each.
#[derive(Debug)]
pub(super) struct Openings {
    /// For an append. The row is locked here as it is in the append itself; after that, only
    /// programs that are not dormouse can be waited for.
    append: String,
    /// Gives statements of a hook the patience that all others have.
    patient: String,
}

impl Openings {
    /// With so long a wait for other dormice, and so short a one for anybody else.
    pub(super) fn new(lock: Duration, contested: Duration) -> Self {
        let patient = format!("set local lock_timeout = '{}ms'", lock.as_millis().max(1));
        let lock = "select position from log_head order by position desc limit 1 for update";
        let contested = contested.as_millis().max(1);
        let append = format!("begin; {patient}; {lock}; set local lock_timeout = '{contested}ms'");
        Self { append, patient }
    }
}

/// How a transaction failed.
pub(super) enum Undone {
    /// It is undone, and the connection is as it was.
    Whole(InsertError),
    /// It is undone because its statement failed so.
    Statement(Error),
    /// The connection is of no more use.
    Broken(Error),
}

pub(super) fn is_blocked(error: &Error) -> bool {
    matches!(Failure::of(error), Failure::Blocked)
}

async fn run(connection: &mut PgConnection, text: &str) -> Result<(), Error> {
    // Safe: a text of constants and numbers only.
    sqlx::raw_sql(AssertSqlSafe(text))
        .execute(connection)
        .await?;
    Ok(())
}

/// Opens a transaction behind the lock of all writers.
async fn open(connection: &mut PgConnection, text: &str) -> Result<(), Undone> {
    let Err(error) = run(connection, text).await else {
        return Ok(());
    };
    if !is_blocked(&error) {
        return Err(Undone::Broken(error));
    }
    // Another writer was at work all the time: no commit of this batch is in anybody's way.
    undo(
        connection,
        InsertError::Failed(AppendError::Unavailable(error.into())),
    )
    .await
}

async fn undo<T>(connection: &mut PgConnection, why: InsertError) -> Result<T, Undone> {
    // Where this fails, the connection is broken, and what was begun ends with it.
    run(connection, "rollback").await.map_err(Undone::Broken)?;
    Err(Undone::Whole(why))
}

/// As [`Inserting::now`], behind the lock of all writers.
///
/// A statement sees the log as it was before it waited for the head's row. Where the stream
/// gets an event that is enough, for the unique index sees what came since. A commit without
/// events has no such guard, so its statement begins when no other writer can be at work.
pub(super) async fn insert_locked(
    connection: &mut PgConnection,
    openings: &Openings,
    inserting: Inserting<'_>,
) -> Result<Position, Undone> {
    open(connection, &openings.append).await?;
    match inserting.now(&mut *connection).await {
        Ok(position) => {
            run(connection, "commit").await.map_err(Undone::Broken)?;
            Ok(position)
        }
        Err(error) => undo_failed(connection, error).await,
    }
}

async fn undo_failed<T>(connection: &mut PgConnection, error: Error) -> Result<T, Undone> {
    run(connection, "rollback").await.map_err(Undone::Broken)?;
    Err(Undone::Statement(error))
}

/// As [`insert_locked`], and what the hook does commits with it.
pub(super) async fn insert_hooked(
    connection: &mut PgConnection,
    openings: &Openings,
    hook: &dyn AppendHook,
    inserting: Inserting<'_>,
    commits: &[&Commit],
) -> Result<Position, Undone> {
    open(connection, &openings.append).await?;
    let position = match inserting.now(&mut *connection).await {
        Ok(position) => position,
        Err(error) => return undo_failed(connection, error).await,
    };
    let events = recorded(commits, position);
    tell(connection, openings, hook, &events).await?;
    Ok(position)
}

/// Lets the hook do its work on the events, and commits.
async fn tell(
    connection: &mut PgConnection,
    openings: &Openings,
    hook: &dyn AppendHook,
    events: &[RecordedEvent],
) -> Result<(), Undone> {
    let patient = run(connection, &openings.patient).await;
    patient.map_err(Undone::Broken)?;
    let tx = ModelTx::Postgres(&mut *connection);
    match hook.appended(events, tx).await {
        Ok(()) => run(connection, "commit").await.map_err(Undone::Broken),
        Err(error) => undo(connection, error.into()).await,
    }
}

/// Numbers a page, and what the hook does commits with it.
pub(super) async fn number_locked(
    connection: &mut PgConnection,
    openings: &Openings,
    hook: Option<&dyn AppendHook>,
    after: &After,
    limit: u32,
) -> Result<Page, Undone> {
    open(connection, &openings.append).await?;
    let page = match foreign::page(&mut *connection, after, limit, hook.is_some()).await {
        Ok(page) => page,
        Err(error) => return undo(connection, error.into()).await,
    };
    match hook {
        Some(hook) if !page.events.is_empty() => {
            tell(connection, openings, hook, &page.events).await?;
        }
        Some(_) | None => run(connection, "commit").await.map_err(Undone::Broken)?,
    }
    Ok(page)
}
