//! The connection while it appends: one batch, one transaction.

use std::{future::Future, sync::Arc, time::Duration};

use sqlx::{AssertSqlSafe, Error, Row as _, postgres::PgConnection};
use tokio::time::timeout;

use super::{
    errors::Failure,
    facts::facts,
    foreign::{self, After, Page},
    insert::{self, Look},
    reads::Statement,
    state::{Catalog, RowRefusal, Shapes, refused_columns},
};
use crate::{
    domain::{Position, StreamId},
    store::{
        AppendError, Commit, Numbering,
        admission::Facts,
        models::{AppendHook, ModelTx},
        rounds::{AppendConnection, InsertError, recorded},
    },
};

/// What objects where a claim is held.
const CLAIMS_KEY: &str = "aggregate_claims_pkey";

/// Events numbered while a batch waits for them: those of its streams, a page of each.
const PAGE_ON_SIGHT: u32 = 1000;

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

/// The connection while it appends.
pub(super) struct Writing {
    pub(super) connection: PgConnection,
    /// Whether it may append again.
    pub(super) sound: bool,
    /// Whether something was in the way already: then the head is locked first, so that it is
    /// known who is waited for.
    pub(super) careful: bool,
    pub(super) answer_timeout: Duration,
    pub(super) hook: Option<Arc<dyn AppendHook>>,
    pub(super) catalog: Catalog,
    pub(super) openings: Arc<Openings>,
    /// The statement for all that is appended, where it could be made before.
    pub(super) ready: Option<Ready>,
    /// Whether a claim that is taken was held, so that it is to be looked by whom.
    pub(super) in_doubt: bool,
}

/// A statement that was made before its turn came, while another batch was stored.
pub(super) struct Ready {
    inserting: Inserting<'static>,
    shapes: Shapes,
    commits: usize,
}

impl Ready {
    /// For a whole batch; none where the shape of a table has to be asked for, or a row has no place.
    pub(super) fn of(batch: &[Commit], catalog: &Catalog) -> Option<Self> {
        let commits: Vec<&Commit> = batch.iter().collect();
        let shapes = catalog.known_of_all(&commits)?;
        let inserting = Inserting::new(&commits, &shapes, Look::Later).ok()?;
        Some(Self {
            inserting,
            shapes,
            commits: commits.len(),
        })
    }

    /// A round has commits of the batch in their order, so it has all or fewer.
    fn is_for(&self, commits: &[&Commit], shapes: &Shapes) -> bool {
        let is_as_then = |(name, shape)| {
            let then = self.shapes.get::<String>(name);
            then.is_some_and(|then| Arc::ptr_eq(then, shape))
        };
        self.commits == commits.len() && shapes.iter().all(is_as_then)
    }
}

impl AppendConnection for Writing {
    async fn insert(&mut self, commits: &[&Commit]) -> Result<Position, InsertError> {
        let shapes = self.shapes(commits).await.map_err(InsertError::Failed)?;
        if let Some(hook) = self.hook.clone() {
            return self.insert_with(&*hook, commits, &shapes).await;
        }
        let limit = self.answer_timeout;
        if !self.careful && !insert::needs_the_lock_first(commits) {
            let statement = self.inserting(commits, &shapes)?;
            match in_time(limit, statement.now(&mut self.connection)).await {
                Ok(position) => return Ok(position),
                Err(error) if is_blocked(&error) => self.careful = true,
                Err(error) => return Err(self.refused(error, commits, &shapes).await),
            }
        }
        let openings = Arc::clone(&self.openings);
        let statement = self.inserting(commits, &shapes)?;
        let inserting = insert_locked(&mut self.connection, &openings, statement);
        match timeout(limit, inserting).await {
            Ok(Err(Undone::Statement(error))) => Err(self.refused(error, commits, &shapes).await),
            inserted => self.ended(inserted),
        }
    }

    async fn facts(&mut self, commits: &[&Commit]) -> Result<Facts, AppendError> {
        let mut streams: Vec<&StreamId> = commits.iter().map(|commit| &commit.stream).collect();
        streams.sort_unstable();
        streams.dedup();
        self.number_on_sight(&streams).await?;
        let shapes = self.shapes(commits).await?;
        let finding = facts(&mut self.connection, commits, &shapes);
        let found = timeout(self.answer_timeout, finding).await;
        let found = found.unwrap_or_else(|late| Err(AppendError::Unavailable(late.into())));
        self.sound = found.is_ok();
        found
    }
}

