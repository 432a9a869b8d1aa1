//! Inline projections: applied in the append's own transaction, so that they are never behind.
//!
//! A read model that is at the end of the log gets the events of an append in the transaction that
//! stores them. One that is not (it is being built, or a process that does not know it has
//! appended) is left to its runner, which brings it to the end while no append can come in
//! between; from the next append on it is inline again. The checkpoint tells which of the two it
//! is, so none is ever incomplete without its position saying so.

use std::{panic::AssertUnwindSafe, sync::Arc};

use async_trait::async_trait;
use futures_util::FutureExt as _;

use super::{
    Build, Projection,
    batch::{redacted, words},
};
use crate::{
    domain::Position,
    store::{
        RecordedEvent,
        models::{AppendHook, ModelError, ModelTx},
    },
};

/// The inline projections of a process.
#[derive(Debug)]
pub(super) struct Inline {
    pub(super) projections: Vec<Arc<dyn Projection>>,
}

#[async_trait]
impl AppendHook for Inline {
    async fn appended(
        &self,
        events: &[RecordedEvent],
        mut tx: ModelTx<'_>,
    ) -> Result<(), ModelError> {
        let (Some(first), Some(last)) = (events.first(), events.last()) else {
            return Ok(());
        };
        let before = Position::new(first.position.get().saturating_sub(1));
        for projection in &self.projections {
            let Some((build, key)) = current(&**projection, before, &mut tx).await? else {
                continue;
            };
            let filter = projection.filter();
            let meant = events.iter().filter(|event| filter.matches(event)).cloned();
            let meant = redacted(&**projection, meant.collect());
            if !meant.is_empty() {
                let applied = projection.apply(&meant, &build, tx.reborrow());
                let applied = AssertUnwindSafe(applied).catch_unwind().await;
                applied.unwrap_or_else(|panic| Err(ModelError::refused(words(&*panic))))?;
            }
            if !tx.advance_checkpoint(&key, before, last.position).await? {
                return Err(ModelError::Unavailable(
                    "a checkpoint moved while it was locked".into(),
                ));
            }
        }
        Ok(())
    }
}

/// The generation that readers see and its checkpoint's name, locked, if it is at the position
/// before the append.
async fn current(
    projection: &dyn Projection,
    before: Position,
    tx: &mut ModelTx<'_>,
) -> Result<Option<(Build, String)>, ModelError> {
    let generations = tx.generations(Some(projection.name())).await?;
    let serving = generations
        .iter()
        .find(|one| one.serving && one.version == projection.version());
    let Some(serving) = serving else {
        return Ok(None);
    };
    // Without the lock first: who is far behind is not to hold the append up.
    let key = serving.key();
    if tx.checkpoint(&key).await? != Some(before) {
        return Ok(None);
    }
    if tx.lock_checkpoint(&key).await? != Some(before) {
        return Ok(None);
    }
    let build = Build {
        generation: serving.number,
        version: serving.version,
        live: true,
    };
    Ok(Some((build, key)))
}
