//! Stores that break one promise of the port each: the simulation must find every one of them,
//! or it finds nothing.
#![allow(
    clippy::wildcard_enum_match_arm,
    reason = "each place knows its own lies and no others"
)]

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use async_trait::async_trait;
use dormouse::{
    domain::{
        AggregateId, AggregateType, Claim, EventId, Fingerprint, IdempotencyKey, Position,
        StreamId, Version,
    },
    store::{
        AggregateHead, AppendError, Commit, EventStore, LogPage, LogQuery, NewEvent, NotReady,
        Numbering, ReadError, Receipt, RecordedEvent, Recovered, RecoveryRequest,
        SnapshotRetention, StateRows, StoredSnapshot, Verdict, memory::MemoryStore,
        models::ReadModels,
    },
};
use ulid::Ulid;

use crate::lies::Lie;

/// A store that lies.
pub(crate) struct Liar {
    inner: MemoryStore,
    lie: Lie,
    calls: AtomicU64,
}

impl fmt::Debug for Liar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a store that {:?}", self.lie)
    }
}

impl Liar {
    pub(crate) fn over(inner: MemoryStore, lie: Lie) -> Arc<dyn EventStore> {
        Arc::new(Self {
            inner,
            lie,
            calls: AtomicU64::new(0),
        })
    }

    /// Whether this call is one of those that are lied about.
    fn every(&self, calls: u64) -> bool {
        self.calls.fetch_add(1, Ordering::Relaxed) % calls == calls - 1
    }

    async fn store_again(&self, event: &RecordedEvent) {
        let number = self.calls.fetch_add(1, Ordering::Relaxed);
        let again = Commit {
            stream: event.stream.clone(),
            expected: event.version,
            events: vec![NewEvent {
                id: EventId(Ulid::from_parts(8, number.into())),
                event_type: event.event_type.clone().into(),
                schema_version: event.schema_version,
                data: event.data.clone(),
            }],
            occurred_at: event.occurred_at,
            created_by: None,
            correlation_id: event.correlation_id,
            causation_id: None,
            frees: Vec::new(),
            takes: Vec::new(),
            receipt: None,
            row: None,
        };
        self.inner.save(again).await.expect("memory can be written");
    }

    async fn spoil(&self, commit: &Commit) -> Commit {
        let mut commit = commit.clone();
        match self.lie {
            Lie::ForgetsReceipts if !commit.events.is_empty() => commit.receipt = None,
            Lie::ForgetsClaims => commit.takes.clear(),
            Lie::ForgetsRows if self.every(3) => commit.row = None,
            Lie::OverwritesRows => {
                let (stream, row) = (&commit.stream, commit.row.as_mut());
                if let Some(row) = row {
                    let ids = std::slice::from_ref(&stream.aggregate_id);
                    let loaded = self.inner.load(&stream.aggregate_type, &row.table, ids);
                    let loaded = loaded.await.expect("memory can be read").pop();
                    row.before = loaded.and_then(|loaded| loaded.row);
                }
            }
            Lie::Tears => commit.events.truncate(1),
            Lie::SkipsTheVersionCheck => {
                let version = self.inner.current_version(&commit.stream).await;
                commit.expected = version.expect("memory can be read");
            }
            Lie::StoresAgain => {
                // A new id for each append: the store cannot know it again.
                let number = self.calls.fetch_add(1, Ordering::Relaxed);
                let version = self.inner.current_version(&commit.stream).await;
                commit.expected = version.expect("memory can be read");
                for (index, event) in commit.events.iter_mut().enumerate() {
                    let random = u128::from(number) << 32 | index as u128;
                    event.id = EventId(Ulid::from_parts(7, random));
                }
            }
            _ => {}
        }
        commit
    }
}

#[async_trait]
impl EventStore for Liar {
    async fn append(&self, batch: Arc<[Commit]>) -> Result<Vec<Verdict>, AppendError> {
        match self.lie {
            Lie::AcknowledgesWithoutStoring if self.every(7) => {
                let first_position = self.inner.last_position().await.expect("memory").next();
                return Ok(vec![Verdict::Committed { first_position }; batch.len()]);
            }
            Lie::StoresAndDenies if self.every(7) => {
                self.inner.append(batch).await?;
                return Err(AppendError::Unavailable("a lie".into()));
            }
            Lie::MixesVerdicts => {
                let mut verdicts = self.inner.append(batch).await?;
                verdicts.reverse();
                return Ok(verdicts);
            }
            Lie::Reorders => {
                let mut batch = batch.to_vec();
                batch.sort_by(|one, other| other.stream.cmp(&one.stream));
                // The verdicts are those of the order asked for.
                let verdicts = self.inner.append(Arc::from(batch)).await?;
                return Ok(verdicts);
            }
            _ => {}
        }
        let mut spoilt = Vec::with_capacity(batch.len());
        for commit in batch.iter() {
            spoilt.push(self.spoil(commit).await);
        }
        self.inner.append(Arc::from(spoilt)).await
    }

