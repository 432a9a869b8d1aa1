//! Verifying: every row is held against the fold of its events, in parallel, and nothing is written.

mod draw;
mod page;

use std::sync::Arc;

use tokio::task::JoinSet;

use self::{
    draw::{Reservoir, one_by_one, pages},
    page::{Compared, compare_log, compare_rows, rowless},
};
use super::{
    Adoption, AdoptionError, Inner,
    compare::Finding,
    mapping::Mapped,
    walk::{Cursor, Page, Walk},
};
use crate::store::RowAccess;

/// Events in each look-up of an aggregate that is looked at on its own.
pub(super) const PAGE: u32 = 1000;

/// What is compared, and how much of it at once.
#[derive(Debug, Clone)]
pub struct VerifyOptions {
    /// Rows or aggregates in a page.
    pub page: u32,
    /// Pages at once, one at least.
    pub parallel: usize,
    /// So many of them, drawn at random; all of them without it.
    pub sample: Option<u64>,
    /// From here on.
    pub from: Cursor,
    /// So many pages at most.
    pub pages: Option<u64>,
}

impl Default for VerifyOptions {
    fn default() -> Self {
        Self {
            page: 1000,
            parallel: 1,
            sample: None,
            from: Cursor::START,
            pages: None,
        }
    }
}

/// What a run found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Verified {
    /// Rows, and aggregates without one, that were compared.
    pub compared: u64,
    /// Those that do not agree; each was told.
    pub drifted: u64,
    /// Where a further run would go on; nothing where all is compared.
    pub stopped_at: Option<Cursor>,
}

/// What a run tells while it goes on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum VerifyProgress {
    /// So many more have been compared.
    Compared(u64),
    /// So many more have been passed over, because they were not drawn.
    PassedOver(u64),
    /// One that does not agree.
    Finding(Finding),
}

impl Adoption {
    /// Compares the rows of a type with the folds of their events. `tell` hears of each that does
    /// not agree. It writes nothing, and may run beside servers: what looks different is looked at
    /// again until row and events are of one moment.
    ///
    /// # Errors
    /// [`AdoptionError`] where the type is unknown, its table does not fit, or the store is gone.
    pub async fn verify(
        &self,
        aggregate_type: &str,
        options: VerifyOptions,
        mut tell: impl FnMut(VerifyProgress) + Send,
    ) -> Result<Verified, AdoptionError> {
        let mapped = self.checked(aggregate_type, RowAccess::Read).await?;
        let mut walk = self.walk(&mapped, options.from, options.page);
        let mut run = Run {
            inner: Arc::clone(&self.inner),
            mapped,
            parallel: options.parallel.max(1),
            running: JoinSet::new(),
            with_events: 0,
            done: Verified::default(),
            tell: &mut tell,
        };
        if let Some(sample) = options.sample {
            run.sample(&mut walk, sample).await?;
            return run.end().await;
        }
        // Only a walk from the start has seen all rows.
        let whole = walk.cursor == Some(Cursor::START);
        let mut pages = 0;
        while let Some(page) = walk.next().await? {
            run.page(page).await?;
            pages += 1;
            if options.pages.is_some_and(|most| pages >= most) {
                break;
            }
            if whole && walk.cursor == Some(Cursor::Log(None)) && run.all_have_rows().await? {
                walk.cursor = None;
            }
        }
        run.done.stopped_at = walk.cursor.take();
        run.end().await
    }
}

struct Run<'a> {
    inner: Arc<Inner>,
    mapped: Arc<dyn Mapped>,
    parallel: usize,
    running: JoinSet<Result<Compared, AdoptionError>>,
    /// Rows so far that have events.
    with_events: u64,
    done: Verified,
    tell: &'a mut (dyn FnMut(VerifyProgress) + Send),
}

impl Run<'_> {
    /// Draws so many of all there are, and compares them.
    async fn sample(&mut self, walk: &mut Walk, sample: u64) -> Result<(), AdoptionError> {
        let wanted = usize::try_from(sample).unwrap_or(usize::MAX);
        let (mut rows, mut log) = (Reservoir::new(wanted), Reservoir::new(wanted));
        while let Some(page) = walk.next().await? {
            match page {
                Page::Rows(page) => {
                    (self.tell)(VerifyProgress::PassedOver(page.len() as u64));
                    for row in page {
                        rows.offer(row);
                    }
                }
                Page::Log(page) => {
                    for id in page {
                        log.offer(id);
                    }
                }
            }
        }
        // One with a row is among the rows: of the log those without count.
        let mut without_row = Vec::new();
        for ids in pages(log.drawn, walk.page) {
            without_row.extend(rowless(&self.inner, &*self.mapped, ids).await?);
        }
        let (rows, log) = one_by_one(rows.drawn, without_row, wanted);
        for page in pages(rows, walk.page) {
            self.page(Page::Rows(page)).await?;
        }
        for page in pages(log, walk.page) {
            self.page(Page::Log(page)).await?;
        }
        Ok(())
    }

    /// Whether no aggregate is left that has no row: events stay for ever and keys are unique, so
    /// there are never more rows with events than aggregates, and as many only where each has one.
    async fn all_have_rows(&mut self) -> Result<bool, AdoptionError> {
        while !self.running.is_empty() {
            self.finish().await?;
        }
        let store = &self.inner.store;
        let aggregates = store.count_aggregates(self.mapped.aggregate_type()).await?;
        Ok(aggregates == self.with_events)
    }

    /// Begins with a page, once there is room for it.
    async fn page(&mut self, page: Page) -> Result<(), AdoptionError> {
        while self.running.len() >= self.parallel {
            self.finish().await?;
        }
        let (inner, mapped) = (Arc::clone(&self.inner), Arc::clone(&self.mapped));
        self.running.spawn(async move {
            match page {
                Page::Rows(rows) => compare_rows(&inner, &*mapped, rows).await,
                Page::Log(ids) => compare_log(&inner, &*mapped, ids).await,
            }
        });
        Ok(())
    }

    async fn finish(&mut self) -> Result<(), AdoptionError> {
        let Some(done) = self.running.join_next().await else {
            return Ok(());
        };
        let done = done.map_err(|error| AdoptionError::BrokenOff(error.to_string()));
        let done = done??;
        self.done.compared += done.count;
        self.done.drifted += done.findings.len() as u64;
        self.with_events += done.with_events;
        for finding in done.findings {
            (self.tell)(VerifyProgress::Finding(finding));
        }
        (self.tell)(VerifyProgress::Compared(done.count));
        Ok(())
    }

    async fn end(mut self) -> Result<Verified, AdoptionError> {
        while !self.running.is_empty() {
            self.finish().await?;
        }
        Ok(self.done)
    }
}
