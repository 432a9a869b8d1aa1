//! The lease on a generation: gotten, held while the work goes on, and given back.

use tokio::time::sleep;
use tracing::{info, warn};

use super::{End, FIRST_PAUSE, Progress, Runner};
use crate::{
    domain::error_chain,
    store::models::{Epoch, ModelError},
};

/// What became of an attempt to get a lease.
#[derive(Debug)]
pub(super) enum Acquired {
    Lease(Progress),
    Held,
    /// The generation is not wanted any more.
    Replaced,
}

impl Runner {
    /// Gets the lease if nobody holds it.
    pub(super) async fn acquire(&self) -> Result<Acquired, ModelError> {
        let generation = &self.work.generation;
        let mut transaction = self.work.models.begin().await?;
        let mut tx = transaction.tx();
        let generations = tx.generations(Some(&generation.name)).await?;
        let now = generations
            .into_iter()
            .find(|one| one.number == generation.number);
        let Some(now) = now.filter(|now| !now.retired) else {
            transaction.rollback().await;
            return Ok(Acquired::Replaced);
        };
        let lease = self.work.settings.lease;
        let acquired = tx
            .acquire_lease(&generation.key(), &self.holder, lease)
            .await?;
        let Some(epoch) = acquired else {
            transaction.rollback().await;
            return Ok(Acquired::Held);
        };
        transaction.commit().await?;
        info!(
            projection = generation.name,
            generation = generation.number,
            epoch = epoch.get(),
            "working on a read model"
        );
        Ok(Acquired::Lease(Progress {
            epoch,
            at: None,
            live: now.serving,
            limit: self.work.settings.batch_events,
            idle: FIRST_PAUSE,
            retry: FIRST_PAUSE,
            noted_stop: now.stopped.is_some(),
        }))
    }

    /// Works under a lease while it is renewed. Where it cannot be, the work is cut off, and what
    /// it has begun is undone.
    pub(super) async fn hold(&self, progress: Progress) -> End {
        let epoch = progress.epoch;
        let end = tokio::select! {
            biased;
            end = self.work_on(progress) => end,
            () = self.renew(epoch) => End::Fenced,
        };
        match end {
            End::Done => {
                if let Err(error) = self.release(epoch).await {
                    // It expires by itself.
                    warn!(
                        error = error_chain(&error),
                        "a lease could not be given back"
                    );
                }
            }
            End::Fenced => warn!(
                projection = self.work.generation.name,
                epoch = epoch.get(),
                "the lease on a read model is lost"
            ),
        }
        end
    }

    /// Comes back when the lease is lost.
    async fn renew(&self, epoch: Epoch) {
        let lease = self.work.settings.lease;
        loop {
            sleep(lease / 3).await;
            match self.renew_once(epoch).await {
                Ok(true) => {}
                Ok(false) => return,
                // While it cannot be asked, the fence in the database holds.
                Err(error) => self.note_failure(&error),
            }
        }
    }

    async fn renew_once(&self, epoch: Epoch) -> Result<bool, ModelError> {
        let mut transaction = self.work.models.begin().await?;
        let key = self.work.generation.key();
        let lease = self.work.settings.lease;
        let held = transaction.tx().renew_lease(&key, epoch, lease).await?;
        transaction.commit().await?;
        Ok(held)
    }

    async fn release(&self, epoch: Epoch) -> Result<(), ModelError> {
        let mut transaction = self.work.models.begin().await?;
        let key = self.work.generation.key();
        transaction.tx().release_lease(&key, epoch).await?;
        transaction.commit().await
    }
}
