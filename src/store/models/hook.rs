//! What is done in the append's own transaction, beside the events.

use std::{
    fmt::Debug,
    sync::{Arc, PoisonError, RwLock},
};

use async_trait::async_trait;

use super::{ModelError, ModelTx};
use crate::store::{AppendError, RecordedEvent, rounds::InsertError};

/// Work that commits with an append: the inline projections.
#[async_trait]
pub trait AppendHook: Debug + Send + Sync {
    /// Is given the events of an append, stored but not yet committed, in the append's own
    /// transaction. No other append can come in between.
    ///
    /// # Errors
    /// [`ModelError`]: nothing of the append is stored. One that is not retryable counts as data
    /// that the store cannot hold, so its neighbours in the batch are tried without it.
    async fn appended(&self, events: &[RecordedEvent], tx: ModelTx<'_>) -> Result<(), ModelError>;
}

/// A place for a hook. Clones are the same place.
#[derive(Debug, Clone, Default)]
pub(in crate::store) struct HookSlot(Arc<RwLock<Option<Arc<dyn AppendHook>>>>);

impl HookSlot {
    pub(in crate::store) fn set(&self, hook: Option<Arc<dyn AppendHook>>) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = hook;
    }

    pub(in crate::store) fn get(&self) -> Option<Arc<dyn AppendHook>> {
        self.0
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

impl From<ModelError> for InsertError {
    fn from(error: ModelError) -> Self {
        Self::Failed(if error.is_retryable() {
            AppendError::Unavailable(error.into())
        } else {
            AppendError::Unstorable(error.into())
        })
    }
}
