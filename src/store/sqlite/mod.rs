//! A store in one SQLite file: the embedded default.
//!
//! Writes go through one connection, a batch a transaction; reads through connections of their
//! own, which never wait for the writer (write-ahead log). Each append runs in a task of its
//! own, so a caller that goes away leaves no transaction open. Only this module and its
//! children know that the file is SQLite's.

mod api_keys;
mod append;
mod connect;
mod errors;
mod event_inserts;
mod facts;
mod log;
mod models;
mod reads;
mod receipts;
mod rows;
mod schema;
mod snapshots;
mod state;
#[cfg(test)]
mod tests;
mod writer;

use std::{fmt::Display, future::Future, sync::Arc};

use async_trait::async_trait;
use sqlx::{Sqlite, SqlitePool, pool::PoolConnection};
use tokio::sync::{Mutex, watch};

#[doc(hidden)]
pub use connect::Flush;
pub use connect::{OpenError, SqliteOptions};

use self::{errors::read_error, writer::Writer};
use super::{
    AggregateHead, ApiKeyTable, AppendError, Commit, EventStore, Hints, LogPage, LogQuery,
    NotReady, ReadError, Receipt, RecordedEvent, Recovered, RecoveryRequest, SnapshotRetention,
    StateRows, StoredSnapshot, Verdict,
    models::{HookSlot, ReadModels},
};
use crate::domain::{
    AggregateId, AggregateType, Claim, EventId, Fingerprint, IdempotencyKey, Position, StreamId,
    Version,
};

/// A store in an SQLite file. Clones share its connections.
#[derive(Debug, Clone)]
pub struct SqliteStore {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    /// Who holds it appends, saves snapshots or keeps a read model; the others wait here, in
    /// their order.
    writer: Arc<Mutex<Writer>>,
    readers: SqlitePool,
    /// Other programs on the file are not heard: their events are found by polling.
    hints: Hints,
    /// What is done in the transaction of each append.
    hook: HookSlot,
}

impl SqliteStore {
    /// Opens the database at a URL such as `sqlite://dormouse.db`.
    ///
    /// # Errors
    /// [`OpenError`] says what is in the way; only [`OpenError::Unreachable`] may pass by itself.
    pub async fn connect(url: &str, options: SqliteOptions) -> Result<Self, OpenError> {
        connect::open(url, options).await
    }

    /// Brings the schema of the database at a URL up to this program's, and lets go of it.
    ///
    /// # Errors
    /// As [`Self::connect`].
    pub async fn migrate(url: &str, options: SqliteOptions) -> Result<(), OpenError> {
        let options = SqliteOptions {
            migrate: true,
            ..options
        };
        Self::connect(url, options).await?.close().await;
        Ok(())
    }

    async fn reader(&self) -> Result<PoolConnection<Sqlite>, ReadError> {
        self.shared.readers.acquire().await.map_err(read_error)
    }
}

/// Runs work to its end even when nobody waits for it any more.
async fn to_its_end<T, E>(
    work: impl Future<Output = Result<T, E>> + Send + 'static,
    broke_off: impl FnOnce(tokio::task::JoinError) -> E,
) -> Result<T, E>
where
    T: Send + 'static,
    E: Send + 'static,
{
    tokio::spawn(work)
        .await
        .unwrap_or_else(|error| Err(broke_off(error)))
}

fn corrupt(what: impl Display) -> ReadError {
    ReadError::Corrupt {
        what: what.to_string(),
    }
}

#[async_trait]
impl EventStore for SqliteStore {
    async fn append(&self, batch: Arc<[Commit]>) -> Result<Vec<Verdict>, AppendError> {
        let work = append::append(Arc::clone(&self.shared), batch);
        to_its_end(work, |error| AppendError::OutcomeUnknown(error.into())).await
    }

    async fn events(
        &self,
        stream: &StreamId,
        from: Version,
        limit: u32,
    ) -> Result<Vec<RecordedEvent>, ReadError> {
        reads::events(&mut *self.reader().await?, stream, from, limit).await
    }

