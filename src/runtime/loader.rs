//! Recovery: an aggregate's state, folded from its newest snapshot and the events after it.

use std::sync::Arc;

use super::{
    RecoveryError,
    folded::Folded,
    lookups::{Lookups, lookups},
};
use crate::{
    domain::{Aggregate, EventCodec, Fingerprint, StreamId, Version},
    store::{EventStore, Recovered, RecoveryRequest},
};

/// Events of a stream in the first look-up: with the number of those made together it bounds what
/// one call brings. Few aggregates have more after their last snapshot.
const FIRST_PAGE: u32 = 128;

/// Looks up what aggregates are recovered from.
#[derive(Debug, Clone)]
pub(super) struct Loader {
    first: Lookups<RecoveryRequest, Recovered>,
    store: Arc<dyn EventStore>,
    page: u32,
}

/// The loader, and the task that drives it until every loader is gone.
pub(super) fn loader(
    store: Arc<dyn EventStore>,
    page: usize,
) -> (Loader, impl Future<Output = ()> + Send) {
    let recovering = Arc::clone(&store);
    let (first, looking_up) = lookups(move |requests| {
        let store = Arc::clone(&recovering);
        Box::pin(async move { store.recover(requests, FIRST_PAGE).await })
    });
    let loader = Loader {
        first,
        store,
        page: u32::try_from(page).unwrap_or(u32::MAX),
    };
    (loader, looking_up)
}

impl Loader {
    /// The state at its newest version: from `known` on, or from the newest snapshot.
    pub(super) async fn load<A: Aggregate>(
        &self,
        stream: StreamId,
        codec: Arc<EventCodec<A::Event>>,
        fingerprint: Fingerprint,
        known: Option<Folded<A>>,
    ) -> Result<Folded<A>, RecoveryError> {
        let request = RecoveryRequest {
            stream: stream.clone(),
            fingerprint: known.is_none().then_some(fingerprint),
            after: known.as_ref().map_or(Version::ZERO, |known| known.version),
        };
        let recovered = self
            .first
            .ask(request)
            .await
            .map_err(|source| RecoveryError::Store {
                stream: stream.clone(),
                source,
            })?;
        let mut folded = known.unwrap_or_default();
        let mut events = recovered.events;
        let mut page = FIRST_PAGE;
        if let Some(snapshot) = &recovered.snapshot {
            if let Some(state) = Folded::from_snapshot(snapshot) {
                folded = state;
            } else {
                tracing::warn!(%stream, version = %snapshot.version, "a snapshot does not fit and is ignored");
                events = self.page(&stream, Version::ZERO).await?;
                page = self.page;
            }
        }
        loop {
            for event in &events {
                folded.fold(&stream, &codec, event)?;
            }
            if events.len() < page as usize {
                return Ok(folded);
            }
            page = self.page;
            events = self.page(&stream, folded.version).await?;
        }
    }

    async fn page(
        &self,
        stream: &StreamId,
        after: Version,
    ) -> Result<Vec<crate::store::RecordedEvent>, RecoveryError> {
        self.store
            .events(stream, after.next(), self.page)
            .await
            .map_err(|source| RecoveryError::Store {
                stream: stream.clone(),
                source: Arc::new(source),
            })
    }
}