impl Writing {
    /// The statement of a round: the one that is ready, if it is for all of these.
    fn inserting(
        &mut self,
        commits: &[&Commit],
        shapes: &Shapes,
    ) -> Result<Inserting<'static>, InsertError> {
        let ready = self.ready.take();
        if self.in_doubt {
            return Inserting::new(commits, shapes, Look::First);
        }
        match ready {
            Some(ready) if ready.is_for(commits, shapes) => Ok(ready.inserting),
            Some(_) | None => Inserting::new(commits, shapes, Look::Later),
        }
    }

    /// As `insert`, with the hook's work in the same transaction.
    async fn insert_with(
        &mut self,
        hook: &dyn AppendHook,
        commits: &[&Commit],
        shapes: &Shapes,
    ) -> Result<Position, InsertError> {
        let openings = Arc::clone(&self.openings);
        let statement = self.inserting(commits, shapes)?;
        let connection = &mut self.connection;
        let inserting = insert_hooked(connection, &openings, hook, statement, commits);
        match timeout(self.answer_timeout, inserting).await {
            Ok(Err(Undone::Statement(error))) => Err(self.refused(error, commits, shapes).await),
            inserted => self.ended(inserted),
        }
    }

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

    /// What it means that the statement of an append failed.
    async fn refused(&mut self, error: Error, commits: &[&Commit], shapes: &Shapes) -> InsertError {
        // A refused batch leaves the connection as it was. After anything else a
        // fresh one is worth its price: it knows no stale plan and no lost primary.
        let failure = Failure::of(&error);
        self.in_doubt |= is_claim_held(&error);
        self.sound = matches!(
            failure,
            Failure::Conflict | Failure::Unstorable | Failure::Blocked
        );
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

    /// What came of a transaction, and whether the connection is of further use.
    fn ended<T>(
        &mut self,
        done: Result<Result<T, Undone>, tokio::time::error::Elapsed>,
    ) -> Result<T, InsertError> {
        match done {
            Ok(Ok(done)) => Ok(done),
            Ok(Err(Undone::Whole(error))) => {
                self.sound &= !matches!(error, InsertError::Failed(AppendError::Unavailable(_)));
                Err(error)
            }
            Ok(Err(Undone::Statement(error))) => Err(error.into()),
            Ok(Err(Undone::Broken(error))) => {
                self.sound = false;
                Err(error.into())
            }
            Err(late) => {
                self.sound = false;
                Err(Error::Io(late.into()).into())
            }
        }
    }

    /// Numbers what these streams have that is not, so that what follows it may be stored; gives
    /// what was numbered, and what cannot be.
    pub(super) async fn number_on_sight(
        &mut self,
        streams: &[&StreamId],
    ) -> Result<Numbering, AppendError> {
        let found = foreign::unnumbered(&mut self.connection, streams);
        let found = timeout(self.answer_timeout, found).await;
        let unnumbered = match found {
            Ok(Ok(unnumbered)) => unnumbered,
            Ok(Err(error)) => return Err(self.gave_up(error)),
            Err(late) => return Err(self.gave_up(late)),
        };
        let mut all = Numbering::default();
        for stream in unnumbered {
            let page = self.number(&After::before(stream), PAGE_ON_SIGHT).await?;
            all.numbered += page.numbering.numbered;
            all.last = all.last.max(page.numbering.last);
            all.refused.extend(page.numbering.refused);
        }
        Ok(all)
    }

    fn gave_up(&mut self, error: impl Into<crate::store::Cause>) -> AppendError {
        self.sound = false;
        AppendError::Unavailable(error.into())
    }

    /// Numbers a page of what other programs have stored.
    pub(super) async fn number(&mut self, after: &After, limit: u32) -> Result<Page, AppendError> {
        let any = timeout(self.answer_timeout, foreign::any(&mut self.connection)).await;
        match any {
            Ok(Ok(true)) => {}
            Ok(Ok(false)) => return Ok(Page::default()),
            Ok(Err(error)) => return Err(self.gave_up(error)),
            Err(late) => return Err(self.gave_up(late)),
        }
        let hook = self.hook.clone();
        match self.number_with(hook.as_deref(), after, limit).await {
            // An inline projection that cannot apply an event must not keep all from being
            // numbered: it is left behind, and its runner meets the event.
            Err(InsertError::Failed(AppendError::Unstorable(_))) if hook.is_some() => {
                self.number_with(None, after, limit).await
            }
            numbered => numbered,
        }
        .map_err(|error| match error {
            InsertError::Failed(error) => error,
            InsertError::Conflict | InsertError::Blocked | InsertError::Refused(_) => {
                AppendError::Contended
            }
        })
    }

    async fn number_with(
        &mut self,
        hook: Option<&dyn AppendHook>,
        after: &After,
        limit: u32,
    ) -> Result<Page, InsertError> {
        let openings = Arc::clone(&self.openings);
        let numbering = number_locked(&mut self.connection, &openings, hook, after, limit);
        let numbered = timeout(self.answer_timeout, numbering).await;
        self.ended(numbered)
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
    fn new(commits: &[&Commit], shapes: &Shapes, look: Look) -> Result<Self, InsertError> {
        let statement = insert::statement(commits, shapes, look).map_err(InsertError::Failed)?;
        Ok(Self {
            statement,
            events: insert::event_count(commits),
        })
    }

    /// The position of the first event, or `RowNotFound` where a stream is at another version.
    async fn now(self, connection: &mut PgConnection) -> Result<Position, Error> {
        let row = self.statement.fetch_one(connection).await?;
        let head: i64 = row.try_get(0)?;
        let head = u64::try_from(head).map_err(|error| Error::Decode(error.into()))?;
        Ok(Position::new(head + 1 - self.events))
    }
}

/// How a transaction failed.
enum Undone {
    /// It is undone, and the connection is as it was.
    Whole(InsertError),
    /// It is undone because its statement failed so.
    Statement(Error),
    /// The connection is of no more use.
    Broken(Error),
}

fn is_claim_held(error: &Error) -> bool {
    let error = error.as_database_error();
    error.and_then(|error| error.constraint()) == Some(CLAIMS_KEY)
}

fn is_blocked(error: &Error) -> bool {
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
async fn insert_locked(
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
async fn insert_hooked(
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
    events: &[crate::store::RecordedEvent],
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
async fn number_locked(
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
