//! A memory store whose appends are as a test wants them.

use std::{fmt, sync::Arc};

use async_trait::async_trait;
use dormouse::{
    domain::{
        AggregateId, AggregateType, Claim, EventId, Fingerprint, IdempotencyKey, Position,
        StreamId, Version,
    },
    store::{
        AggregateHead, AppendError, Commit, EventStore, LogPage, LogQuery, NotReady, Numbering,
        ReadError, Receipt, RecordedEvent, Recovered, RecoveryRequest, SnapshotRetention,
        StoredSnapshot, Verdict, memory::MemoryStore,
    },
};
use futures_util::future::BoxFuture;

type Appended = BoxFuture<'static, Result<Vec<Verdict>, AppendError>>;

/// What is done instead of an append to the inner store.
type Append = dyn Fn(MemoryStore, Arc<[Commit]>) -> Appended + Send + Sync;

pub(super) struct Rigged {
    inner: MemoryStore,
    append: Box<Append>,
}

impl Rigged {
    pub(super) fn over_memory(
        append: impl Fn(MemoryStore, Arc<[Commit]>) -> Appended + Send + Sync + 'static,
    ) -> Arc<dyn EventStore> {
        Arc::new(Self {
            inner: MemoryStore::new(),
            append: Box::new(append),
        })
    }
}

impl fmt::Debug for Rigged {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rigged").finish_non_exhaustive()
    }
}

#[async_trait]
impl EventStore for Rigged {
    async fn append(&self, batch: Arc<[Commit]>) -> Result<Vec<Verdict>, AppendError> {
        (self.append)(self.inner.clone(), batch).await
    }

    fn has_foreign_writers(&self) -> bool {
        self.inner.has_foreign_writers()
    }

    async fn number(&self) -> Result<Numbering, AppendError> {
        self.inner.number().await
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
        self.inner.current_version(stream).await
    }

    async fn recover(
        &self,
        requests: Vec<RecoveryRequest>,
        page: u32,
    ) -> Result<Vec<Recovered>, ReadError> {
        self.inner.recover(requests, page).await
    }

    async fn read_log(&self, after: Position, limit: u32) -> Result<Vec<RecordedEvent>, ReadError> {
        self.inner.read_log(after, limit).await
    }

    async fn query_log(&self, query: &LogQuery) -> Result<LogPage, ReadError> {
        self.inner.query_log(query).await
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
        snapshots: Vec<StoredSnapshot>,
        keep: SnapshotRetention,
    ) -> Result<(), ReadError> {
        self.inner.save_snapshots(snapshots, keep).await
    }

    async fn ready(&self) -> Result<(), NotReady> {
        self.inner.ready().await
    }

    async fn close(&self) {
        self.inner.close().await;
    }
}
