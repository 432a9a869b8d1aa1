//! A store in memory: for tests and for trying things out. Nothing outlives the process.

mod elsewhere;
mod rows;

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use async_trait::async_trait;
use tokio::sync::watch;

use super::{
    AggregateHead, AppendError, Commit, EventStore, Hints, LogPage, LogQuery, NotReady, Numbering,
    Order, ReadError, Receipt, RecordedEvent, Recovered, RecoveryRequest, RowTrack,
    SnapshotRetention, StateRows, StoredSnapshot, Verdict,
    admission::{Admission, ClaimKey, Facts, Judge, ReceiptKey, receipt_of},
    models::{MemoryModels, ReadModels},
};
use crate::domain::{
    AggregateId, AggregateType, Claim, EventId, Fingerprint, IdempotencyKey, Position, StreamId,
    Version,
};

use elsewhere::Elsewhere;
pub use elsewhere::OtherTransaction;
pub use rows::{MemoryRow, MemoryTable};

/// The log and what lies beside it, in maps. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct MemoryStore {
    tables: Arc<Mutex<Tables>>,
    hints: Hints,
    models: MemoryModels,
    /// Whether events may come without a position.
    has_other_writers: bool,
}

#[derive(Debug, Default)]
struct Tables {
    /// The log; the event at position p has index p - 1.
    log: Vec<RecordedEvent>,
    /// For each stream, the indexes of its events in the log.
    streams: HashMap<StreamId, Vec<usize>>,
    ids: HashMap<EventId, Position>,
    claims: HashMap<ClaimKey, AggregateId>,
    receipts: HashMap<ReceiptKey, Receipt>,
    /// For each stream, by version, ascending.
    snapshots: HashMap<StreamId, Vec<StoredSnapshot>>,
    /// The state tables by their names.
    rows: HashMap<String, MemoryTable>,
    tracks: HashMap<StreamId, RowTrack>,
    elsewhere: Elsewhere,
}

impl MemoryStore {
    /// An empty store.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    fn tables(&self) -> MutexGuard<'_, Tables> {
        self.tables.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Tables {
    fn version(&self, stream: &StreamId) -> Version {
        let count = self.streams.get(stream).map_or(0, Vec::len);
        Version::new(count as u64)
    }

    fn events(&self, stream: &StreamId, from: Version, limit: u32) -> Vec<RecordedEvent> {
        let indexes = self.streams.get(stream).map_or(&[][..], Vec::as_slice);
        indexes
            .iter()
            .map(|index| &self.log[*index])
            .skip_while(|event| event.version < from)
            .take(limit as usize)
            .cloned()
            .collect()
    }

    fn facts(&self, batch: &[&Commit]) -> Facts {
        let mut facts = Facts::default();
        for (index, commit) in batch.iter().enumerate() {
            let version = self.version(&commit.stream);
            facts.versions.insert(commit.stream.clone(), version);
            if let Some(track) = self.tracks.get(&commit.stream) {
                facts.tracks.insert(commit.stream.clone(), track.version);
            }
            if let Some(change) = &commit.row
                && !self.is_row_before(commit, change)
            {
                facts.other_rows.insert(index);
            }
            for event in &commit.events {
                if let Some(position) = self.ids.get(&event.id) {
                    facts.stored.insert(event.id, *position);
                }
            }
            for claim in commit.takes.iter().chain(&commit.frees) {
                let key = (commit.stream.aggregate_type.clone(), claim.clone());
                if let Some(holder) = self.claims.get(&key) {
                    facts.holders.insert(key, holder.clone());
                }
            }
            if let Some(receipt) = &commit.receipt {
                let key = (commit.stream.clone(), receipt.key.clone());
                if let Some(found) = self.receipts.get(&key) {
                    facts.receipts.insert(key, found.clone());
                }
            }
        }
        facts
    }

    fn store(&mut self, commit: &Commit) -> Position {
        let first_position = Position::new(self.log.len() as u64).next();
        let mut version = commit.expected;
        for event in &commit.events {
            version = version.next();
            let index = self.log.len();
            let position = Position::new(index as u64).next();
            self.ids.insert(event.id, position);
            self.streams
                .entry(commit.stream.clone())
                .or_default()
                .push(index);
            self.log.push(RecordedEvent {
                id: event.id,
                stream: commit.stream.clone(),
                event_type: event.event_type.to_string(),
                schema_version: event.schema_version,
                data: event.data.clone(),
                version,
                position,
                occurred_at: commit.occurred_at,
                created_by: commit.created_by.clone(),
                correlation_id: commit.correlation_id,
                causation_id: commit.causation_id,
            });
        }
        let aggregate_type = &commit.stream.aggregate_type;
        for claim in &commit.frees {
            let key = (aggregate_type.clone(), claim.clone());
            if self.claims.get(&key) == Some(&commit.stream.aggregate_id) {
                self.claims.remove(&key);
            }
        }
        for claim in &commit.takes {
            let key = (aggregate_type.clone(), claim.clone());
            self.claims.insert(key, commit.stream.aggregate_id.clone());
        }
        if let Some(receipt) = &commit.receipt {
            let key = (commit.stream.clone(), receipt.key.clone());
            self.receipts.insert(key, receipt_of(commit, receipt));
        }
        if let Some(change) = &commit.row {
            self.write_row(commit, change);
        }
        if commit.events.is_empty() {
            Position::ZERO
        } else {
            first_position
        }
    }
}

impl Tables {
    /// Judges commits and stores those that win.
    fn append(&mut self, commits: &[&Commit]) -> Vec<Verdict> {
        let mut judge = Judge::new(self.facts(commits));
        let verdicts = commits.iter().map(|commit| {
            let admission = judge.admit(commit, |it| self.contest(it).or_else(|| self.refusal(it)));
            match admission {
                Admission::Store => Verdict::Committed {
                    first_position: self.store(commit),
                },
                Admission::Stored { first_position } => Verdict::Committed { first_position },
                Admission::Lost(loss) => Verdict::Lost(loss),
            }
        });
        verdicts.collect()
    }

