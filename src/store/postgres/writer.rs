//! The one connection that appends, and the life of an append on it.
//!
//! An append runs in a task of its own, so that a caller who goes away never cuts a statement
//! off half way. Its connection is out of the slot while it works and comes back only when it
//! is known to be sound: whatever else happens, the next append opens another.

use std::{future::Future, sync::Arc, time::Duration};

use sqlx::{
    ConnectOptions as _, Connection as _, Error, Row as _,
    postgres::{PgConnectOptions, PgConnection},
};
use tokio::{sync::Mutex, time::timeout};

use super::{
    errors::Failure,
    facts::facts,
    hints::Announcements,
    insert,
    reads::Statement,
    state::{Catalog, RowRefusal, Shapes, refused_columns},
};
use crate::{
    domain::Position,
    store::{
        AppendError, Commit, Verdict,
        admission::Facts,
        models::{AppendHook, HookSlot, ModelTx},
        rounds::{AppendConnection, InsertError, append_in_rounds, recorded},
    },
};

/// `synchronous_commit = off` in a server's configuration would let a crash take back what was
/// acknowledged; the other values are the operator's to choose.
const DURABLE: &str = "select set_config('synchronous_commit', 'on', false) \
                       where current_setting('synchronous_commit') = 'off'";
/// The row is locked here as it is in the append itself.
const LOCK: &str = "select position from log_head order by position desc limit 1 for update";

/// The writing side of a store. Clones share the connection.
#[derive(Clone)]
pub(super) struct Writer {
    slot: Arc<Mutex<Slot>>,
    options: PgConnectOptions,
    connect_timeout: Duration,
    /// The server ends a statement before this; after it the connection is given up.
    answer_timeout: Duration,
    announcements: Arc<Announcements>,
    /// What is done in the transaction of each append.
    hook: HookSlot,
    catalog: Catalog,
}

enum Slot {
    Open(Option<PgConnection>),
    Closed,
}

impl Writer {
    pub(super) fn new(
        options: PgConnectOptions,
        connect_timeout: Duration,
        answer_timeout: Duration,
        announcements: Arc<Announcements>,
        hook: HookSlot,
        catalog: Catalog,
    ) -> Self {
        let slot = Arc::new(Mutex::new(Slot::Open(None)));
        Self {
            slot,
            options,
            connect_timeout,
            answer_timeout,
            announcements,
            hook,
            catalog,
        }
    }

    pub(super) async fn append(&self, batch: Arc<[Commit]>) -> Result<Vec<Verdict>, AppendError> {
        let writer = self.clone();
        let append = tokio::spawn(async move { writer.append_now(&batch).await });
        // The task ends early only by a panic or with its runtime.
        append
            .await
            .unwrap_or_else(|error| Err(AppendError::OutcomeUnknown(error.into())))
    }

    async fn append_now(&self, batch: &[Commit]) -> Result<Vec<Verdict>, AppendError> {
        let mut slot = self.slot.lock().await;
        let Slot::Open(idle) = &mut *slot else {
            return Err(AppendError::Unavailable(Error::PoolClosed.into()));
        };
        let connection = match idle.take() {
            Some(connection) => connection,
            None => self
                .connect()
                .await
                .map_err(|error| AppendError::Unavailable(error.into()))?,
        };
        let mut writing = Writing {
            connection,
            sound: true,
            answer_timeout: self.answer_timeout,
            hook: self.hook.get(),
            catalog: self.catalog.clone(),
        };
        let verdicts = append_in_rounds(&mut writing, batch).await;
        if writing.sound {
            *idle = Some(writing.connection);
        }
        drop(slot);
        if let Ok(verdicts) = &verdicts {
            self.announcements.appended(batch, verdicts);
        }
        verdicts
    }

    async fn connect(&self) -> Result<PgConnection, Error> {
        let connecting = async {
            let mut connection = self.options.connect().await?;
            sqlx::query(DURABLE).execute(&mut connection).await?;
            Ok(connection)
        };
        let connected = timeout(self.connect_timeout, connecting).await;
        connected.unwrap_or(Err(Error::PoolTimedOut))
    }

    pub(super) async fn close(&self) {
        let slot = std::mem::replace(&mut *self.slot.lock().await, Slot::Closed);
        if let Slot::Open(Some(connection)) = slot {
            // Only politeness towards the server is lost where this fails or takes long.
            let _ = timeout(self.connect_timeout, connection.close()).await;
        }
    }
}

/// The connection while it appends.
struct Writing {
    connection: PgConnection,
    /// Whether it may append again.
    sound: bool,
    answer_timeout: Duration,
    hook: Option<Arc<dyn AppendHook>>,
    catalog: Catalog,
}

impl AppendConnection for Writing {
    async fn insert(&mut self, commits: &[&Commit]) -> Result<Position, InsertError> {
        let limit = self.answer_timeout;
        let shapes = self.shapes(commits).await.map_err(InsertError::Failed)?;
        let statement = insert::statement(commits, &shapes).map_err(InsertError::Failed)?;
        let inserting = Inserting {
            statement,
            events: insert::event_count(commits),
        };
        if let Some(hook) = self.hook.clone() {
            return self.insert_with(&*hook, inserting, commits, &shapes).await;
        }
        let inserted = if insert::needs_the_lock_first(commits) {
            in_time(limit, inserting.locked(&mut self.connection)).await
        } else {
            in_time(limit, inserting.now(&mut self.connection)).await
        };
        match inserted {
            Ok(position) => Ok(position),
            Err(error) => Err(self.refused(error, commits, &shapes).await),
        }
    }

