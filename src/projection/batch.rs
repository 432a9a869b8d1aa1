//! One batch: read a page of the log, apply it, move the checkpoint, in one transaction.

use std::{panic::AssertUnwindSafe, sync::Arc};

use futures_util::FutureExt as _;
use tokio::time::timeout;

use super::{Build, Projection};
use crate::{
    domain::{Position, redact_raw},
    settings::ProjectionSettings,
    store::{
        EventStore, LogQuery, Order, ReadError, RecordedEvent,
        models::{Epoch, Generation, ModelError, ModelTransaction, ModelTx, ReadModels},
    },
};

/// One generation, and what it takes to work on it.
#[derive(Debug, Clone)]
pub(super) struct Work {
    pub(super) store: Arc<dyn EventStore>,
    pub(super) models: Arc<dyn ReadModels>,
    pub(super) projection: Arc<dyn Projection>,
    pub(super) settings: ProjectionSettings,
    pub(super) generation: Generation,
    /// Whether appends of this process keep it where it is current.
    pub(super) inline: bool,
}

/// Events that are to be applied together.
#[derive(Debug)]
pub(super) struct Page {
    pub(super) events: Vec<RecordedEvent>,
    /// The checkpoint once they are applied.
    pub(super) to: Position,
    /// Whether there may be more.
    pub(super) full: bool,
}

/// What became of the last events of the log.
#[derive(Debug)]
pub(super) enum Caught {
    Up(Page),
    /// There are more than fit a page.
    NotYet,
    Refused(Page, ModelError),
}

/// Why a batch left nothing.
#[derive(Debug, thiserror::Error)]
pub(super) enum BatchError {
    /// Somebody else works on the generation, or may.
    #[error("the lease is over")]
    Fenced,
    /// An append has moved the checkpoint meanwhile.
    #[error("the checkpoint is elsewhere")]
    Moved,
    /// The same may work later.
    #[error(transparent)]
    Later(ModelError),
    /// The events are at fault.
    #[error(transparent)]
    Refused(ModelError),
}

impl From<ModelError> for BatchError {
    fn from(error: ModelError) -> Self {
        Self::Later(error)
    }
}

impl From<ReadError> for BatchError {
    fn from(error: ReadError) -> Self {
        Self::Later(ModelError::Unavailable(error.into()))
    }
}

impl Work {
    pub(super) fn build(&self, live: bool) -> Build {
        Build {
            generation: self.generation.number,
            version: self.generation.version,
            live,
        }
    }

    /// The next events, within the limits.
    pub(super) async fn page(&self, after: Position, limit: usize) -> Result<Page, ReadError> {
        let query = LogQuery {
            filter: self.projection.filter(),
            order: Order::Ascending,
            after: Some(after),
            limit: u32::try_from(limit).unwrap_or(u32::MAX),
        };
        let found = self.store.query_log(&query).await?;
        let mut page = Page {
            full: found.events.len() >= limit,
            to: found.read_to.max(after),
            events: found.events,
        };
        page.cut(self.settings.batch_bytes);
        page.events = redacted(&*self.projection, page.events);
        Ok(page)
    }

    /// Begins, and creates what is to be filled where this is the first batch.
    pub(super) async fn begin(&self) -> Result<Box<dyn ModelTransaction>, BatchError> {
        let mut transaction = self.models.begin().await?;
        let mut tx = transaction.tx();
        if tx.begin_checkpoint(&self.generation.key()).await? {
            self.projection
                .create(&self.build(false), tx.reborrow())
                .await?;
        }
        Ok(transaction)
    }

