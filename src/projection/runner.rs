//! Works on one generation: gets its lease, holds it, applies batch after batch, gives it back.

mod lease;

use std::{sync::Arc, time::Duration};

use tokio::sync::watch;
use tracing::{info, warn};

use self::lease::Acquired;
use super::{
    applied::Applied,
    batch::{BatchError, Caught, Page, Work},
    supervisor::{is_over, pause},
    switch::Switched,
};
use crate::{
    domain::{IdGenerator, Position, error_chain},
    store::models::{Epoch, ModelError},
};

/// The pauses between two looks at the log, and between two tries, begin with this and double.
const FIRST_PAUSE: Duration = Duration::from_millis(5);

/// One generation that this process may work on.
#[derive(Debug)]
pub(super) struct Runner {
    pub(super) work: Work,
    /// What this process calls itself in a lease.
    pub(super) holder: String,
    /// What pauses are drawn from.
    pub(super) ids: Arc<IdGenerator>,
    pub(super) applied: Arc<Applied>,
    pub(super) stopped: watch::Receiver<bool>,
}

/// Where the work on a generation is, under one lease.
#[derive(Debug)]
pub(super) struct Progress {
    pub(super) epoch: Epoch,
    /// The checkpoint; not known after a failure.
    at: Option<Position>,
    live: bool,
    /// How many events the next batch may have.
    pub(super) limit: usize,
    idle: Duration,
    retry: Duration,
    /// Whether the database says that the projection has stopped.
    noted_stop: bool,
}

/// How the work under a lease ended.
#[derive(Debug, PartialEq, Eq)]
enum End {
    /// Asked to, stopped at an event, or replaced: there is nothing left to do here.
    Done,
    /// Somebody else has the lease, or may have it.
    Fenced,
}

impl Runner {
    pub(super) async fn run(self) {
        let mut stopped = self.stopped.clone();
        let mut retry = FIRST_PAUSE;
        while !is_over(&stopped) {
            match self.acquire().await {
                Ok(Acquired::Lease(progress)) => {
                    retry = FIRST_PAUSE;
                    if self.hold(progress).await == End::Done {
                        return;
                    }
                }
                Ok(Acquired::Replaced) => return,
                Ok(Acquired::Held) => {
                    // A holder that ends gives it back at once; one that dies, by its expiry.
                    let look = (self.work.settings.lease / 4).min(Duration::from_secs(1));
                    pause(self.jittered(look), &mut stopped).await;
                }
                Err(error) => {
                    self.note_failure(&error);
                    pause(self.jittered(retry), &mut stopped).await;
                    retry = (retry * 2).min(self.work.settings.retry);
                }
            }
        }
    }

    async fn work_on(&self, mut progress: Progress) -> End {
        let mut stopped = self.stopped.clone();
        let mut hints = self.work.store.hints();
        loop {
            if is_over(&stopped) {
                return End::Done;
            }
            match self.step(&mut progress).await {
                Ok(Step::More) => progress.retry = FIRST_PAUSE,
                Ok(Step::Caught { idle }) => {
                    progress.retry = FIRST_PAUSE;
                    self.wait_for_events(&mut progress, idle, &mut hints, &mut stopped)
                        .await;
                }
                Ok(Step::StandsStill) => return End::Done,
                Err(BatchError::Fenced) => return End::Fenced,
                Err(BatchError::Moved) => progress.at = None,
                Err(BatchError::Later(error) | BatchError::Refused(error)) => {
                    self.note_failure(&error);
                    progress.at = None;
                    // Less at once may be within a limit that all at once is not.
                    progress.limit = (progress.limit / 2).max(1);
                    pause(self.jittered(progress.retry), &mut stopped).await;
                    progress.retry = (progress.retry * 2).min(self.work.settings.retry);
                }
            }
        }
    }

    /// Waits for a hint, and not longer than the time between two looks at the log, which grows
    /// while nothing happens.
    async fn wait_for_events(
        &self,
        progress: &mut Progress,
        idle: bool,
        hints: &mut Option<watch::Receiver<Position>>,
        stopped: &mut watch::Receiver<bool>,
    ) {
        let awaited = self.applied.is_awaited();
        progress.idle = if idle && !awaited {
            (progress.idle * 2).min(self.work.settings.poll)
        } else {
            FIRST_PAUSE.min(self.work.settings.poll)
        };
        // Under load a hint comes with every batch of the journal. A transaction for each would take
        // a quarter of the database's time from the appends (measured over HTTP on two cores), and
        // nobody sees the difference but who waits for it, and that one is heard at once.
        if !awaited {
            tokio::select! {
                biased;
                () = pause(self.work.settings.gather, stopped) => {}
                () = self.applied.look.notified() => return,
            }
        }
        tokio::select! {
            biased;
            () = pause(progress.idle, stopped) => {}
            () = self.applied.look.notified() => {}
            () = hinted(hints) => {}
        }
    }

