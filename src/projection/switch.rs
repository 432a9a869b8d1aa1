//! The switch: a generation that is nearly complete takes the place of the one in use.

use super::batch::{BatchError, Page, Work};
use crate::{
    domain::Position,
    store::models::{Epoch, ModelError},
};

/// What became of an attempt to switch.
#[derive(Debug)]
pub(super) enum Switched {
    /// Readers see this generation; the last page before is applied.
    Serving(Page),
    /// There is more to apply first.
    NotYet,
    /// A later generation has taken the place already.
    Replaced,
    /// The last page cannot be applied.
    Refused(Page, ModelError),
}

impl Work {
    /// Applies what is left and shows the generation to readers, in one transaction.
    ///
    /// The generation in use cannot move on meanwhile, so readers never go back in the log; and
    /// whoever works on it has lost its lease when this commits, so no event has its effects twice.
    pub(super) async fn switch(
        &self,
        from: Position,
        limit: usize,
        epoch: Epoch,
    ) -> Result<Switched, BatchError> {
        let name = &self.generation.name;
        let mut transaction = self.begin().await?;
        let mut tx = transaction.tx();
        if self.inline {
            tx.lock_log().await?;
        }
        tx.lock_projection(name).await?;
        let generations = tx.generations(Some(name)).await?;
        let this = generations
            .iter()
            .find(|one| one.number == self.generation.number);
        if this.is_none_or(|this| this.retired) {
            transaction.rollback().await;
            return Ok(Switched::Replaced);
        }
        let serving = generations.iter().find(|one| one.serving);
        let least = match serving {
            Some(serving) => tx.lock_checkpoint(&serving.key()).await?,
            None => None,
        };
        // The log is read after the lock, so it reaches at least as far as the other has come.
        let page = self.page(from, limit).await?;
        if page.full || least.is_some_and(|least| page.to < least) {
            transaction.rollback().await;
            return Ok(Switched::NotYet);
        }
        match self.apply(tx.reborrow(), &page, from, epoch, false).await {
            Ok(()) => {}
            Err(BatchError::Refused(error)) => {
                transaction.rollback().await;
                return Ok(Switched::Refused(page, error));
            }
            Err(error) => return Err(error),
        }
        if let Some(serving) = serving {
            tx.revoke_lease(&serving.key()).await?;
        }
        tx.serve_generation(name, self.generation.number).await?;
        transaction.commit().await?;
        Ok(Switched::Serving(page))
    }
}
