//! Questions to the log that no aggregate is asked for.

use super::Runtime;
use crate::{
    domain::{AggregateId, AggregateType, EventId},
    store::{AggregateHead, EventStore, LogPage, LogQuery, ReadError, RecordedEvent},
};

impl Runtime {
    /// One stored event, secrets and all.
    ///
    /// # Errors
    /// [`ReadError`].
    pub async fn event(&self, id: EventId) -> Result<Option<RecordedEvent>, ReadError> {
        self.store().event(id).await
    }

    /// One page of the events of the log that are meant, secrets and all.
    ///
    /// # Errors
    /// [`ReadError`].
    pub async fn query_log(&self, query: &LogQuery) -> Result<LogPage, ReadError> {
        self.store().query_log(query).await
    }

    /// The aggregates of a type by id, `limit` at most, from the first one after an id.
    ///
    /// # Errors
    /// [`ReadError`].
    pub async fn aggregates_of(
        &self,
        aggregate_type: &AggregateType,
        after: Option<&AggregateId>,
        limit: u32,
    ) -> Result<Vec<AggregateHead>, ReadError> {
        self.store().aggregates(aggregate_type, after, limit).await
    }

    fn store(&self) -> &dyn EventStore {
        &*self.inner.node.store
    }
}