    fn recovered(&self, request: RecoveryRequest, page: u32) -> Recovered {
        let snapshot = request.fingerprint.and_then(|fingerprint| {
            let snapshots = self.snapshots.get(&request.stream)?.iter().rev();
            snapshots
                .filter(|snapshot| snapshot.version > request.after)
                .find(|snapshot| snapshot.fingerprint == fingerprint)
                .cloned()
        });
        let known = snapshot.as_ref().map_or(request.after, |s| s.version);
        Recovered {
            events: self.events(&request.stream, known.next(), page),
            snapshot,
            is_cut: false,
        }
    }
}

/// Drops what need not be kept of a stream's snapshots, which are in the order of versions.
fn drop_surplus(kept: &mut Vec<StoredSnapshot>, fits: &Fingerprint, keep: SnapshotRetention) {
    let mut surplus = kept.len().saturating_sub(keep.newest as usize);
    let mut last_span = None;
    kept.retain(|snapshot| {
        let is_newest = surplus == 0;
        surplus = surplus.saturating_sub(1);
        let version = snapshot.version.get();
        let span = version.checked_div(keep.history_every.into());
        let is_first = span.is_some() && snapshot.fingerprint == *fits && span != last_span;
        if is_first {
            last_span = span;
        }
        is_newest || is_first
    });
}

#[async_trait]
impl EventStore for MemoryStore {
    async fn append(&self, batch: Arc<[Commit]>) -> Result<Vec<Verdict>, AppendError> {
        let commits: Vec<&Commit> = batch.iter().collect();
        let meant = |stream: &StreamId| batch.iter().any(|commit| commit.stream == *stream);
        let verdicts = self.numbered(meant, |tables, _| tables.append(&commits));
        self.hints.tell_of(&batch, &verdicts);
        Ok(verdicts)
    }

    fn hints(&self) -> Option<watch::Receiver<Position>> {
        Some(self.hints.watch())
    }

    fn has_foreign_writers(&self) -> bool {
        self.has_other_writers
    }

    async fn number(&self) -> Result<Numbering, AppendError> {
        Ok(self.numbered(|_| true, |_, numbering| numbering))
    }

    async fn events(
        &self,
        stream: &StreamId,
        from: Version,
        limit: u32,
    ) -> Result<Vec<RecordedEvent>, ReadError> {
        let events = |tables: &mut Tables, _| tables.events(stream, from, limit);
        Ok(self.numbered(|other| other == stream, events))
    }

    async fn current_version(&self, stream: &StreamId) -> Result<Version, ReadError> {
        let version = |tables: &mut Tables, _| tables.version(stream);
        Ok(self.numbered(|other| other == stream, version))
    }

    async fn recover(
        &self,
        requests: Vec<RecoveryRequest>,
        page: u32,
    ) -> Result<Vec<Recovered>, ReadError> {
        let streams: Vec<StreamId> = requests.iter().map(|it| it.stream.clone()).collect();
        let recovered = |tables: &mut Tables, _| {
            let requests = requests.into_iter();
            requests.map(|it| tables.recovered(it, page)).collect()
        };
        Ok(self.numbered(|stream| streams.contains(stream), recovered))
    }

    async fn read_log(&self, after: Position, limit: u32) -> Result<Vec<RecordedEvent>, ReadError> {
        let after = usize::try_from(after.get()).unwrap_or(usize::MAX);
        let tables = self.tables();
        let events = tables.log.iter().skip(after).take(limit as usize);
        Ok(events.cloned().collect())
    }

