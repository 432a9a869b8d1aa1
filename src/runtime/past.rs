//! What was: states as they were, single events, and questions to the log.
//!
//! None of it wakes an aggregate: what is stored does not change, so the store alone can answer.

use std::sync::Arc;

use chrono::{DateTime, Utc};

use super::{Aggregates, RecoveryError, Runtime, StateAt, StateError, StateView, folded::Folded};
use crate::{
    domain::{Aggregate, AggregateId, AggregateType, EventId, Version},
    store::{AggregateHead, EventStore, LogPage, LogQuery, ReadError, RecordedEvent},
};

/// A moment in the history of an aggregate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AsOf {
    /// After the event of this version.
    Version(Version),
    /// After the last event that is not later than this.
    Time(DateTime<Utc>),
}

impl<A: Aggregate> Aggregates<A> {
    /// The state of an aggregate as it was, or nothing where it did not exist then or has not
    /// come to that version. Read from the store: from the newest snapshot before it that fits,
    /// and the events from there.
    ///
    /// # Errors
    /// [`StateError`].
    pub async fn state_as_of(
        &self,
        id: &AggregateId,
        as_of: AsOf,
    ) -> Result<Option<StateAt<A>>, StateError> {
        let until = match as_of {
            AsOf::Version(version) => version,
            AsOf::Time(time) => self.version_at(id, time).await?,
        };
        if until == Version::ZERO {
            return Ok(None);
        }
        let stream = self.stream(id);
        let kind = self.kind();
        let store = &*kind.node.store;
        let snapshot = store.snapshot_at(&stream, &kind.fingerprint, until).await;
        let snapshot = snapshot.map_err(|error| self.unread(id, error))?;
        let mut folded: Folded<A> = snapshot
            .and_then(|snapshot| Folded::from_snapshot(&snapshot))
            .unwrap_or_default();
        let page = u64::try_from(kind.node.settings.recovery_page).unwrap_or(u64::MAX);
        while folded.version < until {
            let missing = until.get() - folded.version.get();
            let limit = u32::try_from(missing.min(page)).unwrap_or(u32::MAX);
            let events = self.read(id, folded.version.next(), limit).await?;
            if events.is_empty() {
                return Ok(None);
            }
            for event in &events {
                folded
                    .fold(&stream, &kind.codec, event)
                    .map_err(|error| StateError::Unrecoverable(Arc::new(error)))?;
            }
        }
        Ok(Some(StateAt {
            state: folded.state,
            version: folded.version,
            position: folded.position,
        }))
    }

    /// The version of the last event that is not later than a time; zero where there is none.
    /// Times never go back within an aggregate, so halving its versions finds it.
    async fn version_at(
        &self,
        id: &AggregateId,
        time: DateTime<Utc>,
    ) -> Result<Version, StateError> {
        let store = &*self.kind().node.store;
        let current = store.current_version(&self.stream(id)).await;
        let current = current.map_err(|error| self.unread(id, error))?;
        // The event at `reached` is not later, the one at `above` is, or is not there.
        let (mut reached, mut above) = (0, current.get() + 1);
        while above - reached > 1 {
            let middle = reached.midpoint(above);
            let event = self.read(id, Version::new(middle), 1).await?;
            if event.first().is_some_and(|event| event.occurred_at <= time) {
                reached = middle;
            } else {
                above = middle;
            }
        }
        Ok(Version::new(reached))
    }

    async fn read(
        &self,
        id: &AggregateId,
        from: Version,
        limit: u32,
    ) -> Result<Vec<RecordedEvent>, StateError> {
        let store = &*self.kind().node.store;
        let read = store.events(&self.stream(id), from, limit).await;
        read.map_err(|error| self.unread(id, error))
    }

    fn unread(&self, id: &AggregateId, error: ReadError) -> StateError {
        let stream = self.stream(id);
        if error.is_retryable() {
            tracing::warn!(%stream, %error, "a state as it was cannot be read");
            return StateError::StoreUnavailable;
        }
        StateError::Unrecoverable(Arc::new(RecoveryError::Store {
            stream,
            source: Arc::new(error),
        }))
    }
}

impl Runtime {
    /// The state of an aggregate as it was, without its secrets, or nothing where it did not
    /// exist then or has not come to that version.
    ///
    /// # Errors
    /// [`StateError`].
    pub async fn state_as_of(
        &self,
        aggregate_type: &str,
        id: AggregateId,
        as_of: AsOf,
    ) -> Result<Option<StateView>, StateError> {
        match self.named(aggregate_type) {
            Some(named) => named.state_as_of(id, as_of).await,
            None => Err(StateError::UnknownType(aggregate_type.to_owned())),
        }
    }

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