    fn has_foreign_writers(&self) -> bool {
        self.inner.has_foreign_writers()
    }

    async fn number(&self) -> Result<Numbering, AppendError> {
        if self.lie == Lie::NeverNumbers {
            return Ok(Numbering::default());
        }
        let numbering = self.inner.number().await?;
        if let (Lie::NumbersTwice, Some(last)) = (self.lie, numbering.last) {
            let last = self.inner.read_log(Position::new(last.get() - 1), 1).await;
            let last = last.expect("memory can be read").remove(0);
            self.store_again(&last).await;
        }
        Ok(numbering)
    }

    fn state_rows(&self) -> Option<Arc<dyn StateRows>> {
        self.inner.state_rows()
    }

    async fn events(
        &self,
        stream: &StreamId,
        from: Version,
        limit: u32,
    ) -> Result<Vec<RecordedEvent>, ReadError> {
        self.inner.events(stream, from, limit).await
    }

    async fn current_version(&self, stream: &StreamId) -> Result<Version, ReadError> {
        let version = self.inner.current_version(stream).await?;
        if self.lie == Lie::ShowsOldVersions && self.every(7) {
            return Ok(Version::new(version.get().saturating_sub(1)));
        }
        Ok(version)
    }

    async fn recover(
        &self,
        requests: Vec<RecoveryRequest>,
        page: u32,
    ) -> Result<Vec<Recovered>, ReadError> {
        let mut recovered = self.inner.recover(requests, page).await?;
        if self.lie == Lie::RecoversTooLittle && self.every(3) {
            for one in &mut recovered {
                one.events.pop();
            }
        }
        Ok(recovered)
    }

    async fn read_log(&self, after: Position, limit: u32) -> Result<Vec<RecordedEvent>, ReadError> {
        self.inner.read_log(after, limit).await
    }

    async fn query_log(&self, query: &LogQuery) -> Result<LogPage, ReadError> {
        let mut page = self.inner.query_log(query).await?;
        if self.lie == Lie::HidesEvents && !page.events.is_empty() && self.every(5) {
            page.events.pop();
        }
        Ok(page)
    }

    async fn event(&self, id: EventId) -> Result<Option<RecordedEvent>, ReadError> {
        self.inner.event(id).await
    }

    async fn aggregates(
        &self,
        aggregate_type: &AggregateType,
        after: Option<&AggregateId>,
        limit: u32,
    ) -> Result<Vec<AggregateHead>, ReadError> {
        self.inner.aggregates(aggregate_type, after, limit).await
    }

    async fn snapshot_at(
        &self,
        stream: &StreamId,
        fingerprint: &Fingerprint,
        until: Version,
    ) -> Result<Option<StoredSnapshot>, ReadError> {
        self.inner.snapshot_at(stream, fingerprint, until).await
    }

    async fn last_position(&self) -> Result<Position, ReadError> {
        self.inner.last_position().await
    }

    async fn receipt(
        &self,
        stream: &StreamId,
        key: &IdempotencyKey,
    ) -> Result<Option<Receipt>, ReadError> {
        self.inner.receipt(stream, key).await
    }

    async fn forget_receipts(&self, before: &IdempotencyKey, limit: u32) -> Result<u64, ReadError> {
        self.inner.forget_receipts(before, limit).await
    }

    async fn claim_holder(
        &self,
        aggregate_type: &AggregateType,
        claim: &Claim,
    ) -> Result<Option<AggregateId>, ReadError> {
        self.inner.claim_holder(aggregate_type, claim).await
    }

    async fn save_snapshots(
        &self,
        mut snapshots: Vec<StoredSnapshot>,
        keep: SnapshotRetention,
    ) -> Result<(), ReadError> {
        if self.lie == Lie::MisdatesSnapshots {
            for snapshot in &mut snapshots {
                snapshot.version = Version::new(snapshot.version.get().saturating_sub(1));
            }
        }
        self.inner.save_snapshots(snapshots, keep).await
    }

    fn read_models(&self) -> Option<Arc<dyn ReadModels>> {
        self.inner.read_models()
    }

    async fn ready(&self) -> Result<(), NotReady> {
        self.inner.ready().await
    }

    async fn close(&self) {
        self.inner.close().await;
    }
}
