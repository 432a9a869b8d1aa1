//! Replay: aggregates are folded again from their first event, and their snapshots with them.
//!
//! A snapshot saves time and says nothing of its own. What one says that its events do not is a
//! fault (of a disk, of a hand, or of a state whose shape changed without its `STATE_VERSION`),
//! and replay finds it, tells it and replaces it. It appends nothing to the log, so it may run
//! beside servers; what lives in them keeps the state it woke with until it sleeps.

use std::{
    collections::BTreeSet,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
};

use futures_util::future::BoxFuture;
use serde_json::value::RawValue;
use tokio::task::JoinSet;

use super::{
    Runtime, StateError,
    folded::Folded,
    kind::Kind,
    past::{fold, page, unreadable},
};
use crate::{
    domain::{
        Aggregate, AggregateId, AggregateType, Fingerprint, Position, SnapshotShape as _, StreamId,
        Version,
    },
    settings::AggregateSettings,
    store::{AggregateHead, SnapshotRetention, StoredSnapshot},
};

/// Aggregates listed in one look-up.
const LIST: u32 = 500;
/// Snapshots written in one call.
const MAX_BATCH: usize = 32;

/// What is replayed, and how much of it at once.
#[derive(Debug, Clone, Copy)]
pub struct ReplayOptions {
    /// Only aggregates with an event at this position or after it; all of them without one.
    pub from: Option<Position>,
    /// So many aggregates at once, one at least.
    pub parallel: usize,
}

/// An aggregate that was replayed.
#[derive(Debug)]
pub struct ReplayedAggregate {
    /// Which.
    pub stream: StreamId,
    /// How far its events go.
    pub version: Version,
    /// What came of it, or why it could not be folded.
    pub outcome: Result<Refolded, StateError>,
}

/// What came of folding an aggregate again.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Refolded {
    /// The versions of snapshots that said what the events do not. They are replaced.
    pub differences: Vec<Version>,
    /// Snapshots that agree with the events.
    pub agreed: u64,
    /// Snapshots that were missing and are written.
    pub added: u64,
    /// Whether it was passed over, since it has no event where replay was to begin.
    pub passed_over: bool,
}

impl Runtime {
    /// Folds the aggregates of a type again from their events, compares their snapshots with what
    /// comes out, and writes those that differ or are missing. `done` hears of each aggregate.
    ///
    /// # Errors
    /// [`StateError`] where the type is unknown or the store cannot be read. An aggregate that
    /// cannot be folded is told to `done`, and the others go on.
    pub async fn replay(
        &self,
        aggregate_type: &str,
        options: ReplayOptions,
        mut done: impl FnMut(ReplayedAggregate),
    ) -> Result<(), StateError> {
        let Some(named) = self.named(aggregate_type) else {
            return Err(StateError::UnknownType(aggregate_type.to_owned()));
        };
        let known = named.aggregate_type().clone();
        let mut running: JoinSet<ReplayedAggregate> = JoinSet::new();
        let mut after = None;
        loop {
            let heads = self.heads(&known, after.as_ref()).await?;
            let last = heads.len() < LIST as usize;
            after = heads.last().map(|head| head.aggregate_id.clone());
            for head in heads {
                while running.len() >= options.parallel.max(1) {
                    finish(running.join_next().await, &mut done)?;
                }
                let replay = named.replay(head.aggregate_id.clone(), options.from);
                let stream = StreamId {
                    aggregate_type: known.clone(),
                    aggregate_id: head.aggregate_id,
                };
                running.spawn(async move {
                    ReplayedAggregate {
                        stream,
                        version: head.version,
                        outcome: replay.await,
                    }
                });
            }
            if last {
                break;
            }
        }
        while let Some(replayed) = running.join_next().await {
            finish(Some(replayed), &mut done)?;
        }
        Ok(())
    }

    /// How many aggregates a type has, and how many events they have together.
    ///
    /// # Errors
    /// [`StateError`].
    pub async fn extent(&self, aggregate_type: &str) -> Result<(u64, u64), StateError> {
        let Some(named) = self.named(aggregate_type) else {
            return Err(StateError::UnknownType(aggregate_type.to_owned()));
        };
        let known = named.aggregate_type().clone();
        let (mut aggregates, mut events, mut after) = (0, 0, None);
        loop {
            let heads = self.heads(&known, after.as_ref()).await?;
            aggregates += heads.len() as u64;
            events += heads.iter().map(|head| head.version.get()).sum::<u64>();
            if heads.len() < LIST as usize {
                return Ok((aggregates, events));
            }
            after = heads.last().map(|head| head.aggregate_id.clone());
        }
    }

    async fn heads(
        &self,
        aggregate_type: &AggregateType,
        after: Option<&AggregateId>,
    ) -> Result<Vec<AggregateHead>, StateError> {
        let heads = self.aggregates_of(aggregate_type, after, LIST).await;
        heads.map_err(|error| {
            tracing::error!(%aggregate_type, %error, "the aggregates cannot be listed");
            StateError::StoreUnavailable
        })
    }
}