    async fn current_version(&self, stream: &StreamId) -> Result<Version, ReadError> {
        reads::current_version(&mut *self.reader().await?, stream).await
    }

    async fn recover(
        &self,
        requests: Vec<RecoveryRequest>,
        page: u32,
    ) -> Result<Vec<Recovered>, ReadError> {
        let reader = self.reader().await?;
        let work = snapshots::recover(reader, requests, page);
        to_its_end(work, |error| ReadError::Unavailable(error.into())).await
    }

    async fn read_log(&self, after: Position, limit: u32) -> Result<Vec<RecordedEvent>, ReadError> {
        reads::read_log(&mut *self.reader().await?, after, limit).await
    }

    async fn query_log(&self, query: &LogQuery) -> Result<LogPage, ReadError> {
        log::query(&mut *self.reader().await?, query).await
    }

    async fn event(&self, id: EventId) -> Result<Option<RecordedEvent>, ReadError> {
        reads::event(&mut *self.reader().await?, id).await
    }

    async fn aggregates(
        &self,
        aggregate_type: &AggregateType,
        after: Option<&AggregateId>,
        limit: u32,
    ) -> Result<Vec<AggregateHead>, ReadError> {
        reads::aggregates(&mut *self.reader().await?, aggregate_type, after, limit).await
    }

    async fn count_aggregates(&self, aggregate_type: &AggregateType) -> Result<u64, ReadError> {
        reads::count_aggregates(&mut *self.reader().await?, aggregate_type).await
    }

    async fn snapshot_at(
        &self,
        stream: &StreamId,
        fingerprint: &Fingerprint,
        until: Version,
    ) -> Result<Option<StoredSnapshot>, ReadError> {
        snapshots::at(&mut *self.reader().await?, stream, fingerprint, until).await
    }

    async fn last_position(&self) -> Result<Position, ReadError> {
        reads::last_position(&mut *self.reader().await?).await
    }

    fn hints(&self) -> Option<watch::Receiver<Position>> {
        Some(self.shared.hints.watch())
    }

    async fn receipt(
        &self,
        stream: &StreamId,
        key: &IdempotencyKey,
    ) -> Result<Option<Receipt>, ReadError> {
        reads::receipt(&mut *self.reader().await?, stream, key).await
    }

    async fn forget_receipts(&self, before: &IdempotencyKey, limit: u32) -> Result<u64, ReadError> {
        let work = receipts::forget(Arc::clone(&self.shared), before.clone(), limit);
        to_its_end(work, |error| ReadError::Unavailable(error.into())).await
    }

    async fn claim_holder(
        &self,
        aggregate_type: &AggregateType,
        claim: &Claim,
    ) -> Result<Option<AggregateId>, ReadError> {
        reads::claim_holder(&mut *self.reader().await?, aggregate_type, claim).await
    }

    async fn save_snapshots(
        &self,
        snapshots: Vec<StoredSnapshot>,
        keep: SnapshotRetention,
    ) -> Result<(), ReadError> {
        let work = snapshots::save(Arc::clone(&self.shared), snapshots, keep);
        to_its_end(work, |error| ReadError::Unavailable(error.into())).await
    }

    fn read_models(&self) -> Option<Arc<dyn ReadModels>> {
        Some(Arc::new(self.clone()))
    }

    fn state_rows(&self) -> Option<Arc<dyn StateRows>> {
        Some(Arc::new(self.clone()))
    }

    fn api_keys(&self) -> Option<Arc<dyn ApiKeyTable>> {
        Some(Arc::new(self.clone()))
    }

    async fn ready(&self) -> Result<(), NotReady> {
        let unreachable = |error: sqlx::Error| NotReady::Unreachable(error.into());
        let mut reader = self.shared.readers.acquire().await.map_err(unreachable)?;
        match schema::difference(&mut reader).await.map_err(unreachable)? {
            None => Ok(()),
            Some(difference) => Err(NotReady::NotMigrated(difference.to_string())),
        }
    }

    async fn close(&self) {
        // The writer last: the last connection that may write moves the write-ahead log into
        // the database file.
        self.shared.readers.close().await;
        self.shared.writer.lock().await.close().await;
    }
}
