//! What becomes of an event that cannot be applied: found, told, and stopped at or parked.

use tracing::{error, warn};

use super::{
    Unapplicable,
    batch::{BatchError, Page},
    runner::{Progress, Runner, Step},
};
use crate::{
    domain::{Position, error_chain},
    store::{
        RecordedEvent,
        models::{Epoch, ModelError, Stopped},
    },
};

impl Runner {
    /// Finds the event that cannot be applied: the batches get smaller until it is alone.
    pub(super) async fn refused(
        &self,
        progress: &mut Progress,
        from: Position,
        mut page: Page,
        error: ModelError,
    ) -> Result<Step, BatchError> {
        if page.events.len() > 1 {
            progress.limit = page.events.len() / 2;
            return Ok(Step::More);
        }
        let Some(event) = page.events.pop() else {
            return Err(BatchError::Refused(error));
        };
        let reason = error_chain(&error);
        match self.work.projection.when_unapplicable() {
            Unapplicable::Stop => {
                self.stand_still(progress, &event, reason).await?;
                Ok(Step::StandsStill)
            }
            Unapplicable::Park => {
                let key = self.work.generation.key();
                let mut transaction = self.work.begin().await?;
                let mut tx = transaction.tx();
                let generation = &self.work.generation;
                tx.park(
                    &generation.name,
                    generation.number,
                    event.position,
                    event.id,
                    &reason,
                )
                .await?;
                let to = event.position;
                if !tx.move_checkpoint(&key, from, to, progress.epoch).await? {
                    return Err(BatchError::Fenced);
                }
                transaction.commit().await?;
                warn!(
                    projection = generation.name,
                    position = to.get(),
                    event = %event.id,
                    error = reason,
                    "an event that cannot be applied is parked"
                );
                page.to = to;
                self.settle(progress, &page).await?;
                Ok(Step::More)
            }
        }
    }

    async fn stand_still(
        &self,
        progress: &Progress,
        event: &RecordedEvent,
        error: String,
    ) -> Result<(), BatchError> {
        error!(
            projection = self.work.generation.name,
            generation = self.work.generation.number,
            position = event.position.get(),
            event = %event.id,
            error,
            "a projection stands still before an event that it cannot apply"
        );
        let stopped = Stopped {
            position: event.position,
            event_id: event.id.to_string(),
            error,
        };
        self.note_stop(progress.epoch, Some(&stopped)).await
    }

    pub(super) async fn note_stop(
        &self,
        epoch: Epoch,
        stopped: Option<&Stopped>,
    ) -> Result<(), BatchError> {
        let generation = &self.work.generation;
        let mut transaction = self.work.begin().await?;
        let mut tx = transaction.tx();
        let lease = self.work.settings.lease;
        if !tx.renew_lease(&generation.key(), epoch, lease).await? {
            return Err(BatchError::Fenced);
        }
        tx.set_stopped(&generation.name, generation.number, stopped)
            .await?;
        Ok(transaction.commit().await?)
    }
}