/// Hands an aggregate on; a store that is gone ends the replay, for no other would fare better.
fn finish(
    replayed: Option<Result<ReplayedAggregate, tokio::task::JoinError>>,
    done: &mut impl FnMut(ReplayedAggregate),
) -> Result<(), StateError> {
    match replayed {
        None => Ok(()),
        Some(Ok(ReplayedAggregate {
            outcome: Err(StateError::StoreUnavailable),
            ..
        })) => Err(StateError::StoreUnavailable),
        Some(Ok(replayed)) => {
            done(replayed);
            Ok(())
        }
        Some(Err(error)) => Err(StateError::Internal(format!("a replay broke off: {error}"))),
    }
}

/// One aggregate, from its first event to its last.
pub(super) fn replay<A: Aggregate>(
    kind: Arc<Kind<A>>,
    id: AggregateId,
    from: Option<Position>,
) -> BoxFuture<'static, Result<Refolded, StateError>> {
    Box::pin(async move {
        let stream = kind.stream(&id);
        let current = kind.node.store.current_version(&stream).await;
        let current = current.map_err(|error| unreadable(&stream, error))?;
        if let Some(from) = from
            && !reaches(&kind, &stream, current, from).await?
        {
            return Ok(Refolded {
                passed_over: true,
                ..Refolded::default()
            });
        }
        let mut stored = stored_versions(&kind, &stream).await?;
        let due = missing(&kind.settings, current, &stored);
        let mut work = Work::new(&kind, &stream);
        let mut folded = Folded::<A>::default();
        loop {
            let events = page(&kind, &stream, folded.version.next(), u64::MAX).await?;
            if events.is_empty() {
                break;
            }
            for event in &events {
                fold(&kind, &stream, &mut folded, event)?;
                if stored.remove(&folded.version) {
                    work.compare(&folded).await?;
                } else if due.contains(&folded.version) {
                    work.write(&folded)?;
                    work.refolded.added += 1;
                }
            }
            work.flush(MAX_BATCH).await?;
        }
        for version in stored {
            work.void(version).await?;
        }
        work.flush(1).await?;
        Ok(work.refolded)
    })
}

/// The snapshots of one aggregate under way.
struct Work<'a, A: Aggregate> {
    kind: &'a Kind<A>,
    stream: &'a StreamId,
    refolded: Refolded,
    writing: Vec<StoredSnapshot>,
}

impl<'a, A: Aggregate> Work<'a, A> {
    fn new(kind: &'a Kind<A>, stream: &'a StreamId) -> Self {
        Self {
            kind,
            stream,
            refolded: Refolded::default(),
            writing: Vec::new(),
        }
    }

    /// Compares the snapshot of this version with the fold, and replaces it where it differs.
    async fn compare(&mut self, folded: &Folded<A>) -> Result<(), StateError> {
        let found = snapshot_at(self.kind, self.stream, folded.version).await?;
        // A server beside this one may have dropped it meanwhile.
        let Some(found) = found.filter(|found| found.version == folded.version) else {
            return Ok(());
        };
        if found.position == folded.position
            && found.occurred_at == folded.occurred_at
            && self.says_the_same(&found, folded)?
        {
            self.refolded.agreed += 1;
            return Ok(());
        }
        self.refolded.differences.push(folded.version);
        self.write(folded)
    }

    /// Both are read and written once, so that a store's way to write numbers is no difference.
    fn says_the_same(
        &self,
        found: &StoredSnapshot,
        folded: &Folded<A>,
    ) -> Result<bool, StateError> {
        let written = self.serialized(&folded.state)?;
        let fingerprint = &self.kind.fingerprint;
        let form = |data: &RawValue| {
            let state = A::from_snapshot(data, fingerprint)?;
            serde_json::to_value(state).ok()
        };
        Ok(form(&found.data).is_some_and(|found| Some(found) == form(&written)))
    }

    fn write(&mut self, folded: &Folded<A>) -> Result<(), StateError> {
        let node = &self.kind.node;
        self.writing.push(StoredSnapshot {
            id: node.ids.next(),
            stream: self.stream.clone(),
            version: folded.version,
            position: folded.position,
            occurred_at: folded.occurred_at,
            fingerprint: self.kind.fingerprint.clone(),
            data: self.serialized(&folded.state)?,
            created_at: node.clock.now(),
        });
        Ok(())
    }

    fn serialized(&self, state: &A) -> Result<Box<RawValue>, StateError> {
        let internal =
            |reason: &str| StateError::Internal(format!("the state of {} {reason}", self.stream));
        match catch_unwind(AssertUnwindSafe(|| state.to_snapshot())) {
            Ok(Ok(data)) => Ok(data),
            Ok(Err(error)) => Err(internal(&format!("is no JSON: {error}"))),
            Err(_) => Err(internal("panics where it is serialized")),
        }
    }

