//! Time travel: a state as it was, folded from the newest snapshot before it and the events since.
//!
//! It reads what is durable and asks no actor: an aggregate that sleeps is not woken for it.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
};

use chrono::{DateTime, Utc};
use serde_json::value::RawValue;

use super::{RecoveryError, StateError, folded::Folded, kind::Kind};
use crate::{
    domain::{Aggregate, AggregateId, Claim, StreamId, Version, redact_raw},
    store::{ReadError, RecordedEvent},
};

/// A moment in the history of an aggregate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum At {
    /// Just after the event with this version.
    Version(Version),
    /// After the last event that had happened by this time.
    Time(DateTime<Utc>),
}

/// The fold of an aggregate's events up to a moment; nothing where it has no such version, or no
/// events by then.
pub(super) async fn folded_at<A: Aggregate>(
    kind: &Kind<A>,
    id: &AggregateId,
    at: At,
) -> Result<Option<Folded<A>>, StateError> {
    let stream = kind.stream(id);
    let until = match at {
        At::Version(version) => version,
        At::Time(time) => version_at(kind, &stream, time).await?,
    };
    if until == Version::ZERO {
        return Ok(None);
    }
    let mut folded = start(kind, &stream, until).await?;
    while folded.version < until {
        let left = until.get() - folded.version.get();
        let events = page(kind, &stream, folded.version.next(), left).await?;
        if events.is_empty() {
            return Ok(None);
        }
        for event in &events {
            fold(kind, &stream, &mut folded, event)?;
        }
    }
    Ok(Some(folded))
}

/// The version and the time of an aggregate's last event, and the unique values it holds.
pub(super) type Holding = (Version, DateTime<Utc>, Vec<Claim>);

/// What an aggregate holds as its events say.
pub(super) async fn claims<A: Aggregate>(
    kind: Arc<Kind<A>>,
    id: AggregateId,
) -> Result<Holding, StateError> {
    // Aggregates that are asked for at the same time are looked up together.
    let (loader, codec) = (&kind.node.loader, Arc::clone(&kind.codec));
    let loading = loader.load(kind.stream(&id), codec, kind.fingerprint.clone(), None);
    let folded: Folded<A> = loading.await.map_err(unrecovered)?;
    let held = catch_unwind(AssertUnwindSafe(|| folded.state.claims()));
    let held = held.map_err(|_| StateError::Internal("asking for claims panicked".to_owned()))?;
    Ok((folded.version, folded.occurred_at, held))
}

/// The newest snapshot that is not too new, or the state before the first event.
async fn start<A: Aggregate>(
    kind: &Kind<A>,
    stream: &StreamId,
    until: Version,
) -> Result<Folded<A>, StateError> {
    let store = &kind.node.store;
    let found = store.snapshot_at(stream, &kind.fingerprint, until).await;
    let Some(snapshot) = found.map_err(|error| unreadable(stream, error))? else {
        return Ok(Folded::default());
    };
    Ok(Folded::from_snapshot(&snapshot).unwrap_or_else(|| {
        let version = snapshot.version;
        tracing::warn!(%stream, %version, "a snapshot does not fit and is ignored");
        Folded::default()
    }))
}

/// The version of the last event that had happened by a time; zero where there is none. Times
/// never go back within an aggregate, so it is found by halving.
async fn version_at<A: Aggregate>(
    kind: &Kind<A>,
    stream: &StreamId,
    time: DateTime<Utc>,
) -> Result<Version, StateError> {
    let current = kind.node.store.current_version(stream).await;
    let mut after = current.map_err(|error| unreadable(stream, error))?.get();
    let mut by_then = 0;
    while by_then < after {
        let middle = by_then + (after - by_then).div_ceil(2);
        let event = page(kind, stream, Version::new(middle), 1).await?;
        let happened = event.first().is_some_and(|event| event.occurred_at <= time);
        if happened {
            by_then = middle;
        } else {
            after = middle - 1;
        }
    }
    Ok(Version::new(by_then))
}

/// Events from a version on: as many as are asked for and fit a page.
pub(super) async fn page<A: Aggregate>(
    kind: &Kind<A>,
    stream: &StreamId,
    from: Version,
    most: u64,
) -> Result<Vec<RecordedEvent>, StateError> {
    let page = u32::try_from(kind.node.settings.recovery_page).unwrap_or(u32::MAX);
    let limit = page.min(u32::try_from(most).unwrap_or(u32::MAX));
    let events = kind.node.store.events(stream, from, limit).await;
    events.map_err(|error| unreadable(stream, error))
}

pub(super) fn fold<A: Aggregate>(
    kind: &Kind<A>,
    stream: &StreamId,
    folded: &mut Folded<A>,
    event: &RecordedEvent,
) -> Result<(), StateError> {
    let folding = folded.fold(stream, &kind.codec, event);
    folding.map_err(|error| StateError::Unrecoverable(Arc::new(error)))
}

fn unrecovered(error: RecoveryError) -> StateError {
    if error.is_retryable() {
        return StateError::StoreUnavailable;
    }
    StateError::Unrecoverable(Arc::new(error))
}

pub(super) fn unreadable(stream: &StreamId, error: ReadError) -> StateError {
    unrecovered(RecoveryError::Store {
        stream: stream.clone(),
        source: Arc::new(error),
    })
}

/// A state as it is shown: as JSON, without its secrets.
pub(super) fn shown<A: Aggregate>(state: &A) -> Result<Box<RawValue>, StateError> {
    let state = serde_json::value::to_raw_value(state)
        .map_err(|error| StateError::Internal(format!("the state is no JSON: {error}")))?;
    Ok(redact_raw(state))
}