    async fn query_log(&self, query: &LogQuery) -> Result<LogPage, ReadError> {
        let log = &self.tables().log;
        let meant = |event: &&RecordedEvent| query.filter.matches(event);
        // The event at position p has index p - 1.
        let index = |after: Position| usize::try_from(after.get()).unwrap_or(usize::MAX);
        let limit = query.limit as usize;
        let events = match query.order {
            Order::Ascending => {
                let start = query.after.map_or(0, index).min(log.len());
                let later = log[start..].iter().filter(meant);
                later.take(limit).cloned().collect()
            }
            Order::Descending => {
                let end = query.after.map_or(usize::MAX, index).saturating_sub(1);
                let earlier = log[..end.min(log.len())].iter().rev().filter(meant);
                earlier.take(limit).cloned().collect()
            }
        };
        Ok(LogPage::new(query, events, Position::new(log.len() as u64)))
    }

    async fn event(&self, id: EventId) -> Result<Option<RecordedEvent>, ReadError> {
        let tables = self.tables();
        let index = tables.ids.get(&id).map(|position| position.get() - 1);
        let event = index.and_then(|index| tables.log.get(usize::try_from(index).ok()?));
        Ok(event.cloned())
    }

    async fn aggregates(
        &self,
        aggregate_type: &AggregateType,
        after: Option<&AggregateId>,
        limit: u32,
    ) -> Result<Vec<AggregateHead>, ReadError> {
        let tables = self.tables();
        let mut heads: Vec<AggregateHead> = tables
            .streams
            .iter()
            .filter(|(stream, _)| stream.aggregate_type == *aggregate_type)
            .filter(|(stream, _)| after.is_none_or(|after| stream.aggregate_id > *after))
            .filter_map(|(stream, indexes)| {
                let last = &tables.log[*indexes.last()?];
                Some(AggregateHead {
                    aggregate_id: stream.aggregate_id.clone(),
                    version: last.version,
                    updated_at: last.occurred_at,
                })
            })
            .collect();
        heads.sort_by(|one, next| one.aggregate_id.cmp(&next.aggregate_id));
        heads.truncate(limit as usize);
        Ok(heads)
    }

    async fn snapshot_at(
        &self,
        stream: &StreamId,
        fingerprint: &Fingerprint,
        until: Version,
    ) -> Result<Option<StoredSnapshot>, ReadError> {
        let tables = self.tables();
        let snapshots = tables.snapshots.get(stream).map_or(&[][..], Vec::as_slice);
        let fits = snapshots
            .iter()
            .rev()
            .find(|snapshot| snapshot.version <= until && snapshot.fingerprint == *fingerprint);
        Ok(fits.cloned())
    }

    async fn last_position(&self) -> Result<Position, ReadError> {
        Ok(Position::new(self.tables().log.len() as u64))
    }

    async fn receipt(
        &self,
        stream: &StreamId,
        key: &IdempotencyKey,
    ) -> Result<Option<Receipt>, ReadError> {
        let key = (stream.clone(), key.clone());
        Ok(self.tables().receipts.get(&key).cloned())
    }

    async fn forget_receipts(&self, before: &IdempotencyKey, limit: u32) -> Result<u64, ReadError> {
        let mut tables = self.tables();
        let old = tables.receipts.keys().map(|(_, key)| key);
        let old = old.filter(|key| key.is_reserved() && *key < before);
        // A key of the runtime's own is that of one receipt.
        let old: HashSet<IdempotencyKey> = old.take(limit as usize).cloned().collect();
        tables.receipts.retain(|(_, key), _| !old.contains(key));
        Ok(old.len() as u64)
    }

    async fn claim_holder(
        &self,
        aggregate_type: &AggregateType,
        claim: &Claim,
    ) -> Result<Option<AggregateId>, ReadError> {
        let key = (aggregate_type.clone(), claim.clone());
        Ok(self.tables().claims.get(&key).cloned())
    }

    async fn save_snapshots(
        &self,
        snapshots: Vec<StoredSnapshot>,
        keep: SnapshotRetention,
    ) -> Result<(), ReadError> {
        let mut tables = self.tables();
        for snapshot in snapshots {
            let fits = snapshot.fingerprint.clone();
            let kept = tables.snapshots.entry(snapshot.stream.clone()).or_default();
            kept.retain(|other| other.version != snapshot.version);
            kept.push(snapshot);
            kept.sort_by_key(|snapshot| snapshot.version);
            drop_surplus(kept, &fits, keep);
        }
        Ok(())
    }

    fn read_models(&self) -> Option<Arc<dyn ReadModels>> {
        Some(Arc::new(self.models.clone()))
    }

    fn state_rows(&self) -> Option<Arc<dyn StateRows>> {
        Some(Arc::new(self.clone()))
    }

    async fn ready(&self) -> Result<(), NotReady> {
        Ok(())
    }

    async fn close(&self) {}
}

#[cfg(test)]
mod tests;