    /// A snapshot beyond the last event: no state belongs there, and no aggregate may wake from
    /// it. What fits nothing is passed over.
    async fn void(&mut self, version: Version) -> Result<(), StateError> {
        let found = snapshot_at(self.kind, self.stream, version).await?;
        let Some(found) = found.filter(|found| found.version == version) else {
            return Ok(());
        };
        self.refolded.differences.push(version);
        let void = StoredSnapshot {
            fingerprint: Fingerprint::from_stored("void"),
            ..found
        };
        // Nothing else is dropped for it.
        self.save(vec![void], SnapshotRetention::newest(u32::MAX))
            .await
    }

    /// Writes what is gathered, once it is enough.
    async fn flush(&mut self, enough: usize) -> Result<(), StateError> {
        if self.writing.len() < enough {
            return Ok(());
        }
        let settings = &self.kind.settings;
        let keep = SnapshotRetention {
            newest: settings.snapshots_kept,
            history_every: settings.snapshot_history_every,
        };
        let snapshots = std::mem::take(&mut self.writing);
        self.save(snapshots, keep).await
    }

    async fn save(
        &self,
        snapshots: Vec<StoredSnapshot>,
        keep: SnapshotRetention,
    ) -> Result<(), StateError> {
        let saved = self.kind.node.store.save_snapshots(snapshots, keep).await;
        saved.map_err(|error| unreadable(self.stream, error))
    }
}

/// Whether an aggregate has an event at a position or after it.
async fn reaches<A: Aggregate>(
    kind: &Kind<A>,
    stream: &StreamId,
    current: Version,
    from: Position,
) -> Result<bool, StateError> {
    let last = page(kind, stream, current, 1).await?;
    Ok(last.first().is_some_and(|event| event.position >= from))
}

/// The versions of the snapshots that fit, of which the newest is found first.
async fn stored_versions<A: Aggregate>(
    kind: &Kind<A>,
    stream: &StreamId,
) -> Result<BTreeSet<Version>, StateError> {
    let mut versions = BTreeSet::new();
    let mut until = Version::new(u64::MAX);
    while let Some(found) = snapshot_at(kind, stream, until).await? {
        versions.insert(found.version);
        let Some(before) = found.version.get().checked_sub(1) else {
            break;
        };
        until = Version::new(before);
    }
    Ok(versions)
}

async fn snapshot_at<A: Aggregate>(
    kind: &Kind<A>,
    stream: &StreamId,
    until: Version,
) -> Result<Option<StoredSnapshot>, StateError> {
    let store = &kind.node.store;
    let found = store.snapshot_at(stream, &kind.fingerprint, until).await;
    found.map_err(|error| unreadable(stream, error))
}

/// The versions at which snapshots are to be written: the first of each span of history that has
/// none, and the last, which the aggregate wakes from.
fn missing(
    settings: &AggregateSettings,
    current: Version,
    stored: &BTreeSet<Version>,
) -> BTreeSet<Version> {
    let (every, current) = (u64::from(settings.snapshot_every), current.get());
    let mut missing = BTreeSet::new();
    if every == 0 {
        return missing;
    }
    let has = |from: u64, to: u64| {
        let mut found = stored.range(Version::new(from)..Version::new(to));
        found.next().is_some()
    };
    let newest = current - current % every;
    if newest > 0 && !has(newest, u64::MAX) {
        missing.insert(Version::new(newest));
    }
    let span = u64::from(settings.snapshot_history_every);
    if span > 0 {
        for start in (0..=current).step_by(usize::try_from(span).unwrap_or(usize::MAX)) {
            let first = start.max(1).next_multiple_of(every);
            if first < start + span && first <= current && !has(start, start + span) {
                missing.insert(Version::new(first));
            }
        }
    }
    missing
}

#[cfg(test)]
mod tests {
    use super::*;

    fn missing_of(every: u32, span: u32, current: u64, stored: &[u64]) -> Vec<u64> {
        let settings = AggregateSettings {
            snapshot_every: every,
            snapshot_history_every: span,
            ..AggregateSettings::default()
        };
        let stored = stored.iter().copied().map(Version::new).collect();
        let missing = missing(&settings, Version::new(current), &stored);
        missing.into_iter().map(Version::get).collect()
    }

    #[test]
    fn what_is_missing_is_the_first_of_each_span_and_the_last() {
        assert_eq!(missing_of(10, 50, 9, &[]), [0_u64; 0]);
        assert_eq!(missing_of(10, 50, 10, &[]), [10]);
        assert_eq!(missing_of(10, 50, 128, &[]), [10, 50, 100, 120]);
        assert_eq!(missing_of(10, 50, 128, &[30, 120]), [50]);
        assert_eq!(missing_of(10, 50, 128, &[10, 50, 100, 120]), [0_u64; 0]);
        assert_eq!(missing_of(10, 0, 128, &[]), [120]);
        assert_eq!(missing_of(0, 50, 128, &[]), [0_u64; 0]);
        // Spans shorter than the distance of snapshots have one where one falls into them.
        assert_eq!(missing_of(100, 30, 250, &[]), [100, 200]);
        // A server that wrote a newer one meanwhile needs no older.
        assert_eq!(missing_of(10, 0, 128, &[130]), [0_u64; 0]);
    }
}