    async fn facts(&mut self, commits: &[&Commit]) -> Result<Facts, AppendError> {
        let shapes = self.shapes(commits).await?;
        let finding = facts(&mut self.connection, commits, &shapes);
        let found = timeout(self.answer_timeout, finding).await;
        let found = found.unwrap_or_else(|late| Err(AppendError::Unavailable(late.into())));
        self.sound = found.is_ok();
        found
    }
}

impl Writing {
    /// The shapes of the tables that commits write; none is asked for where no commit has a row.
    async fn shapes(&mut self, commits: &[&Commit]) -> Result<Shapes, AppendError> {
        if commits.iter().all(|commit| commit.row.is_none()) {
            return Ok(Shapes::new());
        }
        let asking = self.catalog.of_all(&mut self.connection, commits);
        let found = in_time(self.answer_timeout, asking).await;
        self.sound = found.is_ok();
        found.map_err(|error| AppendError::Unavailable(error.into()))
    }

    /// What it means that a statement failed.
    async fn refused(&mut self, error: Error, commits: &[&Commit], shapes: &Shapes) -> InsertError {
        // A refused batch leaves the connection as it was. After anything else a fresh one
        // is worth its price: it knows no stale plan and no lost primary.
        let failure = Failure::of(&error);
        self.sound = matches!(failure, Failure::Conflict | Failure::Unstorable);
        if shapes.is_empty() {
            return error.into();
        }
        if let Some(columns) = refused_columns(&error, shapes) {
            return InsertError::Refused(columns);
        }
        if !self.sound {
            self.catalog.forget_all(commits);
        }
        if !matches!(failure, Failure::Unstorable) {
            return error.into();
        }
        let refusal = RowRefusal::of(&error, &mut self.connection, commits, shapes);
        let refusal = timeout(self.answer_timeout, refusal).await;
        self.sound = refusal.is_ok();
        match refusal.ok().flatten() {
            Some(refusal) => InsertError::Failed(AppendError::Unstorable(refusal.into())),
            None => error.into(),
        }
    }

    /// As `insert`, with the hook's work in the same transaction.
    async fn insert_with(
        &mut self,
        hook: &dyn AppendHook,
        inserting: Inserting<'_>,
        commits: &[&Commit],
        shapes: &Shapes,
    ) -> Result<Position, InsertError> {
        let inserting = inserting.hooked(&mut self.connection, hook, commits);
        let inserted = timeout(self.answer_timeout, inserting).await;
        match inserted {
            Ok(Ok(position)) => Ok(position),
            Ok(Err(Hooked::Refused(error))) => Err(self.refused(error, commits, shapes).await),
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

/// A statement that appends, and how many events it has.
struct Inserting<'q> {
    statement: Statement<'q>,
    events: u64,
}

impl Inserting<'_> {
    /// The position of the first event, or `RowNotFound` where a stream is at another version.
    async fn now(self, connection: &mut PgConnection) -> Result<Position, Error> {
        let row = self.statement.fetch_one(connection).await?;
        let head: i64 = row.try_get(0)?;
        let head = u64::try_from(head).map_err(|error| Error::Decode(error.into()))?;
        Ok(Position::new(head + 1 - self.events))
    }

    /// As [`Self::now`], behind the lock of all writers.
    ///
    /// A statement sees the log as it was before it waited for the head's row. Where the stream
    /// gets an event that is enough, for the unique index sees what came since. A commit without
    /// events has no such guard, so its statement begins when no other writer can be at work.
    async fn locked(self, connection: &mut PgConnection) -> Result<Position, Error> {
        sqlx::query("begin").execute(&mut *connection).await?;
        let inserted = async {
            sqlx::query(LOCK).execute(&mut *connection).await?;
            let position = self.now(&mut *connection).await?;
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

    /// As [`Self::locked`], and what the hook does commits with it.
    async fn hooked(
        self,
        connection: &mut PgConnection,
        hook: &dyn AppendHook,
        commits: &[&Commit],
    ) -> Result<Position, Hooked> {
        let begun = async {
            sqlx::query("begin").execute(&mut *connection).await?;
            sqlx::query(LOCK).execute(&mut *connection).await
        };
        begun.await.map_err(Hooked::Broken)?;
        let undone = match self.now(&mut *connection).await {
            Ok(position) => {
                let events = recorded(commits, position);
                let tx = ModelTx::Postgres(&mut *connection);
                match hook.appended(&events, tx).await {
                    Ok(()) => {
                        let committed = sqlx::query("commit").execute(&mut *connection).await;
                        return committed.map(|_| position).map_err(Hooked::Broken);
                    }
                    Err(error) => Hooked::Undone(error.into()),
                }
            }
            Err(error) => Hooked::Refused(error),
        };
        // Where this fails, the connection is broken, and what was begun ends with it.
        let rolled_back = sqlx::query("rollback").execute(&mut *connection).await;
        rolled_back.map_err(Hooked::Broken)?;
        Err(undone)
    }
}

/// How an append with a hook failed.
enum Hooked {
    /// It is undone for the hook's sake, and the connection is as it was.
    Undone(InsertError),
    /// Its statement failed, and it is undone.
    Refused(Error),
    /// The connection is of no more use.
    Broken(Error),
}