    /// One page of the log, from reading it to the commit.
    async fn step(&self, progress: &mut Progress) -> Result<Step, BatchError> {
        // Appends move the checkpoint of an inline one.
        let known = progress.at.filter(|_| !self.work.inline);
        let from = match known {
            Some(at) => at,
            None => self.in_database().await?,
        };
        let page = self.work.page(from, progress.limit).await?;
        if !progress.live && !page.full {
            return self.switch(progress, from).await;
        }
        if page.to == from && progress.at.is_some() {
            progress.at = Some(from);
            if progress.live {
                self.applied.reached(from);
            }
            return Ok(Step::Caught { idle: true });
        }
        if self.work.inline && !page.full {
            return self.catch_up_for_good(progress, from).await;
        }
        let applying = self
            .work
            .apply_and_commit(&page, from, progress.epoch, progress.live);
        match self.work.in_time(applying).await {
            Ok(()) => {
                self.committed(progress, &page).await?;
                Ok(if page.full {
                    Step::More
                } else {
                    let idle = page.events.is_empty();
                    Step::Caught { idle }
                })
            }
            Err(BatchError::Refused(error)) => self.refused(progress, from, page, error).await,
            Err(error) => Err(error),
        }
    }

    /// The checkpoint, as the database has it.
    async fn in_database(&self) -> Result<Position, BatchError> {
        let mut snapshot = self.work.models.snapshot().await?;
        let key = self.work.generation.key();
        let found = snapshot.tx().checkpoint(&key).await?;
        snapshot.rollback().await;
        Ok(found.unwrap_or(Position::ZERO))
    }

    /// Takes the place of the generation in use, with what is left to apply.
    async fn switch(&self, progress: &mut Progress, from: Position) -> Result<Step, BatchError> {
        let switching = self.work.switch(from, progress.limit, progress.epoch);
        match self.work.in_time(switching).await? {
            Switched::Serving(page) => {
                progress.live = true;
                info!(
                    projection = self.work.generation.name,
                    generation = self.work.generation.number,
                    position = page.to.get(),
                    "readers see a new read model"
                );
                self.settle(progress, &page).await?;
                Ok(Step::Caught { idle: false })
            }
            Switched::NotYet => Ok(Step::More),
            Switched::Replaced => Ok(Step::StandsStill),
            Switched::Refused(page, error) => self.refused(progress, from, page, error).await,
        }
    }

    /// Brings an inline one to the end of the log, from where on appends keep it.
    async fn catch_up_for_good(
        &self,
        progress: &mut Progress,
        from: Position,
    ) -> Result<Step, BatchError> {
        let (limit, epoch, live) = (progress.limit, progress.epoch, progress.live);
        let catching = self.work.catch_up_for_good(from, limit, epoch, live);
        match self.work.in_time(catching).await? {
            Caught::Up(page) => {
                self.committed(progress, &page).await?;
                Ok(Step::Caught { idle: false })
            }
            Caught::NotYet => {
                // Page by page as far as it takes, and then here again.
                progress.limit = self.work.settings.batch_events;
                Ok(Step::More)
            }
            Caught::Refused(page, error) => self.refused(progress, from, page, error).await,
        }
    }

    async fn committed(&self, progress: &mut Progress, page: &Page) -> Result<(), BatchError> {
        self.settle(progress, page).await?;
        if progress.live && !page.events.is_empty() {
            self.work.projection.after_commit(&page.events).await;
        }
        Ok(())
    }

    /// What follows from a page that is applied for good.
    pub(super) async fn settle(
        &self,
        progress: &mut Progress,
        page: &Page,
    ) -> Result<(), BatchError> {
        progress.at = Some(page.to);
        let most = self.work.settings.batch_events;
        progress.limit = progress.limit.saturating_mul(2).min(most);
        if progress.live {
            self.applied.reached(page.to);
        }
        *self.failing() = None;
        if progress.noted_stop && !page.events.is_empty() {
            self.note_stop(progress.epoch, None).await?;
            progress.noted_stop = false;
        }
        Ok(())
    }

    /// Between half of it and all: so that those who failed together do not come back together.
    fn jittered(&self, time: Duration) -> Duration {
        // A new id is as good a die as any, and the only one here that can be seeded.
        let percent = u32::try_from(self.ids.next().random() % 50).unwrap_or(0);
        time * (50 + percent) / 100
    }

    /// Tells a failure once, and keeps it for whoever asks.
    fn note_failure(&self, error: &ModelError) {
        let error = error_chain(error);
        let known = self.failing().replace(error.clone());
        if known.is_none() {
            let projection = self.work.generation.name.as_str();
            warn!(
                projection,
                error, "a projection cannot go on and tries again"
            );
        }
    }

    fn failing(&self) -> std::sync::MutexGuard<'_, Option<String>> {
        let failing = self.applied.failing.lock();
        failing.unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

/// What one page led to.
#[derive(Debug)]
pub(super) enum Step {
    More,
    /// The end of the log, as of now.
    Caught {
        /// Whether nothing had happened.
        idle: bool,
    },
    StandsStill,
}

/// Waits for a hint that the log has grown; for ever where the store gives none.
async fn hinted(hints: &mut Option<watch::Receiver<Position>>) {
    if let Some(receiver) = hints {
        if receiver.changed().await.is_ok() {
            return;
        }
        // The store is closed, or gives no more: from here on it is polled.
        *hints = None;
    }
    std::future::pending::<()>().await;
}
