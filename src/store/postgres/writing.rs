//! The connection while it appends: one batch, one transaction.

use std::{future::Future, sync::Arc, time::Duration};

use sqlx::{Error, postgres::PgConnection};
use tokio::time::timeout;

use super::{
    errors::Failure,
    facts::facts,
    foreign::{self, After, Page},
    insert::{self, Look},
    inserting::{Inserting, Ready},
    state::{Catalog, RowRefusal, Shapes, refused_columns},
    transaction::{Openings, Undone, insert_hooked, insert_locked, is_blocked, number_locked},
};
use crate::{
    domain::{Position, StreamId},
    store::{
        AppendError, Commit, Numbering,
        admission::Facts,
        models::AppendHook,
        rounds::{AppendConnection, InsertError},
    },
};

/// What objects where a claim is held.
const CLAIMS_KEY: &str = "aggregate_claims_pkey";

/// Events numbered while a batch waits for them: those of its streams, a page of each.
const PAGE_ON_SIGHT: u32 = 1000;

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

fn is_claim_held(error: &Error) -> bool {
    let error = error.as_database_error();
    error.and_then(|error| error.constraint()) == Some(CLAIMS_KEY)
}
