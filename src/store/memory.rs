//! A store in memory: for tests and for trying things out. Nothing outlives the process.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use async_trait::async_trait;
use tokio::sync::watch;

use super::{
    AppendError, Commit, EventStore, Hints, LogPage, LogQuery, NotReady, Order, ReadError, Receipt,
    RecordedEvent, Recovered, RecoveryRequest, StoredSnapshot, Verdict,
    admission::{Admission, ClaimKey, Facts, ReceiptKey, admit, receipt_of},
    models::{MemoryModels, ReadModels},
};
use crate::domain::{
    AggregateId, AggregateType, Claim, EventId, IdempotencyKey, Position, StreamId, Version,
};

/// The log and what lies beside it, in maps. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct MemoryStore {
    tables: Arc<Mutex<Tables>>,
    hints: Hints,
    models: MemoryModels,
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
        for commit in batch {
            let version = self.version(&commit.stream);
            facts.versions.insert(commit.stream.clone(), version);
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
        if commit.events.is_empty() {
            Position::ZERO
        } else {
            first_position
        }
    }
}

#[async_trait]
impl EventStore for MemoryStore {
    async fn append(&self, batch: Arc<[Commit]>) -> Result<Vec<Verdict>, AppendError> {
        let commits: Vec<&Commit> = batch.iter().collect();
        let mut tables = self.tables();
        let facts = tables.facts(&commits);
        let verdicts: Vec<Verdict> = admit(&commits, facts)
            .into_iter()
            .zip(commits)
            .map(|(admission, commit)| match admission {
                Admission::Store => Verdict::Committed {
                    first_position: tables.store(commit),
                },
                Admission::Stored { first_position } => Verdict::Committed { first_position },
                Admission::Lost(loss) => Verdict::Lost(loss),
            })
            .collect();
        drop(tables);
        self.hints.tell_of(&batch, &verdicts);
        Ok(verdicts)
    }

    fn hints(&self) -> Option<watch::Receiver<Position>> {
        Some(self.hints.watch())
    }

    async fn events(
        &self,
        stream: &StreamId,
        from: Version,
        limit: u32,
    ) -> Result<Vec<RecordedEvent>, ReadError> {
        Ok(self.tables().events(stream, from, limit))
    }

    async fn current_version(&self, stream: &StreamId) -> Result<Version, ReadError> {
        Ok(self.tables().version(stream))
    }

    async fn recover(
        &self,
        requests: Vec<RecoveryRequest>,
        page: u32,
    ) -> Result<Vec<Recovered>, ReadError> {
        let tables = self.tables();
        let recovered = requests.into_iter().map(|request| {
            let snapshot = request.fingerprint.and_then(|fingerprint| {
                let snapshots = tables.snapshots.get(&request.stream)?.iter().rev();
                snapshots
                    .filter(|snapshot| snapshot.version > request.after)
                    .find(|snapshot| snapshot.fingerprint == fingerprint)
                    .cloned()
            });
            let known = snapshot.as_ref().map_or(request.after, |s| s.version);
            Recovered {
                events: tables.events(&request.stream, known.next(), page),
                snapshot,
            }
        });
        Ok(recovered.collect())
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
        keep: u32,
    ) -> Result<(), ReadError> {
        let mut tables = self.tables();
        for snapshot in snapshots {
            let kept = tables.snapshots.entry(snapshot.stream.clone()).or_default();
            kept.retain(|other| other.version != snapshot.version);
            kept.push(snapshot);
            kept.sort_by_key(|snapshot| snapshot.version);
            let surplus = kept.len().saturating_sub(keep as usize);
            kept.drain(..surplus);
        }
        Ok(())
    }

    fn read_models(&self) -> Option<Arc<dyn ReadModels>> {
        Some(Arc::new(self.models.clone()))
    }

    async fn ready(&self) -> Result<(), NotReady> {
        Ok(())
    }

    async fn close(&self) {}
}

#[cfg(test)]
mod tests {
    use std::future::ready;

    use super::*;
    use crate::store::contract::Fixture;

    impl Fixture for MemoryStore {
        async fn open(&self) -> Arc<dyn EventStore> {
            Arc::new(self.clone())
        }
    }

    crate::store_contract!(memory_keeps, || ready(MemoryStore::new()));
}