    /// Applies a page and moves the checkpoint; commits nothing.
    pub(super) async fn apply(
        &self,
        mut tx: ModelTx<'_>,
        page: &Page,
        from: Position,
        epoch: Epoch,
        live: bool,
    ) -> Result<(), BatchError> {
        // Before any row: an append takes its locks in this order too.
        if self.inline {
            let at = tx.lock_checkpoint(&self.generation.key()).await?;
            if at != Some(from) {
                return Err(BatchError::Moved);
            }
        }
        if !page.events.is_empty() {
            let build = self.build(live);
            let applied = self.projection.apply(&page.events, &build, tx.reborrow());
            // Whatever a panic has left half done is undone with the transaction.
            let applied = AssertUnwindSafe(applied).catch_unwind().await;
            applied
                .unwrap_or_else(|panic| Err(ModelError::refused(words(&*panic))))
                .map_err(|error| {
                    if error.is_retryable() {
                        BatchError::Later(error)
                    } else {
                        BatchError::Refused(error)
                    }
                })?;
        }
        let key = self.generation.key();
        if tx.move_checkpoint(&key, from, page.to, epoch).await? {
            Ok(())
        } else {
            Err(BatchError::Fenced)
        }
    }

    /// Applies a page in a transaction of its own.
    pub(super) async fn apply_and_commit(
        &self,
        page: &Page,
        from: Position,
        epoch: Epoch,
        live: bool,
    ) -> Result<(), BatchError> {
        let mut transaction = self.begin().await?;
        match self.apply(transaction.tx(), page, from, epoch, live).await {
            Ok(()) => Ok(transaction.commit().await?),
            Err(error) => {
                transaction.rollback().await;
                Err(error)
            }
        }
    }

    /// Applies the last events of the log while no append can come in between, so that the next
    /// append finds the read model current. Nothing where there are more than fit a page.
    pub(super) async fn catch_up_for_good(
        &self,
        from: Position,
        limit: usize,
        epoch: Epoch,
        live: bool,
    ) -> Result<Caught, BatchError> {
        let mut transaction = self.begin().await?;
        let mut tx = transaction.tx();
        tx.lock_log().await?;
        let page = self.page(from, limit).await?;
        if page.full {
            transaction.rollback().await;
            return Ok(Caught::NotYet);
        }
        match self.apply(tx, &page, from, epoch, live).await {
            Ok(()) => {
                transaction.commit().await?;
                Ok(Caught::Up(page))
            }
            Err(BatchError::Refused(error)) => {
                transaction.rollback().await;
                Ok(Caught::Refused(page, error))
            }
            Err(error) => Err(error),
        }
    }

    /// Runs work that may not take longer than a batch may. Cut off, it leaves nothing.
    pub(super) async fn in_time<T>(
        &self,
        work: impl Future<Output = Result<T, BatchError>>,
    ) -> Result<T, BatchError> {
        let done = timeout(self.settings.batch_timeout, work).await;
        done.unwrap_or_else(|late| Err(BatchError::Later(ModelError::Unavailable(late.into()))))
    }
}

impl Page {
    /// Keeps what is within a number of bytes; the first event always.
    fn cut(&mut self, bytes: usize) {
        let mut sum = 0_usize;
        let within = self.events.iter().take_while(|event| {
            // As in a commit, 200 bytes stand for the columns beside the data.
            sum = sum.saturating_add(event.data.get().len() + 200);
            sum <= bytes
        });
        let kept = within.count().max(1);
        if kept < self.events.len() {
            self.events.truncate(kept);
            self.full = true;
            if let Some(last) = self.events.last() {
                self.to = last.position;
            }
        }
    }
}

/// The events as a projection sees them.
pub(super) fn redacted(
    projection: &dyn Projection,
    mut events: Vec<RecordedEvent>,
) -> Vec<RecordedEvent> {
    if !projection.sees_secrets() {
        for event in &mut events {
            event.data = redact_raw(std::mem::take(&mut event.data));
        }
    }
    events
}

/// What a panic said.
pub(super) fn words(panic: &(dyn std::any::Any + Send)) -> String {
    let said = panic
        .downcast_ref::<&str>()
        .map(|said| (*said).to_owned())
        .or_else(|| panic.downcast_ref::<String>().cloned());
    said.map_or_else(
        || "the projection panicked".to_owned(),
        |said| format!("the projection panicked: {said}"),
    )
}
