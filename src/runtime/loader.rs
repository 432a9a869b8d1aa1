//! Recovery: an aggregate's state, folded from its newest snapshot and the events after it.
//!
//! Aggregates that wake while others are being looked up are looked up together, as the
//! journal writes together: a storm of activations costs a few statements, not one each.

use std::sync::Arc;

use tokio::sync::{
    Semaphore,
    mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel},
    oneshot,
};

use super::{RecoveryError, folded::Folded};
use crate::{
    domain::{Aggregate, EventCodec, Fingerprint, StreamId, Version},
    store::{EventStore, ReadError, Recovered, RecoveryRequest},
};

/// Streams looked up in one call.
const MAX_STREAMS: usize = 64;
/// Look-ups under way at once: one large stream does not hold up the others.
const MAX_LOOKUPS: usize = 2;
/// Events of a stream in the first look-up: with [`MAX_STREAMS`] it bounds what one call brings.
/// Few aggregates have more after their last snapshot.
const FIRST_PAGE: u32 = 128;

struct Lookup {
    request: RecoveryRequest,
    found: oneshot::Sender<Result<Recovered, Arc<ReadError>>>,
}

/// Looks up what aggregates are recovered from. Its queue is bounded by the unanswered
/// commands, each of which wakes one aggregate at most.
#[derive(Debug, Clone)]
pub(super) struct Loader {
    lookups: UnboundedSender<Lookup>,
    store: Arc<dyn EventStore>,
    page: u32,
}

/// The loader, and the task that drives it until every loader is gone.
pub(super) fn loader(
    store: Arc<dyn EventStore>,
    page: usize,
) -> (Loader, impl Future<Output = ()>) {
    let (lookups, waiting) = unbounded_channel();
    let loader = Loader {
        lookups,
        store: Arc::clone(&store),
        page: u32::try_from(page).unwrap_or(u32::MAX),
    };
    (loader, run(store, waiting))
}

async fn run(store: Arc<dyn EventStore>, mut waiting: UnboundedReceiver<Lookup>) {
    let free = Arc::new(Semaphore::new(MAX_LOOKUPS));
    while let Some(first) = waiting.recv().await {
        // The semaphore is never closed.
        let Ok(place) = Arc::clone(&free).acquire_owned().await else {
            return;
        };
        let mut batch = vec![first];
        while batch.len() < MAX_STREAMS
            && let Ok(next) = waiting.try_recv()
        {
            batch.push(next);
        }
        let store = Arc::clone(&store);
        actix_rt::spawn(async move {
            look_up(&*store, batch).await;
            drop(place);
        });
    }
}

async fn look_up(store: &dyn EventStore, batch: Vec<Lookup>) {
    let (requests, callers): (Vec<_>, Vec<_>) = batch
        .into_iter()
        .map(|lookup| (lookup.request, lookup.found))
        .unzip();
    let found = store.recover(requests.clone(), FIRST_PAGE).await;
    // One stream that cannot be read is no reason to read none of the others.
    if matches!(&found, Err(error) if !error.is_retryable()) && requests.len() > 1 {
        for (request, caller) in requests.into_iter().zip(callers) {
            let found = store.recover(vec![request], FIRST_PAGE).await;
            let only = found.map(|mut found| found.swap_remove(0));
            let _ = caller.send(only.map_err(Arc::new));
        }
        return;
    }
    // A caller who has gone does not care.
    match found {
        Ok(found) => {
            for (caller, recovered) in callers.into_iter().zip(found) {
                let _ = caller.send(Ok(recovered));
            }
        }
        Err(error) => {
            let error = Arc::new(error);
            for caller in callers {
                let _ = caller.send(Err(Arc::clone(&error)));
            }
        }
    }
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
            .first(request)
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

    async fn first(&self, request: RecoveryRequest) -> Result<Recovered, Arc<ReadError>> {
        let (found, answer) = oneshot::channel();
        let ended = || Arc::new(ReadError::Unavailable("the runtime has ended".into()));
        if self.lookups.send(Lookup { request, found }).is_err() {
            return Err(ended());
        }
        answer.await.unwrap_or_else(|_| Err(ended()))
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
